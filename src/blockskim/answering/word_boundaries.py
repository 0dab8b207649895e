r"""Where words begin and end in a caller's text, whatever its script, and spans brought to those positions.

A word is a run of letters, digits, underscores and the marks that combine with them, as in ``\w``, but:

- marks, variation selectors and joiners belong to the character before them, so no answer splits a character;
- in scripts that are written without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) each
  character is a word of its own, or an answer would grow to a whole clause.

A tokenizer's own words are not used: they differ from family to family, and some take the space before a word for a
part of it.
"""

import unicodedata

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
_JOINERS = "\u00ad\u200c\u200d"  # soft hyphen, zero-width non-joiner and joiner
_BLANKS = "\ufeff\u200b"  # what str.isspace leaves out: byte-order mark, zero-width space


def align_to_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Extend a span to the beginning of its first and the end of its last word."""
    while 0 < start < len(text) and _inside_word(text, start):
        start -= 1
    while 0 < end < len(text) and _inside_word(text, end):
        end += 1
    return start, end


def trim_blanks(text: str, start: int, end: int) -> tuple[int, int]:
    """Take white space off both ends of a span; what is left may be empty."""
    while start < end and _is_blank(text[start]):
        start += 1
    while start < end and _is_blank(text[end - 1]):
        end -= 1
    return start, end


def _is_blank(character: str) -> bool:
    return character.isspace() or character in _BLANKS


def _inside_word(text: str, position: int) -> bool:
    """Whether the characters before and behind a position belong to one word."""
    before, behind = text[position - 1], text[position]
    if unicodedata.category(behind).startswith("M") or behind in _JOINERS or before in _JOINERS:
        return True
    return _continues_words(before) and _continues_words(behind)


def _continues_words(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character == "_"
    if any(first <= ord(character) <= last for first, last in _UNSPACED):
        return False
    return unicodedata.category(character)[0] in "LNM"
