"""Sentences of a text of any language by rules, with exact character offsets; nothing is downloaded or configured.

The rules know no language. They read what writing systems have in common: punctuation that ends sentences, with a blank
behind it where the script has blanks; paragraphs, list items, headings, table rows and lines of code; and a list of
abbreviations in European languages. A text without any of it is cut where it is too long.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from operator import index
from typing import Any

from blockskim.errors import ConfigError
from blockskim.evidence.abbreviations import ABBREVIATIONS, STARTERS, TITLES

Spans = list[tuple[int, int]]
Splitter = Callable[[str], Spans]
"""Gives first character and one past the last of each sentence: in order, disjoint, none empty or blank."""

LONGEST = 600
"""Characters of a sentence at most; longer ones are cut at a line end, else behind punctuation, else at a blank."""

SHORT_LINE = 40
"""A line shorter than this was ended on purpose, and not wrapped."""

_CLOSING = "\"'”’»›)\\]}」』）》】〉"
_QUOTES = '"”»'
_REFERENCES = r"(?:\[\d{1,3}\]|[¹²³⁰⁴-⁹])*"
"""Numbers of notes, which stand behind the stop of the sentence that they are of."""

_WIDE_STOP = r"(?<![\dA-Za-zＡ-Ｚａ-ｚ])．(?!\d)"
"""Not that of a number, a list item or initials."""

_LINE = "(?:\r\n|\r(?!\n)|[\n\v\f\x85\u2028\u2029])"
_BLANKS = r"[^\S\n\r\v\f\x85\u2028\u2029]*"
LINE_END = re.compile(rf"{_BLANKS}{_LINE}")
"""The end of a line, with the blanks before it."""

_PLACE = re.compile(
    rf"(?P<paragraph>{_LINE}{_BLANKS}{_LINE})"
    rf"|(?P<line>{_LINE})"
    # Full stops of scripts that need no blank behind them.
    rf"|(?P<full>(?:[。！？｡।॥؟۔።፧։။។៕]|{_WIDE_STOP})+[{_CLOSING}]*{_REFERENCES})"
    # Only where a run begins: tried at each of its places, a long one would take quadratic time.
    rf"|(?<![.!?…])(?P<stop>[.!?…]+[{_CLOSING}]*){_REFERENCES}(?=\s)"
)
_ITEM = re.compile(r"[^\S\n\r]*(?:[-*+•‣◦–—]\s|\d{1,3}[.)]\s|[A-Za-z][.)]\s|#{1,6}\s|[|>]|```|~~~)")
_OWN_LINE = re.compile(r"(?:#{1,6}\s|\||```|~~~)")
_INDENTED = re.compile(r"(?: {4}|\t)")
# A fence holds all of its marks: tried at each of its lengths, a long one would take quadratic time.
_FENCE_LINE = re.compile(r"^ {0,3}(?P<fence>```++|~~~++)(?P<info>[^\n`]*)$", re.MULTILINE)
_NUMBER = re.compile(r"\d{1,2}")
_LETTER = re.compile(r"[^\W\d_]")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_SOFT = (re.compile(_LINE), re.compile(r"[;:,、，；：]\s*"), re.compile(r"\s+"))
_OPENING = "\"'“‘«([„¿¡"


def split_sentences(text: str) -> Spans:
    """First character and one past the last of each sentence, in order.

    Sentences are disjoint, begin and end with other than white space, and together hold all that is no white space.
    """
    return [part for start, end in pairwise(_bounds(text)) for part in _cut(text, *_stripped(text, start, end))]


def checked_spans(splitter: Splitter, text: str) -> Spans:
    """What a splitter gives for a text, with white space taken off both ends of each; blank ones are left out.

    Raises:
        ConfigError: they are no spans of the text, overlap, or are not in order.
    """
    given: Any = splitter(text)
    # What goes wrong in the caller's function, or in a generator that it gives, is the caller's to see.
    pieces = list(given) if isinstance(given, Iterable) else given
    try:
        spans = [(index(start), index(end)) for start, end in pieces]
    except (TypeError, ValueError):
        raise ConfigError(
            f"sentences gave {pieces!r:.80}; it must give pairs of a first character and one past the last"
        ) from None
    before = 0
    for start, end in spans:
        if not before <= start <= end <= len(text):
            raise ConfigError(
                f"sentences gave ({start}, {end}) behind character {before} of {len(text)}; spans must lie in the "
                "text, in order, without overlap"
            )
        before = end
    stripped = [_stripped(text, start, end) for start, end in spans]
    return [(start, end) for start, end in stripped if start < end]


def _bounds(text: str) -> Iterator[int]:
    """Where sentences begin and end, first and last place included."""
    begin = line = 0
    blocks = fenced(text)
    cased, code = _is_cased(text, blocks), blocks[::-1]
    yield 0
    for match in _PLACE.finditer(text):
        kind, start, end = match.lastgroup, match.start(), match.end()
        breaks = kind == "paragraph" or kind == "line"
        while code and code[-1][1] <= line:
            code.pop()
        if code and code[-1][0] <= line:
            ends = breaks
        elif kind == "line":
            ends = _ends_line(text, line, start, end)
        else:
            ends = breaks or kind == "full" or _ends_sentence(text, begin, match, cased)
        if ends:
            yield end
            begin = end
        if breaks:
            line = end
    yield len(text)


def fenced(text: str) -> Spans:
    """First character and one past the last of each fenced block of code, in order, the lines of its fences included.

    A fence that nothing closes opens none: what follows it need not be code. Nor does a bare one before another that
    names a language: it closes a block whose beginning was cut off.
    """
    found, opened = [], None
    for match in _FENCE_LINE.finditer(text):
        fence = match["fence"]
        named = bool(match["info"].strip())
        if opened is None or (named and not opened[2] and fence.startswith(opened[0])):
            opened = fence, match.start(), named
        elif fence.startswith(opened[0]) and not named:
            found.append((opened[1], match.end()))
            opened = None
    return found


def _is_cased(text: str, blocks: Spans) -> bool:
    """Whether the sentences of a text begin with capitals: with most of them missing it has some in names alone.

    Stops within blocks of code say nothing of that.
    """
    if not any(character.isupper() for character in text):
        return False
    code, upper, lower = blocks[::-1], int(_first_letter(text, 0).isupper()), 0
    for match in _PLACE.finditer(text):
        while code and code[-1][1] <= match.start():
            code.pop()
        if code and code[-1][0] <= match.start():
            continue
        if match.lastgroup in ("line", "paragraph"):
            # Items of lists begin sentences, too, and often end without a stop.
            item = _ITEM.match(text, match.end())
            upper += item is not None and _first_letter(text, item.end()).isupper()
            continue
        # Behind a number it may be the point of an ordinal.
        ends = match["stop"] == "." and not _NUMBER.match(text, match.start() - 1)
        if ends and _ends_sentence(text, 0, match, cased=False):
            first = text[match.end() : match.end() + 80].lstrip()[:1]
            upper += first.isupper()
            lower += _is_lower(first)
    return lower <= 2 * upper


def _first_letter(text: str, place: int) -> str:
    """The first letter behind a place, whatever marks stand before it; "" if it is not near."""
    found = _LETTER.search(text, place, place + 80)
    return found.group() if found else ""


def _is_lower(letter: str) -> bool:
    """Whether a letter has a capital for the beginning of a sentence; those of Georgian, called lower, have none."""
    return letter.islower() and letter.title() != letter


def _ends_line(text: str, line: int, start: int, end: int) -> bool:
    """Whether a line break is more than that of wrapped text; ``line`` is where the line before it begins."""
    # Longer lines need not be looked at whole.
    before = text[max(line, start - 4 * LONGEST) : start]
    if _ITEM.match(text, end) or _INDENTED.match(text, end) or _OWN_LINE.match(before) or _INDENTED.match(before):
        return True
    return len(before.strip()) < SHORT_LINE and not _is_lower(text[end : end + 80].lstrip(" \t")[:1])


def _ends_sentence(text: str, begin: int, match: re.Match[str], cased: bool) -> bool:
    """Whether a stop, with a blank behind it, ends the sentence that began at ``begin``."""
    start, mark = match.start(), match["stop"]
    behind = text[match.end() : match.end() + 80].lstrip()
    if cased and _is_lower(behind[:1]) and (mark[0] in ".…" or mark[-1] not in "!?"):
        return False
    if mark[0] != "." or mark.startswith(".."):
        return True
    near = text[max(begin, start - 40) : start]
    word = near.split()[-1] if near and not near[-1].isspace() else ""
    word = word.lstrip(_OPENING).lower()
    if _NUMBER.fullmatch(word) and text[max(begin, start - 40) : start].strip() == word:
        # The number of a list item.
        return False
    if mark[-1] in _QUOTES:
        # Whoever was quoted has ended: he said "no."
        return True
    if word in TITLES:
        return False
    if word in ABBREVIATIONS or _INITIALS.fullmatch(word) or _NUMBER.fullmatch(word):
        first = re.match(r"[^\W\d_]+", behind)
        return not behind or (first is not None and first.group().lower() in STARTERS)
    return True


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without white space at its ends; what is left may be empty."""
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), max(start, end - len(inside) + len(inside.rstrip()))


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A span in pieces that are not too long; none if it is empty."""
    while end - start > LONGEST:
        middle = _soft_place(text, start, start + LONGEST)
        yield _stripped(text, start, middle)
        start = _stripped(text, middle, end)[0]
    if start < end:
        yield start, end


def _soft_place(text: str, start: int, end: int) -> int:
    """Where a piece that reaches to ``end`` at most had better end."""
    for kind in _SOFT:
        places = [match.end() for match in kind.finditer(text, start + LONGEST // 3, end)]
        if places:
            return places[-1]
    return end
