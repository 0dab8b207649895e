"""Tiny tokenizers built in the test: WordPiece as BERT's, byte-level BPE as RoBERTa's."""

import functools

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerBase, PreTrainedTokenizerFast

KINDS = ("wordpiece", "bytes")
WORDS = ("the", "kite", "red", "nest", "in", "wales", "a", "eat", "worm", "who", "where", "when", "2024", "caf")
PIECES = ("##s", "##ing", "##e", "##a", "##t", "##i", "##n", "##r")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"-()[]üß🪁🙂日本語東京한국Ж")


def tokenizer(kind: str) -> PreTrainedTokenizerBase:
    """A tokenizer of a kind, that the test may change."""
    return {"wordpiece": word_piece, "bytes": byte_level}[kind]()


@functools.cache
def fixed_tokenizer(kind: str) -> PreTrainedTokenizerBase:
    """A tokenizer of a kind, made once. Don't change it."""
    return tokenizer(kind)


def word_piece(extra: tuple[str, ...] = ()) -> PreTrainedTokenizerBase:
    """As BERT's: lower case, no accents, Chinese characters apart, token types 0 and 1."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    pieces = (*special, *WORDS, *PIECES, *LETTERS, *(f"##{letter}" for letter in LETTERS if letter.isalnum()), *extra)
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=40))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocab[name]) for name in ("[CLS]", "[SEP]")],
    )
    return BertTokenizerFast(tokenizer_object=backend)


def byte_level(trim_offsets: bool = True) -> PreTrainedTokenizerBase:
    """As RoBERTa's: bytes, two separators between question and context, no token types."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    symbols = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("Ġ", "in"), ("k", "i"), ("ki", "t"), ("kit", "e")]
    vocab = {symbol: number for number, symbol in enumerate([*symbols, *(a + b for a, b in merges)])}
    backend = Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", vocab["</s>"]), ("<s>", vocab["<s>"]), trim_offsets=trim_offsets, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    )
