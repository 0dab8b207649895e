"""QuestionAnswerer: questions and texts in, answers out. What most people use.

It keeps the contract of transformers' removed question-answering pipeline, and not its bugs: as many answers as asked
for where there are so many, none of them twice, nothing cut off without a word, ``context[start:end] == answer``.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from blockskim.answering.trace import AnswerTrace, WindowTrace, trace_windows
from blockskim.answering.word_boundaries import align_to_words, trim_blanks
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSet, WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from blockskim.inference.answers import AnswerCollector, ExampleAnswers
from blockskim.inference.loading import (
    LoadedModel,
    check_threshold_for,
    load,
    position_limit,
    thresholds_for,
    window_settings,
)
from blockskim.inference.runner import Thresholds, WindowBatch, run_windows, whole_examples
from blockskim.model.modeling import BlockSkimForQuestionAnswering

logger = logging.getLogger(__name__)

DEFAULT_LENGTH = 384

Progress = Callable[[int, int], None]
"""Called with the number of windows that are done and with that of all."""


class FoundAnswer(TypedDict):
    """An answer; ``start`` and ``end`` are character offsets into the context."""

    score: float
    start: int
    end: int
    answer: str
    document: NotRequired[str]
    trace: NotRequired[AnswerTrace]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Answers to one question over several documents.

    Attributes:
        question: the question.
        answers: best first; each names its document.
        traces: what was read of each document, in their order.
    """

    question: str
    answers: list[FoundAnswer]
    traces: tuple[AnswerTrace, ...]


@dataclass(frozen=True, slots=True)
class _Options:
    top_k: int
    windows: WindowSettings
    max_answer_len: int
    handle_impossible_answer: bool
    align_to_words: bool
    batch_size: int
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class _Read:
    """What came out of one example: its answers, and what turns scores into probabilities."""

    answers: list[tuple[int, int, float]]
    null_score: float
    log_normalizer: float


class QuestionAnswerer:
    """Answers questions over texts of any length.

    Example::

        qa = QuestionAnswerer()
        qa(question="Who wrote it?", context="Ann wrote it.")
        # {'score': 0.98, 'start': 0, 'end': 3, 'answer': 'Ann'}
    """

    def __init__(
        self,
        model: str | Path | BlockSkimForQuestionAnswering | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        batch_size: int = 32,
        point: str | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: a directory or hub id of a Block-Skim model or of any QA checkpoint of a supported family; a model,
                with its tokenizer; or None for the model that comes with the library.
            tokenizer: the tokenizer of a model that is given as such.
            device: "auto", "cpu" or "cuda"; a model that is given as such stays where it is.
            dtype: "auto", "float32", "bfloat16" or "float16"; likewise.
            threads: number of processor threads for this process.
            batch_size: windows that run together.
            point: operating point of the model to answer at, by its name; None for the model's own thresholds. A
                call must not give thresholds, then.

        Raises:
            ModelError: the model can't be loaded.
            ConfigError: an argument is impossible, or the model has no such point.
        """
        if isinstance(model, BlockSkimForQuestionAnswering):
            if tokenizer is None:
                raise ConfigError("a model that is given as such needs its tokenizer, too")
            if threads is not None:
                torch.set_num_threads(_count("threads", threads))
            self.loaded = LoadedModel(model.eval(), tokenizer, "the model")
        else:
            self.loaded = load(model, device, dtype, threads)
        self.model = self.loaded.model
        self.tokenizer = tokenizer or self.loaded.tokenizer
        self.batch_size = _count("batch_size", batch_size)
        self.point = point
        self.thresholds = thresholds_for(self.loaded, point=point)

    def __call__(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str],
        *,
        top_k: int = 1,
        doc_stride: int = 128,
        max_answer_len: int = 15,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        handle_impossible_answer: bool = False,
        align_to_words: bool = True,
        batch_size: int | None = None,
        threshold: float | Sequence[float] | None = None,
        dense: bool = False,
        return_trace: bool = False,
    ) -> Any:
        """Answer each question from its context.

        Lists of the same length pair up; one string beside a list goes with each of its items.

        Args:
            question: a question or several.
            context: a text of any length, or several.
            top_k: how many answers to give.
            doc_stride: tokens by which the windows of a long context overlap (at most half of what fits in one).
            max_answer_len: most tokens in an answer.
            max_seq_len: tokens in a window, question included.
            max_question_len: tokens of a question that are read; a warning tells when a question is longer.
            handle_impossible_answer: whether "no answer", the empty string, may be among the answers.
            align_to_words: whether answers are extended to whole words (see ``blockskim.answering.word_boundaries``).
            batch_size: windows that run together; the answers do not depend on it.
            threshold: keep probability under which a block is dropped, one for all layers or one a layer; None takes
                the model's own.
            dense: read everything, as a model without Block-Skim does.
            return_trace: give each answer a ``trace`` of what was read of its context.

        Returns:
            For two strings an answer with ``score`` (a probability), ``start``, ``end`` and ``answer``, or with
            ``top_k`` above 1 a list of them, best first; for a list, a list with that for each pair. There are fewer
            than ``top_k`` answers only when the context has no more.

        Raises:
            ConfigError: an argument is impossible.
            DataError: a question or context is empty or blank or holds no valid text.
        """
        questions, contexts, single = _pair(question, context)
        options = self._options(
            top_k,
            doc_stride,
            max_answer_len,
            max_seq_len,
            max_question_len,
            handle_impossible_answer,
            align_to_words,
            batch_size,
            threshold,
            dense,
        )
        names = [("the question", "the context")] if single else _numbered(len(questions))
        pairs = [(*texts, "") for texts in zip(questions, contexts, strict=True)]
        reads, traces = self._read(pairs, names, options, return_trace)
        results: list[FoundAnswer | list[FoundAnswer]] = []
        for place, read in enumerate(reads):
            answers = _found(read, contexts[place], options)
            if return_trace:
                for answer in answers:
                    answer["trace"] = traces[place]
            results.append(answers[0] if top_k == 1 else answers)
        return results[0] if single else results

    def search(
        self,
        questions: str | Sequence[str],
        documents: Mapping[str, str],
        *,
        top_k: int = 1,
        doc_stride: int = 128,
        max_answer_len: int = 15,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        align_to_words: bool = True,
        batch_size: int | None = None,
        threshold: float | Sequence[float] | None = None,
        dense: bool = False,
        progress: Progress | None = None,
    ) -> list[SearchResult]:
        """Find the best answers over several documents.

        Scores are probabilities over all documents: each document has a share by how sure the model is that it holds
        an answer, so that the best answer of a text that has none does not come first.

        Args:
            questions: a question or several.
            documents: text by name.
            top_k: how many answers to give, over all documents.
            doc_stride: as for a call, like all that follow.
            max_answer_len: as for a call.
            max_seq_len: as for a call.
            max_question_len: as for a call.
            align_to_words: as for a call.
            batch_size: as for a call.
            threshold: as for a call.
            dense: as for a call.
            progress: told after each batch how many windows are done, and of how many.

        Returns:
            For each question its answers, each with its ``document``, and what was read.

        Raises:
            ConfigError: an argument is impossible.
            DataError: a question or document is empty or holds no valid text, or there is no document.
        """
        if not documents:
            raise DataError("there is no document to search")
        options = self._options(
            top_k,
            doc_stride,
            max_answer_len,
            max_seq_len,
            max_question_len,
            False,
            align_to_words,
            batch_size,
            threshold,
            dense,
        )
        asked_for = _texts("question", questions)
        pairs, names = [], []
        for number, text in enumerate(asked_for, start=1):
            asked = "the question" if len(asked_for) == 1 else f"question {number}"
            for name, content in documents.items():
                pairs.append((text, content, name))
                names.append((asked, f"the document {name!r}" if name else "the context"))
        reads, traces = self._read(pairs, names, options, True, progress)
        results = []
        for number, text in enumerate(asked_for):
            part = slice(number * len(documents), (number + 1) * len(documents))
            answers = _best_over_documents(reads[part], documents, options)
            results.append(SearchResult(text, answers, tuple(traces[part])))
        return results

    def _options(
        self,
        top_k: int,
        doc_stride: int,
        max_answer_len: int,
        max_seq_len: int,
        max_question_len: int,
        handle_impossible_answer: bool,
        align: bool,
        batch_size: int | None,
        threshold: float | Sequence[float] | None,
        dense: bool,
    ) -> _Options:
        """Check the arguments of a call."""
        if dense and threshold is not None:
            raise ConfigError("dense reads everything, so it can't go with a threshold")
        if self.point is not None and (dense or threshold is not None):
            raise ConfigError(
                f"{'dense' if dense else 'a threshold'} can't go with the operating point {self.point!r} that the "
                "answerer was made for; make one without a point"
            )
        check_threshold_for(self.loaded, threshold)
        thresholds: Thresholds = 0.0 if dense else self.thresholds if threshold is None else threshold
        limit = position_limit(self.model)
        if limit is not None and max_seq_len == DEFAULT_LENGTH:
            max_seq_len = min(max_seq_len, limit)
        return _Options(
            _count("top_k", top_k),
            window_settings(self.model, self.tokenizer, max_seq_len, doc_stride, max_question_len),
            _count("max_answer_len", max_answer_len),
            handle_impossible_answer,
            align,
            self.batch_size if batch_size is None else _count("batch_size", batch_size),
            thresholds,
        )

    def _read(
        self,
        pairs: Sequence[tuple[str, str, str]],
        names: Sequence[tuple[str, str]],
        options: _Options,
        trace: bool,
        progress: Progress | None = None,
    ) -> tuple[list[_Read], list[AnswerTrace]]:
        """Answer (question, context, document name) triples; traces only if asked for."""
        if not pairs:
            return [], []
        started = time.perf_counter()
        for (question, context, _), (asked, read) in zip(pairs, names, strict=True):
            _check_text(question, asked)
            _check_text(context, read)
        examples = [Example(str(number), question, context) for number, (question, context, _) in enumerate(pairs)]
        windows = make_windows(examples, self.tokenizer, options.windows, stand_in="?")
        _check_tokens(windows, names)
        reads: dict[int, _Read] = {}
        parts: dict[int, tuple[WindowTrace, ...]] = {}
        batches = run_windows(self.model, windows, options.batch_size, options.thresholds)
        # What a batch computed is let go with its group, so that memory does not grow with the length of the texts.
        for group in whole_examples(_with_progress(batches, len(windows), progress), windows):
            reads |= _collect(group, windows, options)
            if trace:
                parts |= trace_windows(group, windows)
        ordered = [reads[place] for place in range(len(pairs))]
        if not trace:
            return ordered, []
        return ordered, self._traces(parts, pairs, ordered, options, time.perf_counter() - started)

    def _traces(
        self,
        parts: Mapping[int, tuple[WindowTrace, ...]],
        pairs: Sequence[tuple[str, str, str]],
        reads: Sequence[_Read],
        options: _Options,
        seconds: float,
    ) -> list[AnswerTrace]:
        flops = [sum(window.flops for window in parts[place]) for place in range(len(pairs))]
        layers = len(self.model.adapter.layers(self.model.encoder))
        return [
            AnswerTrace(
                question,
                context,
                document,
                parts[place],
                layers,
                tuple(_scaled(read, read.log_normalizer)[: options.top_k]),
                seconds * flops[place] / sum(flops),
            )
            for place, ((question, context, document), read) in enumerate(zip(pairs, reads, strict=True))
        ]


def _with_progress(batches: Iterable[WindowBatch], total: int, progress: Progress | None) -> Iterator[WindowBatch]:
    """The batches; whoever wants to know is told how many windows are done of how many."""
    done = 0
    for batch in batches:
        done += len(batch.indices)
        yield batch
        if progress is not None:
            progress(done, total)


def _collect(batches: Sequence[WindowBatch], windows: WindowSet, options: _Options) -> dict[int, _Read]:
    """The best ``top_k`` distinct answers of each example that the batches are of.

    Several spans of tokens may become one answer. So more are looked at than asked for, and more yet as long as an
    example is short of answers although it has spans that were not looked at.
    """
    count = 2 * options.top_k + 8 if options.align_to_words else options.top_k
    examples = sorted({int(windows.windows[index, 0]) for batch in batches for index in batch.indices})
    spans: dict[int, int] | None = None
    while True:
        collector = AnswerCollector(windows, options.max_answer_len, count)
        for batch in batches:
            collector.add(batch)
        reads = {
            place: _distinct(collector.result(place), windows.examples[place].context, options) for place in examples
        }
        short = [place for place, read in reads.items() if len(read.answers) < options.top_k]
        if short and spans is None:
            spans = _span_counts(batches, windows, options.max_answer_len)
        if spans is None or not any(spans[place] > count for place in short):
            return reads
        count *= 8


def _span_counts(batches: Sequence[WindowBatch], windows: WindowSet, max_length: int) -> dict[int, int]:
    """How many spans of surviving tokens each example has, over all its windows."""
    counts: Counter[int] = Counter()
    for batch in batches:
        logits = batch.output.start_logits
        assert logits is not None
        alive = (logits.isfinite() & batch.context_mask).long()
        # Ends at most max_length - 1 behind each start.
        sums = torch.nn.functional.pad(alive.cumsum(-1), (1, max_length), mode="constant", value=0)
        tokens = alive.shape[1]
        sums[:, tokens + 1 :] = sums[:, tokens : tokens + 1]
        spans = (alive * (sums[:, max_length : max_length + tokens] - sums[:, :tokens])).sum(-1).tolist()
        for window, number in zip(batch.indices, spans, strict=True):
            counts[int(windows.windows[window, 0])] += number
    return counts


def _distinct(result: ExampleAnswers, context: str, options: _Options) -> _Read:
    """Candidates as answers in the text, each span of characters once, with the best of its scores."""
    found: dict[tuple[int, int], float] = {}
    for candidate in result.candidates:
        start, end = trim_blanks(context, candidate.start, candidate.end)
        if start == end:
            continue
        span = align_to_words(context, start, end) if options.align_to_words else (start, end)
        found.setdefault(span, candidate.score)
    answers = [(*span, score) for span, score in found.items()][: options.top_k]
    return _Read(answers, result.null_score, result.log_normalizer)


def _scaled(read: _Read, log_normalizer: float) -> list[tuple[int, int, float]]:
    """Answers with probabilities for scores."""
    return [(start, end, _probability(score, log_normalizer)) for start, end, score in read.answers]


def _probability(score: float, log_normalizer: float) -> float:
    return ExampleAnswers((), 0.0, log_normalizer).probability(score)


def _found(read: _Read, context: str, options: _Options) -> list[FoundAnswer]:
    answers = [
        FoundAnswer(score=score, start=start, end=end, answer=context[start:end])
        for start, end, score in _scaled(read, read.log_normalizer)
    ]
    if options.handle_impossible_answer or not answers:
        score = _probability(read.null_score, read.log_normalizer)
        answers.append(FoundAnswer(score=score, start=0, end=0, answer=""))
        answers.sort(key=lambda answer: -answer["score"])
    return answers[: options.top_k]


def _best_over_documents(reads: Sequence[_Read], documents: Mapping[str, str], options: _Options) -> list[FoundAnswer]:
    """Answers of all documents on one scale: both ends of an answer must be in the same document."""
    log_normalizer = float(np.logaddexp.reduce([read.log_normalizer for read in reads]))
    answers = [
        FoundAnswer(score=score, start=start, end=end, answer=text[start:end], document=name)
        for read, (name, text) in zip(reads, documents.items(), strict=True)
        for start, end, score in _scaled(read, log_normalizer)
    ]
    return sorted(answers, key=lambda answer: -answer["score"])[: options.top_k]


def _pair(question: object, context: object) -> tuple[list[str], list[str], bool]:
    """Questions and contexts side by side, and whether both came as single strings."""
    questions, contexts = _texts("question", question), _texts("context", context)
    single = isinstance(question, str) and isinstance(context, str)
    if isinstance(question, str):
        questions = questions * len(contexts)
    elif isinstance(context, str):
        contexts = contexts * len(questions)
    if len(questions) != len(contexts):
        raise ConfigError(f"{len(questions)} questions can't pair up with {len(contexts)} contexts")
    return questions, contexts, single


def _texts(name: str, value: object) -> list[str]:
    values = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [None]
    texts = [text for text in values if isinstance(text, str)]
    if len(texts) < len(values):
        raise ConfigError(f"the {name} must be a string or a list of strings, not {type(value).__name__}")
    return texts


def _numbered(count: int) -> list[tuple[str, str]]:
    return [(f"question {number}", f"context {number}") for number in range(1, count + 1)]


def _check_text(text: str, name: str) -> None:
    if not text.strip():
        raise DataError(f"{name} is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} holds half of a surrogate pair at character {error.start}, which is no valid text"
        ) from error


def _check_tokens(windows: WindowSet, names: Sequence[tuple[str, str]]) -> None:
    """Warn of contexts that the tokenizer leaves nothing of, and of questions that are not read to their end."""
    sizes = np.diff(windows.contexts.bounds)[windows.context_of]
    for place in np.flatnonzero(sizes == 0).tolist():
        logger.warning("%s has no character that the model can read, so there is no answer in it", names[place][1])
    limit = windows.settings.max_question_length
    warned: set[str] = set()
    for place in np.flatnonzero(np.diff(windows.questions.bounds) > limit).tolist():
        name = names[place][0]
        if name not in warned:
            warned.add(name)
            logger.warning("%s is longer than %d tokens; the rest of it is not read", name, limit)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least 1")
    return value
