"""Document compressors for LangChain: retrieved documents cut to what matters, or annotated with it.

pip install 'blockskim[langchain]'
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, PrivateAttr

from blockskim.evidence.prune import GAP
from blockskim.evidence.question_answerer import QuestionAnswerer


class _Compressor(BaseDocumentCompressor):  # type: ignore[misc]
    """What both compressors are told; the model is loaded when it is first used.

    Attributes:
        model: a directory or hub id; None for the model that comes with the library.
        backend: "auto", "onnx" or "torch".
        point: operating point of the model, by its name.
        threshold: the least score of a sentence; None for the model's, or none where there is a ``top_k`` or
            ``budget``.
        top_k: sentences at most, over all documents of a call.
        budget: how much is kept at most, as 0.3, "30%", "500 tokens" or "2000 characters".
        context: neighbouring sentences that are kept, too, to either side.
        max_cost: share of the dense model's FLOPs that reading a document may cost at most.
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    backend: str = "auto"
    point: str | None = None
    threshold: float | None = None
    top_k: int | None = None
    budget: float | str | None = None
    context: int = 0
    max_cost: float | None = None
    _answerer: QuestionAnswerer | None = PrivateAttr(default=None)

    @property
    def answerer(self) -> QuestionAnswerer:
        """What reads; loaded when it is first asked for.

        Raises:
            ModelError: the model can't be loaded.
            ConfigError: it has no such operating point, or the backend does not fit it.
        """
        if self._answerer is None:
            self._answerer = QuestionAnswerer(self.model, point=self.point, backend=self.backend)
        return self._answerer

    def _options(self) -> dict[str, Any]:
        names = ("threshold", "top_k", "budget", "context", "max_cost")
        return {name: getattr(self, name) for name in names}


class BlockSkimPruner(_Compressor):
    """Cuts ``page_content`` to the sentences that matter for the query; documents without any are left out.

    Attributes:
        gap: what stands in place of what was cut out between two sentences.
    """

    gap: str = GAP

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents in their order, cut; all are read in one run.

        Metadata, ids and all else of a document stay as they are.

        Raises:
            ConfigError: a setting is impossible.
            DataError: the query is blank.
        """
        if not documents:
            return []
        pruned = self.answerer.prune(query, _texts(documents), gap=self.gap, **self._options()).documents
        return [documents[number].model_copy(update={"page_content": text}) for number, text in pruned.items()]


class BlockSkimHighlighter(_Compressor):
    """Keeps documents whole and tells in their metadata what in them matters; those without evidence come last."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Copies of the documents, best first; all are read in one run.

        ``metadata["highlights"]`` is a list of sentences as ``QuestionAnswerer.highlight`` gives them, with ``start``
        and ``end`` in ``page_content``; ``metadata["relevance_score"]`` is the score of the best one, 0 where there is
        none.

        Raises:
            ConfigError: a setting is impossible.
            DataError: the query is blank.
        """
        if not documents:
            return []
        highlights: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(documents))}
        for sentence in self.answerer.highlight(query, _texts(documents), **self._options()):
            highlights[sentence.pop("document")].append(sentence)
        scores = {number: max((each["score"] for each in found), default=0.0) for number, found in highlights.items()}
        return [
            documents[number].model_copy(
                update={
                    "metadata": {
                        **documents[number].metadata,
                        "highlights": highlights[number],
                        "relevance_score": scores[number],
                    }
                }
            )
            for number in sorted(scores, key=lambda number: -scores[number])
        ]


def _texts(documents: Sequence[Document]) -> dict[int, str]:
    """Texts by their places."""
    return {number: document.page_content for number, document in enumerate(documents)}
