"""Tokenised questions and contexts, and the overlapping windows in which a model reads them.

Questions and contexts are tokenised apart, each distinct text once and all in one batch of a fast tokenizer, and put
together with the tokenizer's own special tokens when a window is read. So five questions on one paragraph cost one
tokenisation of it, and a long question never shortens the context without a word.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_count
from blockskim.data.examples import Example
from blockskim.data.packed_inputs import PackedInputs, question_matrix
from blockskim.data.tokens import (
    FrozenTokenizer,
    Ints,
    PairTemplate,
    Texts,
    covering_tokens,
    freeze_tokenizer,
    tokenize,
    tokenize_cached,
)
from blockskim.data.window_bounds import bounds_of_examples
from blockskim.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

STAND_IN = "?"
"""Read in place of a question of which a tokenizer leaves nothing, where such a one is no error."""

_NO_SPANS = np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How contexts are cut into windows, all in tokens.

    Attributes:
        max_length: of a window, question and special tokens included.
        doc_stride: by how much neighbouring windows overlap.
        max_question_length: longer questions lose their end.

    Examples:
        >>> from blockskim import WindowSettings
        >>> WindowSettings(max_length=256).doc_stride
        128
    """

    max_length: int = 384
    doc_stride: int = 128
    max_question_length: int = 64

    def check(self, special_tokens: int) -> None:
        """Raise ConfigError for what is no whole number, and when nothing is left beside the longest question.

        There must be room for some of the context, and for a step forward in it.
        """
        check_count("max_length", self.max_length)
        check_count("doc_stride", self.doc_stride, least=0)
        check_count("max_question_length", self.max_question_length)
        room = self.max_length - self.max_question_length - special_tokens
        if room <= self.doc_stride:
            raise ConfigError(
                f"max_length {self.max_length} leaves {room} context tokens beside a question of "
                f"{self.max_question_length}; that must be more than doc_stride {self.doc_stride}"
            )


class WindowSet(Sequence[dict[str, Any]]):
    """Windows of examples, assembled when they are read.

    An item holds ``input_ids``, ``token_type_ids`` (if the tokenizer has types) and ``context_mask`` as arrays of
    Shape: (tokens,), ``answer_spans`` with the first and last token of each annotated answer that lies whole or in
    part in the window, clipped to it, Shape: (answers, 2), ``evidence_spans`` with those of sentences that support the
    answer, Shape: (sentences, 2), ``target`` with the span that the QA loss is about (first annotated answer that lies
    whole in the window, else the first token twice), Shape: (2,), and ``index``.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        questions: Texts,
        contexts: Texts,
        context_of: NDArray[np.int64],
        template: PairTemplate,
        settings: WindowSettings,
        passage_of: NDArray[np.int64] | None = None,
        steps_of: NDArray[np.int64] | None = None,
        stand_ins: Sequence[int] = (),
    ) -> None:
        """Cut tokenised contexts into windows.

        Args:
            examples: what to read.
            questions: their tokens.
            contexts: tokens of all contexts.
            context_of: the context of each example. Shape: (examples,)
            template: what goes around them.
            settings: of the windows.
            passage_of: the passage of each token of ``contexts``, where these are passages of longer texts: answers
                don't go on from one to the next. Shape: (tokens,)
            steps_of: windows of each example follow each other by a multiple of so many tokens, if that leaves them an
                overlap; 1 for all when None. Shape: (examples,)
            stand_ins: numbers of the examples whose question has no token, so that another is read in its place.
        """
        self.examples = examples
        self.questions = questions
        self.contexts = contexts
        self.context_of = context_of
        self.template = template
        self.settings = settings
        self.passage_of = passage_of
        self.stand_ins = stand_ins
        asked = np.minimum(np.diff(questions.bounds), settings.max_question_length)
        rooms = settings.max_length - template.special_tokens - asked
        sizes = np.diff(contexts.bounds)[context_of]
        self.windows = bounds_of_examples(sizes, rooms, settings.doc_stride, steps_of)
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
        return self._inside(index, self.answers[self.example_of(index)])

    def evidence_spans(self, index: int) -> NDArray[np.int64]:
        """First and last token, inside the window, of each supporting sentence that it holds in whole or in part.

        Shape: (sentences, 2)
        """
        return self._inside(index, self.evidence.get(self.example_of(index), _NO_SPANS))

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

    def pack(self, indices: Sequence[int] | NDArray[np.int64]) -> PackedInputs:
        """Some windows side by side, as inference reads them."""
        template = self.template
        pieces: list[Any] = []
        questions, sizes = [], np.zeros((len(indices), 3), dtype=np.int64)
        for row, index in enumerate(indices):
            example, start, end = self.windows[index].tolist()
            question = self.question_ids(example)
            context = self.contexts.ids_of(int(self.context_of[example]))[start:end]
            pieces += [template.before, question, template.between, context, template.after]
            first = len(template.before) + len(question) + len(template.between)
            sizes[row] = first, len(context), first + len(context) + len(template.after)
            questions.append(self._question_places(question, *sizes[row].tolist()))
        starts, inside, lengths = sizes.T
        types = None
        if template.types is not None:
            runs = np.stack([starts, lengths - starts], 1).reshape(-1)
            types = np.repeat(np.tile(np.array(template.types, dtype=np.int64), len(sizes)), runs)
        return PackedInputs(
            ids=np.concatenate(pieces).astype(np.int64) if pieces else np.zeros(0, np.int64),
            types=types,
            lengths=lengths.copy(),
            context_starts=np.where(inside > 0, starts, 0),
            context_lengths=inside.copy(),
            **question_matrix(questions),
            documents=self.examples_of(indices),
        )

    def _question_places(self, question: Ints, first: int, inside: int, length: int) -> NDArray[np.int64]:
        """Places of a window's question tokens without special ones; all outside of the context if there are none.

        They are those that ``question_tokens`` finds in padded inputs.
        """
        between = self.template.between
        places = np.flatnonzero(question != (between[-1] if between else question[-1])) + len(self.template.before)
        places = places[places > 0]
        if len(places):
            return places
        return np.concatenate([np.arange(first), np.arange(first + inside, length)])

    def examples_of(self, indices: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The example of each of some windows, or of all. Shape: (windows,)."""
        rows = slice(None) if indices is None else np.asarray(indices, dtype=np.int64)
        numbers: NDArray[np.int64] = self.windows[rows, 0]
        return numbers

    def example_of(self, index: int) -> int:
        """The example that a window is of."""
        return int(self.windows[index, 0])

    def context_offset(self, index: int) -> int:
        """What to add to a place in a window to get the token of the context that stands there."""
        return int(self.windows[index, 1]) - self.context_start(index)

    def context_start(self, index: int) -> int:
        """Place of the first context token in a window."""
        question = self.question_ids(self.example_of(index))
        return len(self.template.before) + len(question) + len(self.template.between)

    def passages(self, indices: NDArray[np.int64], width: int) -> NDArray[np.int64] | None:
        """The passage of each context token of some windows; None where contexts are whole. Shape: (windows, width)."""
        if self.passage_of is None:
            return None
        found = np.full((len(indices), width), -1, dtype=np.int64)
        for row, index in enumerate(indices):
            example, start, end = (int(value) for value in self.windows[index])
            first, begin = self.context_start(int(index)), int(self.contexts.bounds[self.context_of[example]])
            found[row, first : first + end - start] = self.passage_of[begin + start : begin + end]
        return found

    def selected(self, chosen: Mapping[int, NDArray[np.bool_]], block_size: int) -> "WindowSet":
        """The same examples, of some of which only passages are read.

        Args:
            chosen: which tokens of its context are read, by example, in whole blocks. Shape: (tokens,) each
            block_size: tokens of a block; windows begin where a block does, so that none holds parts of two passages.
        """
        # Behind the contexts as they are, which all other examples go on reading.
        ids, offsets = [self.contexts.ids], [self.contexts.offsets]
        passages, bounds = [np.zeros(len(self.contexts.ids), dtype=np.int64)], self.contexts.bounds.tolist()
        context_of, steps_of = self.context_of.copy(), np.ones(len(self.examples), dtype=np.int64)
        for example, tokens in chosen.items():
            context, places = int(self.context_of[example]), np.flatnonzero(tokens)
            ids.append(self.contexts.ids_of(context)[places])
            offsets.append(self.contexts.offsets_of(context)[places])
            passages.append(np.cumsum(np.diff(places, prepend=places[:1] - 1) != 1))
            context_of[example], steps_of[example] = len(bounds) - 1, block_size
            bounds.append(bounds[-1] + len(places))
        return WindowSet(
            self.examples,
            self.questions,
            Texts(np.concatenate(ids), np.concatenate(offsets), np.array(bounds, dtype=np.int64)),
            context_of,
            self.template,
            self.settings,
            np.concatenate(passages),
            steps_of,
            self.stand_ins,
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window. Shape: (windows,)."""
        sizes = np.minimum(np.diff(self.questions.bounds), self.settings.max_question_length)
        inside = self.windows[:, 2] - self.windows[:, 1]
        lengths: NDArray[np.int64] = sizes[self.examples_of()] + inside + self.template.special_tokens
        return lengths

    @property
    def questions_cut(self) -> int:
        """How many questions lose their end."""
        return len(self.cut_questions)

    @property
    def cut_questions(self) -> NDArray[np.int64]:
        """Numbers of the examples whose question is longer than a window takes, and loses its end. Shape: (cut,)."""
        return np.flatnonzero(np.diff(self.questions.bounds) > self.settings.max_question_length)

    def character_span(self, example: int, first: int, last: int) -> tuple[int, int]:
        """Characters of an example's context from its token ``first`` to ``last``, inclusive."""
        offsets = self.contexts.offsets_of(int(self.context_of[example]))
        return int(offsets[first, 0]), int(offsets[last, 1])


def make_windows(
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer",
    settings: WindowSettings | None = None,
    cache_dir: Path | None = None,
    stand_in: str | None = None,
    warn: bool = True,
) -> WindowSet:
    """Tokenise examples and cut them into windows.

    Warnings count the questions that are longer than ``max_question_length`` and lose their end, and those in place of
    which ``stand_in`` is read.

    Args:
        examples: what to read.
        tokenizer: a fast one. It is copied and not changed; a copy that was made before is taken as it is.
        settings: of the windows.
        cache_dir: where tokens are kept between runs. Their file's name is a digest of every text, the tokenizer's
            whole definition and the library's format, so that a stale cache can't be read.
        stand_in: what is read in place of a question of which the tokenizer leaves nothing (control characters, say).
        warn: whether to warn; whoever cuts data part by part, or tells of each question, need not.

    Raises:
        ConfigError: the settings leave no room, or the tokenizer is slow.
        DataError: a question has no token, and there is no stand-in.

    Examples:
        >>> from blockskim import load, make_windows, read_examples
        >>> examples = list(read_examples("dev.json"))
        >>> windows = make_windows(examples, load("my-model").tokenizer)
        >>> len(windows) >= len(examples)
        True
    """
    settings = WindowSettings() if settings is None else settings
    frozen = freeze_tokenizer(tokenizer)
    settings.check(frozen.template.special_tokens)
    distinct: dict[str, int] = {}
    context_of = np.array([distinct.setdefault(item.context, len(distinct)) for item in examples], dtype=np.int64)
    texts = [[item.question.strip() for item in examples], list(distinct)]
    questions, contexts = tokenize_cached(frozen, texts, cache_dir)
    empty = np.flatnonzero(np.diff(questions.bounds) == 0).tolist()
    if empty:
        if stand_in is None:
            raise DataError(_unreadable(examples[empty[0]]))
        for number in empty:
            texts[0][number] = stand_in
        questions = tokenize(frozen, texts[0])
    windows = WindowSet(examples, questions, contexts, context_of, frozen.template, settings, stand_ins=empty)
    if warn and (cut := windows.questions_cut):
        limit, total = settings.max_question_length, len(examples)
        logger.warning("questions longer than %d tokens: %d of %d; the rest of them is not read", limit, cut, total)
    if warn and empty:
        told = "questions without a character that the tokenizer reads: %d of %d; read as %r"
        logger.warning(told, len(empty), len(examples), stand_in)
    return windows


def _unreadable(example: Example) -> str:
    """What is wrong with a question of which a tokenizer leaves nothing."""
    where = f"{example.source}: " if example.source else ""
    wrong = "has no character that the tokenizer reads" if example.question.strip() else "is empty"
    return f"{where}question {example.id!r:.80} {wrong}: {example.question!r:.80}; leave it out, or read a stand_in"


def _token_spans(characters: Sequence[tuple[int, int]], contexts: Texts, context: np.int64) -> NDArray[np.int64]:
    """First and last context token of each span of characters that has a token. Shape: (spans, 2)."""
    offsets = contexts.offsets_of(int(context))
    spans = [covering_tokens(offsets, start, end) for start, end in characters]
    return np.array([span for span in spans if span[0] <= span[1]], dtype=np.int64).reshape(-1, 2)
