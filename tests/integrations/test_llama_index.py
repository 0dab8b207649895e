"""``blockskim.integrations.llama_index`` with the real LlamaIndex and the model that comes with the library."""

import asyncio

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ValidationError

from blockskim.errors import ConfigError
from blockskim.integrations.llama_index import BlockSkimNodeHighlighter, BlockSkimNodePruner

RETURNS = "Returns are sent to the depot in Lille within thirty days. Keep the invoice for that."
PUMP = "The pump is a Kestrel 4. It was painted in May. Its warranty is three years from the date of purchase. It hums."
QUERY = "How long is the warranty of the pump?"


def nodes():
    made = [TextNode(text=text, id_=name, metadata={"n": name}) for name, text in (("a", RETURNS), ("b", PUMP))]
    return [NodeWithScore(node=node, score=0.5) for node in made]


def test_nodes_are_cut_to_what_matters_and_keep_the_rest():
    given = nodes()
    (pruned,) = BlockSkimNodePruner(top_k=1).postprocess_nodes(given, query_str=QUERY)
    assert pruned.node.get_content(MetadataMode.NONE) == "Its warranty is three years from the date of purchase."
    assert (pruned.node.node_id, pruned.node.metadata, pruned.score) == ("b", {"n": "b"}, 0.5)
    assert [node.node.get_content(MetadataMode.NONE) for node in given] == [RETURNS, PUMP]


def test_what_was_of_the_whole_text_goes():
    (given,) = nodes()[1:]
    given.node.embedding, given.node.start_char_idx, given.node.end_char_idx = [0.5, 0.5], 100, 100 + len(PUMP)
    (pruned,) = BlockSkimNodePruner(top_k=1).postprocess_nodes([given], query_str=QUERY)
    assert (pruned.node.embedding, pruned.node.start_char_idx, pruned.node.end_char_idx) == (None, None, None)
    assert given.node.embedding == [0.5, 0.5] and given.node.start_char_idx == 100
    (whole,) = BlockSkimNodeHighlighter(top_k=1).postprocess_nodes([given], query_str=QUERY)
    assert whole.node.embedding == [0.5, 0.5] and whole.node.start_char_idx == 100


@pytest.mark.parametrize("made", [BlockSkimNodePruner, BlockSkimNodeHighlighter])
def test_a_misspelt_setting_is_refused(made):
    with pytest.raises(ValueError, match="treshold"):
        made(treshold=0.9)


def test_highlights_stand_where_they_say_and_are_kept_from_prompts():
    found = BlockSkimNodeHighlighter(top_k=3).postprocess_nodes(nodes(), QueryBundle(QUERY))
    assert [node.node.node_id for node in found] == ["b", "a"]
    assert [node.score for node in found] == sorted((node.score for node in found), reverse=True)
    for node in found:
        text = node.node.get_content(MetadataMode.NONE)
        for sentence in node.node.metadata["highlights"]:
            assert text[sentence["start"] : sentence["end"]] == sentence["text"]
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "highlights" not in node.node.get_content(mode)
            assert f"n: {node.node.node_id}" in node.node.get_content(mode)


def test_it_runs_asynchronously():
    pruner = BlockSkimNodePruner(top_k=1)
    (found,) = asyncio.run(pruner.apostprocess_nodes(nodes(), query_str=QUERY))
    (expected,) = pruner.postprocess_nodes(nodes(), query_str=QUERY)
    assert found.node.get_content() == expected.node.get_content()


def test_settings_are_serialised_without_the_model():
    pruner = BlockSkimNodePruner(budget=0.5, gap=" … ")
    pruner.postprocess_nodes(nodes(), query_str=QUERY)
    values = pruner.to_dict()
    assert values["class_name"] == "BlockSkimNodePruner"
    assert (values["budget"], values["gap"]) == (0.5, " … ")
    read = BlockSkimNodePruner.from_dict(values)
    assert read.to_dict() == values


def test_nothing_of_nothing_and_no_query():
    assert BlockSkimNodePruner().postprocess_nodes([], query_str=QUERY) == []
    assert BlockSkimNodeHighlighter().postprocess_nodes([], query_str=QUERY) == []
    with pytest.raises(ConfigError, match="give query_str"):
        BlockSkimNodePruner().postprocess_nodes(nodes())


@pytest.mark.parametrize("made", [BlockSkimNodePruner, BlockSkimNodeHighlighter])
def test_impossible_settings_are_told_when_it_is_made(made):
    with pytest.raises(ValidationError, match="top_k is 0"):
        made(top_k=0)
    with pytest.raises(ValidationError, match="max_cost is 7"):
        made(max_cost=7)
