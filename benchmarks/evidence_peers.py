"""Other ways to score sentences for a question: BM25, cosine of sentence embeddings, and their order in the text."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.errors import ConfigError

Floats = NDArray[np.float64]
Scorer = Callable[[str, Sequence[str]], Floats]
"""Takes a question and the sentences of all its documents; gives a score for each."""


def first(question: str, sentences: Sequence[str]) -> Floats:
    """What comes first is best."""
    return -np.arange(len(sentences), dtype=np.float64)


def bm25() -> Scorer:
    """BM25 with the library's own tokens and English stop words; every question has its sentences for a corpus.

    Raises:
        ConfigError: the library is missing.
    """
    try:
        library: Any = importlib.import_module("bm25s")
    except ModuleNotFoundError as error:
        raise ConfigError("BM25 needs bm25s, which is not installed: pip install bm25s") from error

    def score(question: str, sentences: Sequence[str]) -> Floats:
        options = {"stopwords": "en", "show_progress": False}
        corpus = library.tokenize(list(sentences), return_ids=False, **options)
        (asked,) = library.tokenize([question], return_ids=False, **options)
        retriever = library.BM25()
        retriever.index(corpus, show_progress=False)
        return np.asarray(retriever.get_scores(asked), dtype=np.float64) if asked else np.zeros(len(sentences))

    return score


def cosine(directory: Path, threads: int) -> Scorer:
    """Cosine of mean-pooled token states, as all-MiniLM-L6-v2 is used."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    model: Any = AutoModel.from_pretrained(directory).eval()

    @torch.no_grad()
    def embedded(texts: Sequence[str]) -> Floats:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        rows: dict[int, Floats] = {}
        for begin in range(0, len(order), 32):
            part = order[begin : begin + 32]
            batch = tokenizer(
                [texts[number] for number in part], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(states.dtype)
            pooled = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
            rows |= dict(zip(part, pooled.numpy().astype(np.float64), strict=True))
        return np.stack([rows[number] for number in range(len(texts))])

    def score(question: str, sentences: Sequence[str]) -> Floats:
        states = embedded([question, *sentences])
        similar: Floats = states[1:] @ states[0]
        return similar

    return score
