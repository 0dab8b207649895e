"""Tokenised questions and contexts, and the overlapping windows in which a model reads them.

Questions and contexts are tokenised apart, each distinct text once and all in one batch of a fast tokenizer, and put
together with the tokenizer's own special tokens when a window is read. So five questions on one paragraph cost one
tokenisation of it, and a long question never shortens the context without a word.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from blockskim.atomic import open_whole
from blockskim.data.examples import Example
from blockskim.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

Ints = NDArray[np.int32]
CACHE_VERSION = 1
_NO_SPANS = np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How contexts are cut into windows, all in tokens.

    Attributes:
        max_length: of a window, question and special tokens included.
        doc_stride: by how much neighbouring windows overlap.
        max_question_length: longer questions lose their end.
    """

    max_length: int = 384
    doc_stride: int = 128
    max_question_length: int = 64

    def check(self, special_tokens: int) -> None:
        """Raise ConfigError when no context, or no step forward, is left beside the longest question."""
        if self.max_question_length < 1 or self.doc_stride < 0:
            raise ConfigError(
                f"max_question_length is {self.max_question_length} and doc_stride {self.doc_stride}; "
                "they must be at least 1 and 0"
            )
        room = self.max_length - self.max_question_length - special_tokens
        if room <= self.doc_stride:
            raise ConfigError(
                f"max_length {self.max_length} leaves {room} context tokens beside a question of "
                f"{self.max_question_length}; that must be more than doc_stride {self.doc_stride}"
            )


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens that a tokenizer puts around a question and a context, and its token types.

    Attributes:
        before: token ids before the question.
        between: between question and context.
        after: behind the context.
        types: token type of the question part and of the context part, or None if the tokenizer has none.
        pad_id: what padding is filled with.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int] | None
    pad_id: int

    @property
    def special_tokens(self) -> int:
        """Number of special tokens around a pair."""
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True, slots=True)
class Texts:
    """Tokens of many texts, one behind the other.

    Attributes:
        ids: Shape: (tokens,)
        offsets: first and one past the last character of each token. Shape: (tokens, 2)
        bounds: where each text begins in ``ids``; one more for the end. Shape: (texts + 1,)
    """

    ids: Ints
    offsets: Ints
    bounds: NDArray[np.int64]

    def ids_of(self, text: int) -> Ints:
        """Token ids of one text."""
        return self.ids[self.bounds[text] : self.bounds[text + 1]]

    def offsets_of(self, text: int) -> Ints:
        """Character spans of one text's tokens."""
        return self.offsets[self.bounds[text] : self.bounds[text + 1]]


@dataclass(frozen=True, slots=True)
class Window:
    """One input of a model: the question of an example and a run of its context's tokens."""

    example: int
    start: int
    end: int


class WindowSet(Sequence[dict[str, Any]]):
    """Windows of examples, assembled when they are read.

    An item holds ``input_ids``, ``token_type_ids`` (if the tokenizer has types) and ``context_mask`` as arrays of
    Shape: (tokens,), ``answer_spans`` with the first and last token of each annotated answer that lies whole or in
    part in the window, clipped to it, Shape: (answers, 2), ``evidence_spans`` likewise with the sentences that support
    the answer, Shape: (sentences, 2), ``target`` with the span that the QA loss is about (first annotated answer that
    lies whole in the window, else the first token twice), Shape: (2,), and ``index``.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        questions: Texts,
        contexts: Texts,
        context_of: NDArray[np.int64],
        template: PairTemplate,
        settings: WindowSettings,
    ) -> None:
        """Cut tokenised contexts into windows; ``context_of`` names the context of each example."""
        self.examples = examples
        self.questions = questions
        self.contexts = contexts
        self.context_of = context_of
        self.template = template
        self.settings = settings
        self.windows = _cut(questions, contexts, context_of, template, settings)
        self.answers = [
            _token_spans([(answer.start, answer.end) for answer in example.answers], contexts, context)
            for example, context in zip(examples, context_of, strict=True)
        ]
        self.evidence = {
            number: _token_spans(example.evidence, contexts, context_of[number])
            for number, example in enumerate(examples)
            if example.evidence
        }

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """Assemble one window."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        example, start, end = (int(value) for value in self.windows[index])
        question = self.question_ids(example)
        context = self.contexts.ids_of(int(self.context_of[example]))[start:end]
        template = self.template
        first = len(template.before) + len(question) + len(template.between)
        ids = np.concatenate([template.before, question, template.between, context, template.after]).astype(np.int64)
        context_mask = np.zeros(len(ids), dtype=np.int64)
        context_mask[first : first + len(context)] = 1
        item: dict[str, Any] = {"input_ids": ids, "context_mask": context_mask, "index": index % len(self)}
        if template.types is not None:
            types = np.full(len(ids), template.types[1], dtype=np.int64)
            types[:first] = template.types[0]
            item["token_type_ids"] = types
        item["answer_spans"] = self.answer_spans(index)
        item["evidence_spans"] = self.evidence_spans(index)
        spans = self.answers[example]
        whole = spans[(spans[:, 0] >= start) & (spans[:, 1] < end)]
        item["target"] = whole[0] - start + first if len(whole) else np.zeros(2, dtype=np.int64)
        return item

    def answer_spans(self, index: int) -> NDArray[np.int64]:
        """First and last token, inside the window, of each answer that it holds in whole or in part.

        Shape: (answers, 2)
        """
        return self._inside(index, self.answers[int(self.windows[index, 0])])

    def evidence_spans(self, index: int) -> NDArray[np.int64]:
        """First and last token, inside the window, of each supporting sentence that it holds in whole or in part.

        Shape: (sentences, 2)
        """
        return self._inside(index, self.evidence.get(int(self.windows[index, 0]), _NO_SPANS))

    def _inside(self, index: int, spans: NDArray[np.int64]) -> NDArray[np.int64]:
        """Spans of the context's tokens that a window holds, clipped to it and in its coordinates."""
        _, start, end = (int(value) for value in self.windows[index])
        inside = spans[(spans[:, 0] < end) & (spans[:, 1] >= start)]
        return np.clip(inside, start, end - 1) - start + self.context_start(index)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Assemble all windows in order."""
        return (self[index] for index in range(len(self)))

    def question_ids(self, example: int) -> Ints:
        """Token ids of an example's question, as many as a window takes."""
        return self.questions.ids_of(example)[: self.settings.max_question_length]

    def context_start(self, index: int) -> int:
        """Place of the first context token in a window."""
        question = self.question_ids(int(self.windows[index, 0]))
        return len(self.template.before) + len(question) + len(self.template.between)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window. Shape: (windows,)."""
        sizes = np.minimum(np.diff(self.questions.bounds), self.settings.max_question_length)
        inside = self.windows[:, 2] - self.windows[:, 1]
        lengths: NDArray[np.int64] = sizes[self.windows[:, 0]] + inside + self.template.special_tokens
        return lengths

    def character_span(self, example: int, first: int, last: int) -> tuple[int, int]:
        """Characters of an example's context from its token ``first`` to ``last``, inclusive."""
        offsets = self.contexts.offsets_of(int(self.context_of[example]))
        return int(offsets[first, 0]), int(offsets[last, 1])


def pair_template(tokenizer: PreTrainedTokenizerBase) -> PairTemplate:
    """Find out what a fast tokenizer puts around a question and a context.

    Raises:
        ConfigError: the tokenizer is slow (it can't tell characters) or has no padding token.
    """
    if not tokenizer.is_fast:
        raise ConfigError(
            f"{type(tokenizer).__name__} is a slow tokenizer and can't tell which characters a token covers; "
            "use a fast one (a model directory with tokenizer.json)"
        )
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"{type(tokenizer).__name__} has no padding token")
    pair = tokenizer("a", "a", return_special_tokens_mask=True, return_token_type_ids=True)
    sequence = pair.sequence_ids(0)
    ids, types = pair["input_ids"], pair["token_type_ids"]
    first, last = sequence.index(0), len(sequence) - 1 - sequence[::-1].index(0)
    second, final = sequence.index(1), len(sequence) - 1 - sequence[::-1].index(1)
    has_types = "token_type_ids" in tokenizer.model_input_names
    return PairTemplate(
        before=tuple(ids[:first]),
        between=tuple(ids[last + 1 : second]),
        after=tuple(ids[final + 1 :]),
        types=(types[first], types[second]) if has_types else None,
        pad_id=int(tokenizer.pad_token_id),
    )


def make_windows(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    settings: WindowSettings | None = None,
    cache_dir: Path | None = None,
    stand_in: str | None = None,
) -> WindowSet:
    """Tokenise examples and cut them into windows.

    Args:
        examples: what to read.
        tokenizer: a fast one.
        settings: of the windows.
        cache_dir: where tokens are kept between runs. Their file's name is a digest of every text, the tokenizer's
            whole definition and the library's format, so that a stale cache can't be read.
        stand_in: what is read in place of a question of which the tokenizer leaves nothing (control characters, say).

    Raises:
        ConfigError: the settings leave no room, or the tokenizer is slow.
        DataError: a question has no token, and there is no stand-in.
    """
    settings = settings or WindowSettings()
    template = pair_template(tokenizer)
    settings.check(template.special_tokens)
    distinct: dict[str, int] = {}
    context_of = np.array([distinct.setdefault(item.context, len(distinct)) for item in examples], dtype=np.int64)
    texts = [[item.question.strip() for item in examples], list(distinct)]
    questions, contexts = _tokenize_cached(tokenizer, texts, cache_dir)
    empty = np.flatnonzero(np.diff(questions.bounds) == 0).tolist()
    if empty:
        if stand_in is None:
            raise DataError(f"question {examples[empty[0]].id!r} is empty: {examples[empty[0]].question!r}")
        for number in empty:
            texts[0][number] = stand_in
        questions = _tokenize(tokenizer, texts[0])
    return WindowSet(examples, questions, contexts, context_of, template, settings)


def _cut(
    questions: Texts, contexts: Texts, context_of: NDArray[np.int64], template: PairTemplate, settings: WindowSettings
) -> NDArray[np.int64]:
    """Example, first token and end of each window. Shape: (windows, 3)."""
    rows = []
    question_sizes = np.minimum(np.diff(questions.bounds), settings.max_question_length)
    context_sizes = np.diff(contexts.bounds)
    for example, context in enumerate(context_of):
        room = settings.max_length - template.special_tokens - int(question_sizes[example])
        size = int(context_sizes[context])
        start = 0
        while True:
            end = min(start + room, size)
            rows.append((example, start, end))
            if end == size:
                break
            start += room - settings.doc_stride
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _token_spans(characters: Sequence[tuple[int, int]], contexts: Texts, context: np.int64) -> NDArray[np.int64]:
    """First and last context token of each span of characters that has a token. Shape: (spans, 2)."""
    offsets = contexts.offsets_of(int(context))
    spans = [covering_tokens(offsets, start, end) for start, end in characters]
    return np.array([span for span in spans if span[0] <= span[1]], dtype=np.int64).reshape(-1, 2)


def covering_tokens(offsets: Ints, start: int, end: int) -> tuple[int, int]:
    """First and last token that hold any of the characters from ``start`` to ``end``; first > last if none does.

    Args:
        offsets: character span of each token. Shape: (tokens, 2)
        start: first character.
        end: one past the last.
    """
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    return first, int(np.searchsorted(offsets[:, 0], end, side="left")) - 1


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Texts:
    if not texts:
        return Texts(np.zeros(0, np.int32), np.zeros((0, 2), np.int32), np.zeros(1, np.int64))
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encodings = backend.encode_batch(list(texts), add_special_tokens=False)
    bounds = np.cumsum([0, *(len(encoding.ids) for encoding in encodings)]).astype(np.int64)
    ids = np.concatenate([np.array(encoding.ids, dtype=np.int32) for encoding in encodings])
    offsets = np.concatenate([np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) for encoding in encodings])
    return Texts(ids, offsets, bounds)


def _tokenize_cached(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], cache_dir: Path | None
) -> list[Texts]:
    if cache_dir is None:
        return [_tokenize(tokenizer, part) for part in texts]
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, texts]).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    path = cache_dir / f"tokens-{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return [Texts(*(stored[f"{name}{i}"] for name in ("ids", "offsets", "bounds"))) for i in (0, 1)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s can't be read (%s); tokenising again", path, error)
    result = [_tokenize(tokenizer, part) for part in texts]
    cache_dir.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{name}{i}": getattr(part, name) for i, part in enumerate(result) for name in ("ids", "offsets", "bounds")
    }
    with open_whole(path) as file:
        np.savez(file, **arrays)
    return result
