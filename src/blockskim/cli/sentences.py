"""The sentence around an answer, for people to see where it comes from."""

from blockskim.evidence.sentences import split_sentences

MOST = 160
"""Characters to show on either side of an answer at most."""

REACH = MOST + 40
"""Characters to look at on either side: what is longer is cut anyway."""


def sentence_around(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and behind ``text[start:end]`` in its sentence, cut at words where that is long."""
    first = max(0, start - REACH)
    spans = [(first + left, first + right) for left, right in split_sentences(text[first : end + REACH])]
    left = max((begin for begin, _ in spans if begin <= start), default=start)
    right = min((stop for _, stop in spans if stop >= end), default=end)
    return _cut_left(text[left:start]), _cut_right(text[end:right])


def _cut_left(text: str) -> str:
    # Not every script has blanks between words.
    return text if len(text) <= MOST else "… " + (text[-MOST:].partition(" ")[2] or text[-MOST:])


def _cut_right(text: str) -> str:
    return text if len(text) <= MOST else (text[:MOST].rpartition(" ")[0] or text[:MOST]) + " …"
