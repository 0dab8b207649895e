"""``blockskim.integrations.haystack`` in pipelines of the real Haystack, with the model that comes with the library."""

from inspect import signature

import pytest

haystack = pytest.importorskip("haystack")

from blockskim.errors import BlockSkimError, ConfigError  # noqa: E402
from blockskim.integrations.haystack import BlockSkimPruner, BlockSkimReader  # noqa: E402

Document, Pipeline = haystack.Document, haystack.Pipeline

PUMP = "The pump in the cellar is a Kestrel 4. Its warranty is three years from the date of purchase."
RETURNS = "Returns are sent to the depot in Lille within thirty days, with the invoice in the parcel."
QUERY = "How long is the warranty of the pump?"


@pytest.fixture(scope="module")
def reader():
    made = BlockSkimReader(top_k=3)
    made.warm_up()
    return made


def documents():
    return [Document(content=RETURNS), Document(content=PUMP, meta={"page": 4})]


def test_answers_stand_where_they_say_and_name_their_document(reader):
    found = reader.run(QUERY, documents())["answers"]
    assert found[0].data == "three years"
    assert found[0].document.meta == {"page": 4}
    assert len(found) == 3
    scores = [answer.score for answer in found]
    assert scores == sorted(scores, reverse=True)
    for answer in found:
        if answer.data is None:
            assert answer.document is None
            continue
        assert answer.query == QUERY
        place = answer.document_offset
        assert answer.document.content[place.start : place.end] == answer.data
        assert answer.context == answer.document.content
        assert answer.context_offset == place


def test_a_call_may_ask_otherwise_than_the_reader(reader):
    assert len(reader.run(QUERY, documents(), top_k=1)["answers"]) == 1
    assert reader.run(QUERY, documents(), score_threshold=1.0)["answers"] == []
    with_none = reader.run("What is the capital of France?", documents(), top_k=100, no_answer=True)["answers"]
    without = reader.run("What is the capital of France?", documents(), top_k=100, no_answer=False)["answers"]
    assert [answer.data for answer in with_none].count(None) == 1
    assert None not in [answer.data for answer in without]


def test_documents_without_text_are_left_out_with_a_warning(reader, caplog):
    found = reader.run(QUERY, [Document(content=None), Document(content="  "), *documents()])["answers"]
    assert found[0].data == "three years"
    assert "2 of 4 documents have no text" in caplog.text
    (unread,) = reader.run(QUERY, [Document(content="\u200e\x02")])["answers"]
    for nothing in ([], [Document(content="")]):
        (none,) = reader.run(QUERY, nothing)["answers"]
        assert (none.data, none.document, none.score, none.query) == (None, None, unread.score, QUERY)
        assert reader.run(QUERY, nothing, no_answer=False)["answers"] == []
        with pytest.raises(BlockSkimError, match="question"):
            reader.run(" ", nothing)
        with pytest.raises(ConfigError, match="top_k is 0"):
            reader.run(QUERY, nothing, top_k=0)


def read_back(text):
    """A pipeline from YAML. Haystack 3 wants to be told whom it may trust; Haystack 2 doesn't know the argument."""
    trusted = {"allowed_modules": ["blockskim.integrations.haystack"]}
    return Pipeline.loads(text, **(trusted if "allowed_modules" in signature(Pipeline.loads).parameters else {}))


def test_a_pipeline_with_it_is_written_as_yaml_and_read_back():
    made = Pipeline()
    made.add_component("reader", BlockSkimReader(top_k=2, point="fast", no_answer=False, max_seq_len=256))
    text = made.dumps()
    read = read_back(text)
    assert read.get_component("reader").to_dict() == made.get_component("reader").to_dict()
    found = read.run({"reader": {"query": QUERY, "documents": documents()}})["reader"]["answers"]
    assert found[0].data == "three years"
    assert len(found) == 2


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"no_answer": "yes"}, "no_answer is 'yes'"),
        ({"max_cost": 0}, "max_cost is 0"),
        ({"backend": "tensorflow"}, "backend is 'tensorflow'"),
        ({"batch_size": -1}, "batch_size is -1"),
    ],
)
def test_impossible_arguments_are_told_when_it_is_made(given, complaint):
    with pytest.raises(ConfigError, match=complaint):
        BlockSkimReader(**given)


def test_settings_that_are_changed_take_effect():
    made = BlockSkimReader(top_k=1)
    made.warm_up()
    made.point = "quickest"
    with pytest.raises(ConfigError, match="quickest"):
        made.run(QUERY, documents())


def test_what_is_wrong_in_a_call_is_one_clear_error(reader):
    with pytest.raises(BlockSkimError, match="question"):
        reader.run(" ", documents())
    with pytest.raises(ConfigError, match="score_threshold is 2"):
        reader.run(QUERY, documents(), score_threshold=2)
    with pytest.raises(ConfigError, match="quickest"):
        BlockSkimReader(point="quickest").warm_up()


def test_the_pruner_cuts_documents_and_tells_where_they_are_from():
    pump = Document(content=PUMP, meta={"page": 4}, score=0.7)
    found = BlockSkimPruner(top_k=1).run(QUERY, [Document(content=RETURNS), pump])["documents"]
    assert [document.content for document in found] == ["Its warranty is three years from the date of purchase."]
    assert found[0].meta == {"page": 4, "pruned_from": pump.id}
    assert (found[0].score, found[0].embedding) == (0.7, None)
    assert found[0].id != pump.id


def test_a_budget_of_a_call_holds_over_all_documents():
    found = BlockSkimPruner(budget=0.9).run(QUERY, documents(), budget="60 characters")["documents"]
    assert 0 < sum(len(document.content) for document in found) <= 60
    assert BlockSkimPruner().run(QUERY, [])["documents"] == []


def test_a_pruner_that_leaves_nothing_leaves_no_answer():
    made = Pipeline()
    made.add_component("pruner", BlockSkimPruner())
    made.add_component("reader", BlockSkimReader())
    made.connect("pruner.documents", "reader.documents")
    query = "Who wrote the opera?"
    found = made.run({"pruner": {"query": query, "documents": documents()}, "reader": {"query": query}})
    assert [answer.data for answer in found["reader"]["answers"]] == [None]


def test_reader_and_pruner_go_together_in_a_pipeline_that_is_written_and_read_back():
    made = Pipeline()
    made.add_component("pruner", BlockSkimPruner(budget="50%", context=1))
    made.add_component("reader", BlockSkimReader(top_k=1, no_answer=False))
    made.connect("pruner.documents", "reader.documents")
    read = read_back(made.dumps())
    assert read.get_component("pruner").to_dict() == made.get_component("pruner").to_dict()
    found = read.run({"pruner": {"query": QUERY, "documents": documents()}, "reader": {"query": QUERY}})
    assert found["reader"]["answers"][0].data == "three years"
    for wrong, complaint in (
        ({"budget": "much"}, "budget"),
        ({"max_cost": 5}, "max_cost is 5"),
        ({"backend": "tensorflow"}, "backend is 'tensorflow'"),
        ({"gap": 3}, "gap is 3"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            BlockSkimPruner(**wrong)
