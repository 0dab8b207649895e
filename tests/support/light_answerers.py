"""A question answerer without PyTorch or a model: a tokenizer of letters, and a backend without a network."""

import functools

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from blockskim.data.tokens import PairTemplate, read_frozen_tokenizer
from blockskim.evidence.question_answerer import QuestionAnswerer
from hashing_backend import HashingBackend

WORDS = ("the", "kite", "nest", "wales", "red")


@functools.cache
def letters():
    """A tokenizer of a few words, letters and digits; all else is one unknown token a word."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?-東京é"]
    pieces = [*pieces, *(f"##{piece}" for piece in pieces[4:]), *WORDS]
    backend = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _read(backend)


@functools.cache
def blank_letters():
    """A tokenizer of words and characters whose tokens begin at the blank before them, as those of SentencePiece do."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?-東京é▁"]
    pieces += [f"▁{word}" for word in (*WORDS, "it", "is", "one", "where")]
    vocabulary = [(piece, -float(len(piece) < 2)) for piece in pieces]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=1))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return _read(backend)


def _read(backend):
    import tempfile
    from pathlib import Path

    template = PairTemplate.from_json({"before": [2], "between": [3], "after": [3], "types": [0, 1], "pad_id": 0})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        backend.save(str(path))
        return read_frozen_tokenizer(path, template)


def light_answerer(tokenizer=None, **settings):
    """An answerer whose opinions are hashes of tokens."""
    return QuestionAnswerer(HashingBackend(**settings), tokenizer or letters())
