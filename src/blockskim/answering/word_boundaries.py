r"""Where words begin and end in a caller's text, whatever its script, and spans brought to those positions.

A word is a run of letters, digits, underscores and the marks that combine with them, as in ``\w``, but:

- marks, variation selectors, joiners, skin tones and tags belong to the character before them, and of the two letters
  of a flag the second to the first, so no answer splits a character;
- in scripts that are written without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) each
  character is a word of its own, or an answer would grow to a whole clause.

A tokenizer's own words are not used: they differ from family to family, and some take the space before a word for a
part of it.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cached_property

# First and last character of the blocks whose scripts put no space between words.
_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # half-width kana
    (0x20000, 0x3FFFF),
)
# Skin tones, and tags as of the flag of Wales.
_EMOJI_PARTS = frozenset(map(chr, (*range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080))))
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")  # regional indicators, which pair up from the left
_JOINERS = "\u00ad\u200c\u200d"  # soft hyphen, zero-width non-joiner and joiner
_BLANKS = "\ufeff\u200b"  # what str.isspace leaves out: byte-order mark, zero-width space


class Boundaries:
    """Where words and blanks of a text begin and end. Each run of characters is walked through once.

    A text may be one long word, in which every span of tokens lies.
    """

    def __init__(self, text: str) -> None:
        """Nothing is looked for yet."""
        self._text = text
        self._known: dict[tuple[Callable[[int], bool], int], dict[int, int]] = {}

    def begin_of_word(self, position: int) -> int:
        """Where the word begins that a position lies in; the position itself if it lies in none."""
        return self._walk(position, -1, self._inside_word)

    def end_of_word(self, position: int) -> int:
        """One past the last character of the word that a position lies in; the position itself if it lies in none."""
        return self._walk(position, 1, self._inside_word)

    def behind_blanks(self, position: int) -> int:
        """The first character from a position on that is not blank; the length of the text if there is none."""
        return self._walk(position, 1, self._before_blank)

    def before_blanks(self, position: int) -> int:
        """One past the last character before a position that is not blank; 0 if there is none."""
        return self._walk(position, -1, self._behind_blank)

    def align(self, start: int, end: int) -> tuple[int, int]:
        """Extend a span to the beginning of its first and the end of its last word."""
        return self.begin_of_word(start), self.end_of_word(end)

    def trim(self, start: int, end: int) -> tuple[int, int]:
        """Take white space off both ends of a span; what is left may be empty."""
        start = min(self.behind_blanks(start), end)
        return start, max(self.before_blanks(end), start)

    def _walk(self, position: int, step: int, goes_on: Callable[[int], bool]) -> int:
        """The first position from one on at which it does not go on."""
        known, passed = self._known.setdefault((goes_on, step), {}), []
        while position not in known and goes_on(position):
            passed.append(position)
            position += step
        found = known.get(position, position)
        known.update(dict.fromkeys(passed, found))
        return found

    def _inside_word(self, position: int) -> bool:
        if not 0 < position < len(self._text):
            return False
        before, behind = self._text[position - 1], self._text[position]
        return _are_one_word(before, behind) or position in self._inside_flags

    @cached_property
    def _inside_flags(self) -> frozenset[int]:
        """The positions between the two letters of a flag."""
        return frozenset(flag.start() + 1 for flag in _FLAG.finditer(self._text))

    def _before_blank(self, position: int) -> bool:
        return position < len(self._text) and _is_blank(self._text[position])

    def _behind_blank(self, position: int) -> bool:
        return position > 0 and _is_blank(self._text[position - 1])


def _is_blank(character: str) -> bool:
    return character.isspace() or character in _BLANKS


def _are_one_word(before: str, behind: str) -> bool:
    """Whether two neighbouring characters belong to one word."""
    if unicodedata.category(behind).startswith("M") or behind in _JOINERS or before in _JOINERS:
        return True
    if behind in _EMOJI_PARTS:
        return True
    return _continues_words(before) and _continues_words(behind)


def _continues_words(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character == "_"
    if any(first <= ord(character) <= last for first, last in _UNSPACED):
        return False
    return unicodedata.category(character)[0] in "LNM"
