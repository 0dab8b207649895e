"""``blockskim.integrations.langchain`` with the real LangChain and the model that comes with the library."""

import asyncio

import pytest

pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.integrations.langchain import BlockSkimHighlighter, BlockSkimPruner

RETURNS = "Returns are sent to the depot in Lille within thirty days. Keep the invoice for that."
PUMP = "The pump is a Kestrel 4. It was painted in May. Its warranty is three years from the date of purchase. It hums."
QUERY = "How long is the warranty of the pump?"


def documents():
    return [Document(page_content=RETURNS, id="a"), Document(page_content=PUMP, id="b", metadata={"page": 4})]


def test_documents_are_cut_to_what_matters_and_keep_the_rest():
    given = documents()
    (pruned,) = BlockSkimPruner(top_k=1).compress_documents(given, QUERY)
    assert pruned.page_content == "Its warranty is three years from the date of purchase."
    assert (pruned.id, pruned.metadata) == ("b", {"page": 4})
    assert given == documents()


def test_a_budget_and_a_gap_hold_over_all_documents():
    pruned = BlockSkimPruner(budget="120 characters", gap=" … ").compress_documents(documents(), QUERY)
    assert 0 < sum(len(document.page_content) for document in pruned) <= 120
    assert [document.id for document in pruned] == sorted(document.id for document in pruned)


def test_highlights_stand_where_they_say_best_document_first():
    found = BlockSkimHighlighter(top_k=3).compress_documents(documents(), QUERY)
    assert [document.id for document in found] == ["b", "a"]
    assert found[0].page_content == PUMP
    assert found[0].metadata["page"] == 4
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    for document in found:
        for sentence in document.metadata["highlights"]:
            assert document.page_content[sentence["start"] : sentence["end"]] == sentence["text"]
            assert "document" not in sentence
    assert found[0].metadata["highlights"][0]["answer"]["text"] == "three years"


def test_it_goes_into_a_chain_and_runs_asynchronously():
    pruner = BlockSkimPruner(top_k=1)
    chain = RunnableLambda(lambda query: pruner.compress_documents(documents(), query))
    assert chain.invoke(QUERY) == asyncio.run(pruner.acompress_documents(documents(), QUERY))


def test_nothing_of_nothing():
    assert BlockSkimPruner().compress_documents([], QUERY) == []
    assert BlockSkimHighlighter().compress_documents([], QUERY) == []
    assert BlockSkimPruner(top_k=1).compress_documents([Document(page_content=" ")], QUERY) == []
    (blank,) = BlockSkimHighlighter(top_k=1).compress_documents([Document(page_content=" ")], QUERY)
    assert (blank.metadata["highlights"], blank.metadata["relevance_score"]) == ([], 0.0)


def test_settings_that_are_changed_take_effect():
    pruner = BlockSkimPruner(top_k=1)
    pruner.compress_documents(documents(), QUERY)
    copied = pruner.model_copy(update={"model": "nowhere"})
    with pytest.raises(BlockSkimError, match="nowhere"):
        copied.compress_documents(documents(), QUERY)
    pruner.point = "quickest"
    with pytest.raises(ConfigError, match="quickest"):
        pruner.compress_documents(documents(), QUERY)
    pruner.point, pruner.top_k = None, 0
    with pytest.raises(ConfigError, match="top_k is 0"):
        pruner.compress_documents(documents(), QUERY)


def test_what_is_wrong_is_told():
    with pytest.raises(ValidationError, match="topk"):
        BlockSkimPruner(topk=1)
    for wrong, complaint in (
        ({"budget": 0}, "budget is 0"),
        ({"budget": "30 bananas"}, "budget is '30 bananas'"),
        ({"top_k": 0}, "top_k is 0"),
        ({"context": -1}, "context is -1"),
        ({"threshold": 2}, "threshold is 2"),
        ({"max_cost": 7}, "max_cost is 7"),
        ({"backend": "tensorflow"}, "backend is 'tensorflow'"),
        ({"gap": "\ud800"}, "half of a surrogate pair"),
    ):
        with pytest.raises(ValidationError, match=complaint):
            BlockSkimPruner(**wrong)
    with pytest.raises(ValidationError, match="top_k is 0"):
        BlockSkimHighlighter(top_k=0)
    with pytest.raises(BlockSkimError, match="question"):
        BlockSkimPruner().compress_documents(documents(), " ")
