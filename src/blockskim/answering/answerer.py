"""Questions and texts in, answers out: what ``QuestionAnswerer`` has of answering.

It keeps the contract of transformers' removed question-answering pipeline, and not its bugs: as many answers as asked
for where there are so many in what was read to the end, none of them twice, nothing cut off without a word,
``context[start:end] == answer``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blockskim.answering.loading import check_tokenizer, frozen, is_module, load_backend, take_backend
from blockskim.answering.model_choice import ModelChoice
from blockskim.answering.pair_reading import PairReading
from blockskim.answering.ranking import FoundAnswer, answers_over_documents, with_answers
from blockskim.answering.reading import TextReader, WindowCount
from blockskim.answering.request import (
    DEFAULT_LENGTH,
    AnswerOptions,
    TellUnread,
    TextPair,
    check_questions,
    pair_up,
    pair_with_all,
    warn_of_blank,
    warn_of_unread,
)
from blockskim.answering.texts import DocumentsGiven, TextsGiven, as_documents, as_texts, is_one_text
from blockskim.answering.trace import AnswerTrace, with_blank_documents
from blockskim.checks import check_count, check_flag
from blockskim.inference.answers import ExampleAnswers
from blockskim.inference.backend import Backend
from blockskim.inference.operating_point import ThresholdsGiven

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from blockskim.data.tokens import FrozenTokenizer


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


class Answerer:
    """Answers questions over texts of any length.

    Examples:
        >>> answerer = Answerer()
        >>> answerer(question="Who wrote it?", context="Ann wrote it.")["answer"]
        'Ann'
    """

    def __init__(
        self,
        model: str | Path | Backend | None = None,
        tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer | None" = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        batch_size: int = 32,
        point: str | None = None,
        backend: str = "auto",
        **hub: Any,
    ) -> None:
        """Load a model.

        Args:
            model: a directory or hub id of a Block-Skim model or of any QA checkpoint of a supported family; a model,
                or another ``Backend``, with its tokenizer; or None for the model that comes with the library. A model
                in training mode is put into evaluation mode, with a warning.
            tokenizer: the tokenizer of a model that is given as such. It is copied: what is done with it afterwards
                changes no answer.
            device: "auto", "cpu" or "cuda"; a model that is given as such stays where it is, so "auto" is right for it.
            dtype: "auto", "float32", "bfloat16" or "float16"; "int8" for an exported directory that has such a graph;
                a model that is given as such keeps its own, so "auto" is right for it.
            threads: number of processor threads; None for the backend's own, within what the process may use.
            batch_size: windows that run together.
            point: operating point of the model to answer at, by its name; None for the model's own thresholds. A call
                may choose otherwise.
            backend: what computes: "torch", "onnx" (ONNX Runtime, on a directory that ``blockskim export`` made), or
                "auto", which takes ONNX Runtime for such a directory unless there is a GPU or a number format is asked
                for that only PyTorch has. The model that comes with the library then runs in PyTorch if that is
                installed.
            **hub: for reading from the hub, as transformers has them: ``revision``, ``subfolder``, ``token``,
                ``cache_dir``, ``local_files_only`` and ``force_download``; of a directory ``subfolder`` alone counts.

        Raises:
            ModelError: the model can't be loaded, or the tokenizer is another model's.
            ConfigError: an argument is impossible, or the model has no such point.
        """
        self.batch_size = check_count("batch_size", batch_size)
        choice = ModelChoice(device=device, dtype=dtype, threads=threads, backend=backend)
        if is_module(model) or isinstance(model, Backend):
            self.loaded = take_backend(model, tokenizer, choice, hub)
        else:
            self.loaded = load_backend(replace(choice, name=model), hub)
        self.model: Backend = self.loaded.model
        self._tokenizer = self.loaded.tokenizer if tokenizer is None else tokenizer
        self._frozen = frozen(self._tokenizer)
        if tokenizer is not None:
            check_tokenizer(self.loaded, tokenizer)
        self.point = point
        # What reads millions of texts puts something else in its place.
        self.tell_unread: TellUnread = warn_of_unread
        # Refuses an unknown point now and not at the first question.
        self.reader.thresholds(AnswerOptions())

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase | FrozenTokenizer":
        """The tokenizer that was given or loaded; texts are read with a copy of it, made with the answerer."""
        return self._tokenizer

    def __call__(
        self,
        question: TextsGiven,
        context: TextsGiven,
        *,
        top_k: int = 1,
        doc_stride: int = 128,
        max_answer_len: int = 15,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        align_to_words: bool = True,
        batch_size: int | None = None,
        threshold: ThresholdsGiven = None,
        dense: bool = False,
        point: str | None = None,
        max_cost: float | None = None,
        return_trace: bool = False,
    ) -> Any:
        """Answer each question from its context.

        Lists of the same length pair up; one string beside a list goes with each of its items. At most one of
        ``threshold``, ``dense`` and ``point`` may be given; it holds in place of what the answerer was made with.

        Args:
            question: a question or several: a string, or a list, tuple, generator, NumPy array or pandas Series of
                strings.
            context: a text of any length, or several, in the same forms.
            top_k: how many answers to give.
            doc_stride: tokens by which the windows of a long context overlap (at most half of what fits in one).
            max_answer_len: most tokens in an answer.
            max_seq_len: tokens in a window, question included.
            max_question_len: tokens of a question that are read; a warning tells when a question is longer.
            handle_impossible_answer: whether "no answer", the empty string, may be among the answers. It comes first
                where its confidence is above the threshold, or its score above the best answer's if the model has no
                calibrated confidence.
            no_answer_threshold: another threshold than the one that was calibrated, from 0 to 1.
            align_to_words: whether answers are extended to whole words (see ``blockskim.answering.word_boundaries``).
            batch_size: windows that run together; the answers do not depend on it.
            threshold: keep probability under which a block is dropped, one for all layers or one per layer that has a
                predictor; a number, a sequence, or an array or tensor of them.
            dense: read everything, as a model without Block-Skim does.
            point: operating point of the model, by its name.
            max_cost: bound of the FLOPs for reading a context, as a share of the dense model's, above 0 and up to 1:
                what fits the question best is read first, as far as that goes. The question and at least one block are
                read, so a short text may cost more.
            return_trace: give each answer a ``trace`` of what was read of its context.

        Returns:
            For two strings an answer with ``score`` (its share of the probability of all spans), ``start``, ``end``
            and ``answer``, and ``confidence`` (the probability that it is right) if the model was calibrated for that;
            or with ``top_k`` above 1 a list of them, best first; for a list, a list with that for each pair. There are
            fewer than ``top_k`` answers only when what was read of the context to the end has no more: skimming leaves
            out the rest.

        Raises:
            ConfigError: an argument is impossible, two exclude each other, or the model can't do it.
            DataError: a question or context is empty or blank or holds no valid text.
            ModelError: the model computes no numbers, because its weights are damaged or too large for its number
                format.
        """
        check_flag("return_trace", return_trace)
        pairs = pair_up(question, context)
        options = AnswerOptions(
            top_k=top_k,
            doc_stride=doc_stride,
            max_answer_len=max_answer_len,
            max_seq_len=max_seq_len,
            max_question_len=max_question_len,
            handle_impossible_answer=handle_impossible_answer,
            no_answer_threshold=no_answer_threshold,
            align_to_words=align_to_words,
            batch_size=batch_size,
            threshold=threshold,
            dense=dense,
            point=point,
            max_cost=max_cost,
        )
        reading = self.start(pairs, options, return_trace)
        reading.read()
        results = reading.results()
        return results[0] if is_one_text(question) and is_one_text(context) else results

    def search(
        self,
        questions: TextsGiven,
        documents: DocumentsGiven,
        *,
        top_k: int = 1,
        doc_stride: int = 128,
        max_answer_len: int = 15,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        align_to_words: bool = True,
        batch_size: int | None = None,
        threshold: ThresholdsGiven = None,
        dense: bool = False,
        point: str | None = None,
        max_cost: float | None = None,
        progress: WindowCount | None = None,
    ) -> Any:
        """Find the best answers over several documents.

        They are ranked by confidence, the probability that an answer is right; where a model was not calibrated for
        that, by score. Scores are probabilities over all documents: each document has a share by how sure the model is
        that it holds an answer, so that the best answer of a text that has none does not come first. At most one of
        ``threshold``, ``dense`` and ``point`` may be given; it holds in place of what the answerer was made with.

        Args:
            questions: a question or several, in the forms that a call takes.
            documents: texts by name; or a list, tuple, generator, NumPy array or pandas Series of texts, which are then
                called "0", "1" and so on by their places; or tuples of a name and a text. A document with nothing but
                white space has no answer; a warning tells of it.
            top_k: how many answers to give, over all documents.
            doc_stride: tokens by which the windows of a long document overlap (at most half of what fits in one).
            max_answer_len: most tokens in an answer.
            max_seq_len: tokens in a window, question included.
            max_question_len: tokens of a question that are read; a warning tells when a question is longer.
            handle_impossible_answer: whether "no answer", the empty string without a document, may be among the
                answers. It comes first where its confidence is above the threshold.
            no_answer_threshold: another threshold for its confidence than the one that was calibrated, from 0 to 1.
            align_to_words: whether answers are extended to whole words (see ``blockskim.answering.word_boundaries``).
            batch_size: windows that run together; the answers do not depend on it.
            threshold: keep probability under which a block is dropped, one for all layers or one per layer that has a
                predictor; a number, a sequence, or an array or tensor of them.
            dense: read everything, as a model without Block-Skim does.
            point: operating point of the model, by its name.
            max_cost: bound of the FLOPs for reading a document, as a share of the dense model's, above 0 and up to 1:
                what fits the question best is read first, as far as that goes. The question and at least one block are
                read, so a short text may cost more.
            progress: called after each batch with how many windows are done, and of how many as far as is known: under
                ``max_cost`` more may follow.

        Returns:
            For one question a ``SearchResult``: its answers, each with its ``document``, and what was read; for a list
            of questions a list of them. There are no answers where no document holds any, but "no answer" if that is
            allowed.

        Raises:
            ConfigError: an argument is impossible, two exclude each other, the model can't do it, or a document is no
                text.
            DataError: a question is empty, a question or document holds no valid text, or there is no document.
            ModelError: the model computes no numbers, because its weights are damaged or too large for its number
                format.
        """
        options = AnswerOptions(
            top_k=top_k,
            doc_stride=doc_stride,
            max_answer_len=max_answer_len,
            max_seq_len=max_seq_len,
            max_question_len=max_question_len,
            handle_impossible_answer=handle_impossible_answer,
            no_answer_threshold=no_answer_threshold,
            align_to_words=align_to_words,
            batch_size=batch_size,
            threshold=threshold,
            dense=dense,
            point=point,
            max_cost=max_cost,
        )
        asked, texts = as_texts("question", questions), as_documents(documents)
        check_questions(asked)
        warn_of_blank(texts)
        readable = {name: text for name, text in texts.items() if text.strip()}
        answers, traces = self._read(pair_with_all(asked, readable), options, True, progress)
        results = []
        for number, question in enumerate(asked):
            part = slice(number * len(readable), (number + 1) * len(readable))
            found = answers_over_documents(answers[part], readable, options, self.model.confidence)
            every = with_blank_documents(question, texts, traces[part], self.model.num_layers)
            shown = (with_answers(trace, found, name) for trace, name in zip(every, texts, strict=True))
            results.append(SearchResult(question, found, tuple(shown)))
        return results[0] if is_one_text(questions) else results

    @property
    def reader(self) -> TextReader:
        """What texts are read with, as the answerer is set now."""
        return TextReader(
            self.model, self.loaded.name, self._frozen, self.batch_size, self.point, tell_unread=self.tell_unread
        )

    def start(
        self,
        pairs: Sequence[TextPair],
        options: AnswerOptions,
        trace: bool = False,
        progress: WindowCount | None = None,
    ) -> PairReading:
        """Tokenise and plan, and run nothing: for whoever runs windows by itself, such as a server.

        Args:
            pairs: questions with their texts; where there is none, options are refused all the same.
            options: how to answer.
            trace: whether to keep what was read of each window.
            progress: called after each batch, where all of it runs at once.

        Raises:
            ConfigError: an option does not fit the model.
            DataError: a question or context is empty or blank or holds no valid text.
        """
        return PairReading(self.model, self.reader.read(pairs, options, progress), pairs, options, trace)

    def _read(
        self, pairs: Sequence[TextPair], options: AnswerOptions, trace: bool, progress: WindowCount | None = None
    ) -> tuple[list[ExampleAnswers], list[AnswerTrace]]:
        """Answers of each pair, and their traces if asked for."""
        reading = self.start(pairs, options, trace, progress)
        reading.read()
        return reading.answers(), reading.traces()
