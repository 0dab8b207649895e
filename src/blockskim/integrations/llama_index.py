"""Node postprocessors for LlamaIndex: retrieved nodes cut to what matters, or annotated with it.

pip install 'blockskim[llama-index]'
"""

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ConfigDict

from blockskim.errors import ConfigError
from blockskim.evidence.prune import GAP
from blockskim.integrations.evidence_settings import EvidenceSettings, Gap


class BlockSkimNodePruner(EvidenceSettings, BaseNodePostprocessor):  # type: ignore[misc]
    """Cuts the text of nodes to the sentences that matter for the query; nodes without any are left out.

    Attributes:
        gap: what stands in place of what was cut out between two sentences.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    gap: Gap = GAP

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex serialises it."""
        return "BlockSkimNodePruner"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Copies of the nodes in their order, cut; all are read in one run, and their scores stay.

        Embeddings and places in a larger document go, as they were of other texts.
        """
        made = []
        for number, text in self._pruned(_query(query_bundle), _texts(nodes), self.gap).items():
            node = nodes[number].node.model_copy(deep=True)
            node.set_content(text)
            node.embedding = None
            if isinstance(node, TextNode):
                node.start_char_idx = node.end_char_idx = None
            made.append(NodeWithScore(node=node, score=nodes[number].score))
        return made


class BlockSkimNodeHighlighter(EvidenceSettings, BaseNodePostprocessor):  # type: ignore[misc]
    """Keeps nodes whole and tells in their metadata what in them matters; those without evidence come last.

    ``metadata["highlights"]`` is a list of sentences as ``QuestionAnswerer.highlight`` gives them, with ``start`` and
    ``end`` in the node's text. It is for programs, and kept from embeddings and prompts. The node's score is that of
    its best sentence, 0 where there is none.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex serialises it."""
        return "BlockSkimNodeHighlighter"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Copies of the nodes, best first; all are read in one run."""
        made = []
        for number, sentences, score in self._highlighted(_query(query_bundle), _texts(nodes)):
            node = nodes[number].node.model_copy(deep=True)
            node.metadata["highlights"] = sentences
            node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, "highlights"]
            node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, "highlights"]
            made.append(NodeWithScore(node=node, score=score))
        return made


def _query(bundle: QueryBundle | None) -> str:
    """The question.

    Raises:
        ConfigError: there is none.
    """
    if bundle is None:
        raise ConfigError("nodes are cut to what matters for a query; give query_str or query_bundle")
    return bundle.query_str


def _texts(nodes: list[NodeWithScore]) -> list[str]:
    return [each.node.get_content(MetadataMode.NONE) for each in nodes]
