"""Evidence for several queries in one run: each gets what it gets alone, whoever runs the windows."""

import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.answering.request import AnswerOptions
from blockskim.errors import DataError
from blockskim.evidence.finding import Query, evidence_by_question, find_evidence, queries_over, start_evidence
from blockskim.evidence.highlight import highlight
from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.prune import prune
from blockskim.inference.runner import batches, run_windows
from light_answerers import light_answerer

QA = light_answerer()
TEXT = "The red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests. "
QUESTIONS = ["Where is the nest?", "Who counted them?", "What is red?"]
EVERYTHING = EvidenceOptions(threshold=0.0, order="text")
WAYS = [{}, {"dense": True}, {"max_cost": 0.4}, {"doc_stride": 3}]

texts = st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda one: TEXT[one[0] :] * one[1])
queries = st.lists(
    st.tuples(st.sampled_from(QUESTIONS), st.dictionaries(st.sampled_from("ab"), texts, min_size=1)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(autouse=True, scope="module")
def silent():
    logging.getLogger("blockskim").setLevel(logging.ERROR)
    yield
    logging.getLogger("blockskim").setLevel(logging.NOTSET)


@settings(max_examples=25)
@given(queries, st.sampled_from(WAYS), st.integers(1, 5))
def test_each_query_gets_what_it_gets_alone(asked, way, batch_size):
    several = [Query(question, documents) for question, documents in asked]
    reading = AnswerOptions(batch_size=batch_size, **way)
    found = highlight(QA.reader, several, EVERYTHING, reading)
    cut = prune(QA.reader, several, EvidenceOptions(budget=0.4), reading, gap="~")
    for (question, documents), own, pruned in zip(asked, found, cut, strict=True):
        assert own.sentences == QA.highlight(question, documents, threshold=0.0, order="text", **way)
        expected = QA.prune(question, documents, budget=0.4, gap="~", **way)
        assert (pruned.documents, pruned.pieces, pruned.kept) == (expected.documents, expected.pieces, expected.kept)
        assert [trace.document for trace in own.traces] == list(documents)


@settings(max_examples=25)
@given(queries, st.sampled_from(WAYS), st.integers(1, 9))
def test_whoever_runs_the_windows(asked, way, size):
    several = [Query(question, documents) for question, documents in asked]
    options = AnswerOptions(**way)
    reading = start_evidence(QA.reader, several, options)
    for phase in reading.phases():
        selected = batches(phase.windows, max(size, phase.least_batch), phase.among)
        running = run_windows(
            QA.model, phase.windows, thresholds=reading.thresholds, asking=reading.asking, selected=selected
        )
        reading.take(list(running), phase)
    found = evidence_by_question(QA.reader, several, reading, seconds=0.0)
    for own, expected in zip(found, find_evidence(QA.reader, several, options), strict=True):
        assert (own.question, own.names, own.answers) == (expected.question, expected.names, expected.answers)
        for left, right in zip(own.texts, expected.texts, strict=True):
            assert (left.text, left.spans, left.scores.tolist()) == (right.text, right.spans, right.scores.tolist())
        assert read_of(own) == read_of(expected)


def read_of(evidence):
    """What was read, but for time and FLOPs: smaller batches keep a block each of a document where nothing passes."""
    return [
        replace(trace, seconds=0.0, windows=tuple(replace(window, flops=0) for window in trace.windows))
        for trace in evidence.traces
    ]


def test_predictors_of_every_layer_are_asked():
    layers = light_answerer(thresholds=[0.0, 0.4])
    reading = start_evidence(layers.reader, queries_over(QUESTIONS, {"a": TEXT}), AnswerOptions())
    assert reading.asking.all_layers
    for document in layers.highlight(QUESTIONS[0], {"a": TEXT}, threshold=0.0):
        assert document["score"] > 0
    assert not layers.start([], AnswerOptions()).asking.all_layers


def test_what_was_read_is_kept_where_it_is_asked_for():
    asked = [Query("Who?", {"a": TEXT, "blank": " "}), Query("Where?", {"blank": "\n"})]
    with_traces = find_evidence(QA.reader, asked, AnswerOptions())
    assert [[trace.document for trace in each.traces] for each in with_traces] == [["a", "blank"], ["blank"]]
    without = find_evidence(QA.reader, asked, AnswerOptions(), trace=False)
    assert [each.traces for each in without] == [(), ()]
    assert [each.answers for each in without] == [each.answers for each in with_traces]
    assert highlight(QA.reader, asked, EVERYTHING, AnswerOptions(), trace=False)[0].traces == ()


def test_sentences_of_a_text_are_found_once():
    seen = []

    def splitter(text):
        seen.append(text)
        return [(0, len(text))]

    highlight(QA.reader, queries_over(QUESTIONS, {"a": TEXT, "b": TEXT}), EVERYTHING, AnswerOptions(), splitter)
    assert seen == [TEXT]


def test_nothing_and_what_is_wrong():
    assert find_evidence(QA.reader, [], AnswerOptions()) == []
    with pytest.raises(DataError, match="question 2 is empty"):
        find_evidence(QA.reader, [Query("Who?", {"a": TEXT}), Query(" ", {"b": TEXT})], AnswerOptions())
    with pytest.raises(DataError, match="the document 'b' holds half of a surrogate pair"):
        find_evidence(QA.reader, [Query("Who?", {"a": TEXT}), Query("Where?", {"b": "\ud800"})], AnswerOptions())
