"""The sentence around an answer, for people to see where it comes from."""

import re

# The end of a sentence and the white space behind it, or an empty line.
_END = re.compile(r"""[.!?…]["'”’)\]]*\s+|[。！？]|\n\s*\n""")
MOST = 160
"""Characters to show on either side of an answer at most."""


def sentence_around(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and behind ``text[start:end]`` in its sentence, cut at words where that is long."""
    before = text[max(0, start - 4 * MOST) : start]
    ends = [match.end() for match in _END.finditer(before)]
    left = before[ends[-1] :] if ends else before
    behind = text[end : end + 4 * MOST]
    match = _END.search(behind)
    right = behind[: match.end()] if match else behind
    return _cut_left(left), _cut_right(right)


def _cut_left(text: str) -> str:
    return text if len(text) <= MOST else "… " + text[-MOST:].partition(" ")[2]


def _cut_right(text: str) -> str:
    return text if len(text) <= MOST else text[:MOST].rpartition(" ")[0] + " …"
