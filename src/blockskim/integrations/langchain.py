"""Document compressors for LangChain: retrieved documents cut to what matters, or annotated with it.

pip install 'blockskim[langchain]'
"""

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict

from blockskim.evidence.prune import GAP
from blockskim.integrations.evidence_settings import EvidenceSettings, Gap


class BlockSkimPruner(EvidenceSettings, BaseDocumentCompressor):  # type: ignore[misc]
    """Cuts ``page_content`` to the sentences that matter for the query; documents without any are left out.

    Attributes:
        gap: what stands in place of what was cut out between two sentences.
    """

    model_config = ConfigDict(extra="forbid")

    gap: Gap = GAP

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents in their order, cut; all are read in one run.

        Metadata, ids and all else of a document stay as they are.

        Raises:
            ConfigError: a setting is impossible.
            DataError: the query is blank.
        """
        pruned = self._pruned(query, [document.page_content for document in documents], self.gap)
        return [documents[number].model_copy(update={"page_content": text}) for number, text in pruned.items()]


class BlockSkimHighlighter(EvidenceSettings, BaseDocumentCompressor):  # type: ignore[misc]
    """Keeps documents whole and tells in their metadata what in them matters; those without evidence come last."""

    model_config = ConfigDict(extra="forbid")

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
        made = []
        for number, sentences, score in self._highlighted(query, [document.page_content for document in documents]):
            added = {"highlights": sentences, "relevance_score": score}
            made.append(documents[number].model_copy(update={"metadata": {**documents[number].metadata, **added}}))
        return made
