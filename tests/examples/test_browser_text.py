"""Tokens and words of the page in ``examples/browser``: those of Python, at the same places. Skipped without Node."""

import unicodedata

from tokenizers import Tokenizer

from blockskim.answering.word_boundaries import Boundaries
from blockskim.inference.shipped import shipped_model
from browser_questions import EMOJI, LONG
from javascript import Node, units

HARD_TEXTS = (
    "",
    " ",
    "\u200b",
    "plain words, and punctuation: it's (quite) fine - isn't it?",
    "Zoe\u0301 naïve ÅNGSTRÖM İstanbul ΣΊΣΥΦΟΣ Straße ﬁne Ⅷ",
    "👩‍🚀 in space🚀🚀, 👨‍👩‍👧‍👦 at home 6️⃣ 🇹🇷 𝒢ustav",
    "a👍🏽👍 🏽 🇩🇪🇫🇷🇹 🇩a🇪 \U0001f3f4\U000e0067\U000e0062\U000e007f won \U000e0041",
    "東京タワー and かﾞ and 서울 각\u1100\u1161\u11a8 กรุงเทพ हिन्दी",
    "a\u00a0b\u2003c\u2028d\te\r\nf\x85g\x1ch\ufeffi\u00adj\u200dk",
    "an [SEP] that is written out, [MASK]ed, [CLS][PAD] and [UNK], but not [sep]",
    "a" * 100 + " " + "b" * 101 + " é" * 3,
    "\u0301 \u0301leading marks e\u0301\u0327\u0302",
)

# Of Unicode 3.2, what later versions put into another class: the library's tables are of Unicode 8.
RECLASSIFIED = {0x166D, 0x1734, 0x1885, 0x1886}


def test_tokens_and_their_places_are_those_of_the_tokenizers_library(node: Node) -> None:
    path = shipped_model() / "tokenizer.json"
    known = [code for code in range(0x110000) if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs")]
    plain = [code for code in known if code not in RECLASSIFIED and not reorders(chr(code))]
    every = [" ".join(f"a{chr(code)}b" for code in plain[first : first + 500]) for first in range(0, len(plain), 500)]
    texts = [*HARD_TEXTS, LONG, *every]
    script = """
      const tokenize = readTokenizer(JSON.parse(readFileSync(given.path, 'utf8')));
      print(given.texts.map((text) => tokenize(text).map(({ id, start, end }) => [id, start, end])));
    """
    found = node.run(script, {"path": str(path), "texts": texts})
    reader = Tokenizer.from_file(str(path))
    for text, tokens in zip(texts, found, strict=True):
        encoding, place = reader.encode(text, add_special_tokens=False), units(text)
        offsets = [(place[start], place[end]) for start, end in encoding.offsets]
        assert tokens == [[number, *span] for number, span in zip(encoding.ids, offsets, strict=True)], ascii(text)


def reorders(character: str) -> bool:
    """Whether normalising moves a character that stays: the library moves its place with it, as Unicode has it."""
    return bool(unicodedata.combining(character)) and unicodedata.category(character) != "Mn"


def test_another_kind_of_tokenizer_is_refused(node: Node) -> None:
    script = "try { readTokenizer(given); print('read'); } catch (error) { print(error.message); }"
    other = {"model": {"type": "BPE"}, "normalizer": None, "pre_tokenizer": None, "added_tokens": []}
    assert "WordPiece" in node.run(script, other)


def test_special_tokens_can_be_text_like_any_other(node: Node) -> None:
    path = shipped_model() / "tokenizer.json"
    script = """
      const tokenize = readTokenizer(JSON.parse(readFileSync(given.path, 'utf8')), given.split);
      print(tokenize(given.text).map(({ id }) => id));
    """
    reader = Tokenizer.from_file(str(path))
    for split in (False, True):
        reader.encode_special_tokens = split
        found = node.run(script, {"path": str(path), "text": HARD_TEXTS[8], "split": split})
        assert found == reader.encode(HARD_TEXTS[8], add_special_tokens=False).ids


def test_words_begin_and_end_where_they_do_in_python(node: Node) -> None:
    script = """
      print(given.map(([text, places]) => places.flatMap((start, index) => places.slice(index, index + 4).map((end) =>
        [...alignToWords(text, start, end), ...trimBlanks(text, start, end)]))));
    """
    texts = [*HARD_TEXTS, EMOJI]
    found = node.run(script, [[text, units(text)] for text in texts])
    for text, spans in zip(texts, found, strict=True):
        place = units(text)
        wanted = [
            [place[edge] for edge in (*Boundaries(text).align(start, end), *Boundaries(text).trim(start, end))]
            for start in range(len(place))
            for end in range(start, min(start + 4, len(place)))
        ]
        assert spans == wanted, ascii(text)
