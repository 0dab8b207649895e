"""Forms of requests: however many faults a body has, few of them are kept, and the first is the one that is told."""

import pytest

pytest.importorskip("pydantic")

from pydantic import TypeAdapter, ValidationError

from blockskim.serving.http.evidence_schemas import HighlightRequest, PruneRequest, RerankRequest
from blockskim.serving.http.schemas import PIECE, AnswerRequest, SearchRequest

MANY = 10 * PIECE
PAIR = {"question": "a", "context": "b"}
NAMES = {f"name {number}": number for number in range(MANY)}


def faults(form, body):
    """Places and messages of what is wrong with a body."""
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(form).validate_python(body, from_attributes=True)
    return [(error["loc"], error["msg"]) for error in raised.value.errors()]


@pytest.mark.parametrize("item", [{}, 1, {"question": 1}])
def test_pairs_stop_at_the_first_fault(item):
    found = faults(AnswerRequest, {"inputs": [PAIR, *[item] * MANY]})
    assert len(found) <= 2
    assert found[0] == faults(AnswerRequest, {"inputs": [PAIR, item]})[0]


@pytest.mark.parametrize("form", [SearchRequest, HighlightRequest, PruneRequest])
@pytest.mark.parametrize(
    ("documents", "few"),
    [
        ([{}] * MANY, [{}]),
        (["a", *[1] * MANY], ["a", 1]),
        ({"a": "b", **NAMES}, {"a": "b", "name 0": 0}),
        (dict.fromkeys(NAMES, "b") | {"name 500": 1, "name 999": 1}, {"a": "b", "name 500": 1}),
    ],
)
def test_documents_stop_soon_after_the_first_fault(form, documents, few):
    found = faults(form, {"question": "a", "documents": documents})
    assert len(found) <= PIECE
    assert found[0] == faults(form, {"question": "a", "documents": few})[0]


@pytest.mark.parametrize("item", [{}, 1])
def test_texts_to_rank_stop_at_the_first_fault(item):
    found = faults(RerankRequest, {"query": "a", "documents": [item] * MANY})
    assert found == faults(RerankRequest, {"query": "a", "documents": [item]})


@pytest.mark.parametrize("form", [AnswerRequest, SearchRequest, HighlightRequest, PruneRequest, RerankRequest])
def test_of_unknown_parameters_the_first_is_told(form):
    fitting = {"inputs": PAIR, "question": "a", "query": "a", "documents": ["b"]}
    body = {name: value for name, value in fitting.items() if name in form.model_fields}
    unknown = ("parameters", "name 0"), "Extra inputs are not permitted"
    assert faults(form, {**body, "parameters": {"dense": True, **NAMES, "doc_stride": 3}}) == [unknown]
    wrong = faults(form, {**body, "parameters": {**NAMES, "dense": 3}})
    assert (wrong[0][0], wrong[1:]) == (("parameters", "dense"), [unknown])


@pytest.mark.parametrize("item", [{}, "a"])
def test_thresholds_stop_at_the_first_fault(item):
    found = faults(AnswerRequest, {"inputs": PAIR, "parameters": {"threshold": [item] * PIECE}})
    assert found == faults(AnswerRequest, {"inputs": PAIR, "parameters": {"threshold": [item]}})


def test_many_documents_by_name_stay_as_they_are():
    texts = {f"name {number}": f"text {number}" for number in range(3 * PIECE + 1)}
    asked = SearchRequest(question="a", documents=texts)
    assert asked.named() == list(texts.items())
    assert SearchRequest(question="a", documents={}).named() == []
