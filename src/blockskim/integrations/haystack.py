"""Components for Haystack: a reader that finds answers in retrieved documents, and a pruner that cuts them.

pip install 'blockskim[haystack]'
"""

import logging
from collections.abc import Sequence
from inspect import signature
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import ExtractedAnswer

from blockskim.answering.backend_choice import check_backend
from blockskim.checks import check_count, check_flag, check_range
from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.prune import GAP, check_gap
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.inference.first_stage import check_max_cost
from blockskim.integrations.first_use import Loaded, loaded

logger = logging.getLogger(__name__)


@component
class BlockSkimReader:
    """Finds the best answers to a query in documents, and may say that none holds any.

    All documents of a call are read in one run. The model is loaded by ``warm_up``, or when it is first used.
    """

    def __init__(
        self,
        model: str | None = None,
        top_k: int = 5,
        score_threshold: float | None = None,
        no_answer: bool = True,
        point: str | None = None,
        backend: str = "auto",
        device: str = "auto",
        max_seq_len: int = 384,
        doc_stride: int = 128,
        max_answer_len: int = 30,
        max_cost: float | None = None,
        batch_size: int = 32,
    ) -> None:
        """Say how to read; the model is not loaded yet.

        Args:
            model: a directory or hub id; None for the model that comes with the library.
            top_k: answers to give at most, over all documents.
            score_threshold: answers with a lower score are left out; None leaves none out.
            no_answer: whether "no answer" is among the answers, with ``data=None``.
            point: operating point of the model, by its name.
            backend: "auto", "onnx" or "torch".
            device: "auto", "cpu" or "cuda".
            max_seq_len: tokens in a window, query included.
            doc_stride: tokens by which the windows of a long document overlap.
            max_answer_len: most tokens in an answer.
            max_cost: bound of the FLOPs for a document, as a share of the dense model's; one block is always read.
            batch_size: windows that run together.

        Raises:
            ConfigError: an argument is impossible.
        """
        self.model = model
        self.top_k = check_count("top_k", top_k)
        self.score_threshold = _share("score_threshold", score_threshold)
        self.no_answer = check_flag("no_answer", no_answer)
        self.point = point
        check_backend(backend)
        self.backend = backend
        self.device = device
        self.max_seq_len = check_count("max_seq_len", max_seq_len)
        self.doc_stride = check_count("doc_stride", doc_stride, least=0)
        self.max_answer_len = check_count("max_answer_len", max_answer_len)
        self.max_cost = None if max_cost is None else check_max_cost(max_cost)
        self.batch_size = check_count("batch_size", batch_size)
        self._loaded: Loaded | None = None

    def to_dict(self) -> dict[str, Any]:
        """What ``Pipeline.dump`` writes of it."""
        return default_to_dict(self, **_settings(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "BlockSkimReader":
        """The reader that ``to_dict`` told of."""
        made: BlockSkimReader = default_from_dict(cls, data)
        return made

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: it can't be loaded.
            ConfigError: it has no such operating point, or the backend does not fit it.
        """
        self._load()

    def _load(self) -> QuestionAnswerer:
        return loaded(
            self,
            self.model,
            device=self.device,
            batch_size=self.batch_size,
            point=self.point,
            backend=self.backend,
        )

    @component.output_types(answers=list[ExtractedAnswer])  # type: ignore[untyped-decorator]
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
        no_answer: bool | None = None,
    ) -> dict[str, list[ExtractedAnswer]]:
        """Answer a query.

        Args:
            query: the question.
            documents: to read; those without text are left out, with a warning.
            top_k: another number of answers than the reader's.
            score_threshold: likewise.
            no_answer: likewise.

        Returns:
            ``answers``, best first. Where there is nothing to read that is "no answer" alone, scored as any, or
            nothing if it is not wanted. The score is the calibrated confidence that an answer is right if the model has
            one, else its share of the probability of all spans. ``document_offset`` are characters of the content.

        Raises:
            ConfigError: an argument is impossible.
            DataError: the query is empty.
        """
        answerer = self._load()
        least = self.score_threshold if score_threshold is None else _share("score_threshold", score_threshold)
        with_none = self.no_answer if no_answer is None else check_flag("no_answer", no_answer)
        readable = _readable(documents)
        texts = {str(number): document.content or "" for number, document in enumerate(readable)}
        found = answerer.search(
            query,
            # A search over a blank text knows what to say where there is nothing to read.
            texts or {"": ""},
            top_k=self.top_k if top_k is None else top_k,
            handle_impossible_answer=with_none,
            max_seq_len=self.max_seq_len,
            doc_stride=self.doc_stride,
            max_answer_len=self.max_answer_len,
            max_cost=self.max_cost,
        )
        answers = [_as_answer(query, answer, readable) for answer in found.answers]
        return {"answers": [answer for answer in answers if least is None or answer.score >= least]}


@component
class BlockSkimPruner:
    """Cuts documents to the sentences that matter for a query; those without any are left out.

    All documents of a call are read in one run. The model is loaded by ``warm_up``, or when it is first used.
    """

    def __init__(
        self,
        model: str | None = None,
        threshold: float | str | None = None,
        top_k: int | None = None,
        budget: float | str | None = None,
        context: int = 0,
        gap: str = GAP,
        point: str | None = None,
        backend: str = "auto",
        device: str = "auto",
        max_cost: float | None = None,
    ) -> None:
        """Say how to prune; the model is not loaded yet.

        Args:
            model: a directory or hub id; None for the model that comes with the library.
            threshold: the least score of a sentence, or a point of the model by its name; None for the model's own, or
                none where there is a ``top_k`` or ``budget``.
            top_k: sentences at most, over all documents of a call.
            budget: how much is kept at most, as 0.3, "30%", "500 tokens" or "2000 characters".
            context: neighbouring sentences that are kept, too, to either side.
            gap: what stands in place of what was cut out between two sentences.
            point: operating point of the model, by its name.
            backend: "auto", "onnx" or "torch".
            device: "auto", "cpu" or "cuda".
            max_cost: share of the dense model's FLOPs that reading a document may cost at most.

        Raises:
            ConfigError: an argument is impossible.
        """
        EvidenceOptions(threshold=threshold, top_k=top_k, budget=budget, context=context)
        check_gap(gap)
        self.model = model
        self.threshold = threshold
        self.top_k = top_k
        self.budget = budget
        self.context = context
        self.gap = gap
        self.point = point
        check_backend(backend)
        self.backend = backend
        self.device = device
        self.max_cost = None if max_cost is None else check_max_cost(max_cost)
        self._loaded: Loaded | None = None

    def to_dict(self) -> dict[str, Any]:
        """What ``Pipeline.dump`` writes of it."""
        return default_to_dict(self, **_settings(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "BlockSkimPruner":
        """The pruner that ``to_dict`` told of."""
        made: BlockSkimPruner = default_from_dict(cls, data)
        return made

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: it can't be loaded.
            ConfigError: it has no such operating point, or the backend does not fit it.
        """
        self._load()

    def _load(self) -> QuestionAnswerer:
        return loaded(self, self.model, device=self.device, point=self.point, backend=self.backend)

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(
        self, query: str, documents: list[Document], budget: float | str | None = None
    ) -> dict[str, list[Document]]:
        """Prune documents for a query.

        Args:
            query: the question.
            documents: to cut; those without text are left out, with a warning.
            budget: another one than the pruner's.

        Returns:
            ``documents``, in their order, with new ids; ``meta["pruned_from"]`` is the id of the original. Scores and
            other metadata stay; embeddings, which were of other texts, go.

        Raises:
            ConfigError: an argument is impossible.
            DataError: the query is blank.
        """
        answerer = self._load()
        readable = _readable(documents)
        if not readable:
            return {"documents": []}
        pruned = answerer.prune(
            query,
            {number: document.content or "" for number, document in enumerate(readable)},
            threshold=self.threshold,
            top_k=self.top_k,
            budget=self.budget if budget is None else budget,
            context=self.context,
            gap=self.gap,
            max_cost=self.max_cost,
        )
        return {
            "documents": [
                Document(
                    content=text,
                    meta={**readable[number].meta, "pruned_from": readable[number].id},
                    score=readable[number].score,
                )
                for number, text in pruned.documents.items()
            ]
        }


def _settings(made: object) -> dict[str, Any]:
    """What a component was made with, by the names of its arguments."""
    names = [name for name in signature(type(made).__init__).parameters if name != "self"]
    return {name: getattr(made, name) for name in names}


def _share(name: str, value: float | None) -> float | None:
    return None if value is None else check_range(name, value, 0.0, 1.0)


def _readable(documents: Sequence[Document]) -> list[Document]:
    """Documents with text; a warning tells how many have none."""
    readable = [document for document in documents if document.content and document.content.strip()]
    blank = len(documents) - len(readable)
    if blank:
        logger.warning("%d of %d documents have no text and are not read", blank, len(documents))
    return readable


def _as_answer(query: str, answer: dict[str, Any], documents: Sequence[Document]) -> ExtractedAnswer:
    """An answer as Haystack has it; "no answer" has no data and belongs to no document."""
    score = answer.get("confidence", answer["score"])
    if not answer["answer"]:
        return ExtractedAnswer(query=query, score=score)
    document = documents[int(answer["document"])]
    place = ExtractedAnswer.Span(answer["start"], answer["end"])
    return ExtractedAnswer(
        query=query,
        score=score,
        data=answer["answer"],
        document=document,
        context=document.content,
        document_offset=place,
        context_offset=ExtractedAnswer.Span(answer["start"], answer["end"]),
    )
