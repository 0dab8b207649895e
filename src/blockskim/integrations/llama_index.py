"""Node postprocessors for LlamaIndex: retrieved nodes cut to what matters, or annotated with it.

pip install 'blockskim[llama-index]'
"""

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from blockskim.errors import ConfigError
from blockskim.evidence.prune import GAP
from blockskim.evidence.question_answerer import QuestionAnswerer


class _Postprocessor(BaseNodePostprocessor):  # type: ignore[misc]
    """What both postprocessors are told; the model is loaded when it is first used.

    Attributes:
        model: a directory or hub id; None for the model that comes with the library.
        backend: "auto", "onnx" or "torch".
        point: operating point of the model, by its name.
        threshold: the least score of a sentence; None for the model's, or none where there is a ``top_k`` or
            ``budget``.
        top_k: sentences at most, over all nodes of a call.
        budget: how much is kept at most, as 0.3, "30%", "500 tokens" or "2000 characters".
        context: neighbouring sentences that are kept, too, to either side.
        max_cost: share of the dense model's FLOPs that reading a node may cost at most.
    """

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


class BlockSkimNodePruner(_Postprocessor):
    """Cuts the text of nodes to the sentences that matter for the query; nodes without any are left out.

    Attributes:
        gap: what stands in place of what was cut out between two sentences.
    """

    gap: str = GAP

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex serialises it."""
        return "BlockSkimNodePruner"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Copies of the nodes in their order, cut; all are read in one run, and their scores stay."""
        query = _query(query_bundle)
        if not nodes:
            return []
        pruned = self.answerer.prune(query, _texts(nodes), gap=self.gap, **self._options()).documents
        made = []
        for number, text in pruned.items():
            node = nodes[number].node.model_copy(deep=True)
            node.set_content(text)
            made.append(NodeWithScore(node=node, score=nodes[number].score))
        return made


class BlockSkimNodeHighlighter(_Postprocessor):
    """Keeps nodes whole and tells in their metadata what in them matters; those without evidence come last.

    ``metadata["highlights"]`` is a list of sentences as ``QuestionAnswerer.highlight`` gives them, with ``start`` and
    ``end`` in the node's text. It is for programs, and kept from embeddings and prompts. The node's score is that of
    its best sentence, 0 where there is none.
    """

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex serialises it."""
        return "BlockSkimNodeHighlighter"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Copies of the nodes, best first; all are read in one run."""
        query = _query(query_bundle)
        if not nodes:
            return []
        highlights: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(nodes))}
        for sentence in self.answerer.highlight(query, _texts(nodes), **self._options()):
            highlights[sentence.pop("document")].append(sentence)
        made = []
        for number, found in highlights.items():
            node = nodes[number].node.model_copy(deep=True)
            node.metadata["highlights"] = found
            node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, "highlights"]
            node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, "highlights"]
            made.append(NodeWithScore(node=node, score=max((each["score"] for each in found), default=0.0)))
        return sorted(made, key=lambda each: -(each.score or 0.0))


def _query(bundle: QueryBundle | None) -> str:
    """The question.

    Raises:
        ConfigError: there is none.
    """
    if bundle is None:
        raise ConfigError("nodes are cut to what matters for a query; give query_str or query_bundle")
    return bundle.query_str


def _texts(nodes: Sequence[NodeWithScore]) -> dict[int, str]:
    """Texts by their places."""
    return {number: each.node.get_content(MetadataMode.NONE) for number, each in enumerate(nodes)}
