"""Evidence by the scheduler is the library's, to the letter, whoever else asks for what."""

from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ConfigError, DataError
from blockskim.inference.shipped import shipped_model
from blockskim.serving import evidence_tasks, tasks
from blockskim.serving.engine import Engine, ModelSettings, fitting_capacity, load_answerer
from blockskim.serving.scheduler import Capacity
from served import QUESTION, TEXT, plain_answerer

SECONDS = 60
WISHES = [
    {},
    {"top_k": 2},
    {"budget": 0.4},
    {"budget": "30 tokens", "context": 1},
    {"threshold": 0.0, "keep": "titles"},
]
WAYS = [{}, {"dense": True}, {"max_cost": 0.3}, {"doc_stride": 3}]


def expected(qa, kind, documents, options):
    """What the library gives."""
    if kind == "search":
        return qa.search(QUESTION, documents, **options).answers
    if kind == "rerank":
        ranked = qa.rank(QUESTION, list(documents.values()), **options)
        return [{"index": int(each["document"]), "relevance_score": each["score"]} for each in ranked]
    if kind == "highlight":
        return qa.highlight(QUESTION, documents, **options)
    result = qa.prune(QUESTION, documents, **options)
    pieces = {name: [list(asdict(piece).values()) for piece in own] for name, own in result.pieces.items()}
    return result.documents, result.kept, pieces


def task(kind, documents, options):
    """The same, as a request has it."""
    if kind == "rerank":
        return {
            "kind": kind,
            "query": QUESTION,
            "documents": list(documents.values()),
            "top_n": None,
            "options": options,
        }
    more = {"explain": False} if kind == "search" else {}
    return {"kind": kind, "question": QUESTION, "documents": list(documents.items()), "options": options, **more}


def told(kind, result):
    """The part of an answer that the library gives, too."""
    if kind == "prune":
        return result["documents"], result["kept"], result["pieces"]
    return result[{"search": "answers", "rerank": "results", "highlight": "sentences"}[kind]]


@st.composite
def requests(draw):
    """Kind, documents and options of a request."""
    kind = draw(st.sampled_from(["highlight", "prune", "rerank", "search"]))
    texts = [TEXT[draw(st.integers(0, 60)) :] * draw(st.integers(0, 9)) for _ in range(draw(st.integers(1, 3)))]
    options = dict(draw(st.sampled_from(WAYS)))
    if kind in ("highlight", "prune"):
        options |= draw(st.sampled_from(WISHES))
    if kind == "prune":
        options |= draw(st.sampled_from([{}, {"gap": "~"}]))
    if kind == "highlight":
        options |= draw(st.sampled_from([{}, {"order": "text"}, {"max_answer_len": 2}]))
    return kind, {f"text {number}": text for number, text in enumerate(texts)}, options


@settings(max_examples=20)
@given(st.lists(requests(), min_size=1, max_size=8), st.integers(60, 500), st.integers(60, 500), st.integers(1, 3))
def test_every_answer_is_that_of_the_library(made, batch, turn, runners):
    answerer = plain_answerer()
    engine = Engine(answerer, Capacity(batch, turn, runners=runners, long_text=1_000))
    try:
        answerer.model.gate.clear()
        futures = [engine.ask(task(*one), SECONDS) for one in made]
        answerer.model.gate.set()
        for (kind, documents, options), future in zip(made, futures, strict=True):
            assert told(kind, future.result(SECONDS)) == expected(answerer, kind, documents, options)
    finally:
        answerer.model.gate.set()
        engine.close(5.0)


def test_what_asking_for_evidence_costs_is_nobody_elses():
    """Predictors that evidence asks beside those that skim run in no batch of a search."""
    answerer = plain_answerer(thresholds=[0.0, 0.4])
    engine = Engine(answerer)
    documents = {"a": TEXT}
    try:
        answerer.model.gate.clear()
        futures = [
            engine.ask(task(kind, documents, {}), SECONDS) for kind in ("search", "highlight", "search", "prune")
        ]
        answerer.model.gate.set()
        first, found, second, cut = (future.result(SECONDS)["skim"]["flops"] for future in futures)
    finally:
        engine.close(5.0)
    assert first == second == sum(trace.flops for trace in answerer.search(QUESTION, documents).traces) < found == cut


def test_of_the_model_that_ships():
    qa = load_answerer(ModelSettings(ModelChoice(name=shipped_model(), threads=1)))
    engine = Engine(qa, fitting_capacity(qa, Capacity(), 1))
    documents = {"a": TEXT * 6, "b": TEXT[20:], "blank": ""}
    try:
        made = [(kind, documents, {"point": "exact"}) for kind in ("highlight", "prune", "rerank", "search")]
        futures = [engine.ask(task(*one), SECONDS) for one in made]
        for (kind, texts, options), future in zip(made, futures, strict=True):
            assert told(kind, future.result(SECONDS)) == expected(qa, kind, texts, options)
    finally:
        engine.close(5.0)


def test_answers_of_any_size_are_refused(monkeypatch):
    monkeypatch.setattr(evidence_tasks, "MOST_SENTENCES", 2)
    engine = Engine(plain_answerer())
    try:
        assert len(engine.ask(task("highlight", {"a": TEXT}, {"top_k": 2})).result(SECONDS)["sentences"]) == 2
        with pytest.raises(ConfigError, match="3 sentences are more than the 2 that an answer may have; ask for fewer"):
            engine.ask(task("highlight", {"a": TEXT}, {"threshold": 0.0})).result(SECONDS)
    finally:
        engine.close(5.0)


@pytest.mark.parametrize(
    ("kind", "name", "options", "least"),
    [
        ("highlight", "a" * 10, {"threshold": 0.0}, len(TEXT)),
        ("highlight", "a" * 100, {"top_k": 2}, 200),
        ("search", "a" * 100, {"top_k": 5}, 500),
        ("search", "a", {"top_k": 50, "max_answer_len": 20}, len(TEXT)),
        ("prune", "a", {"top_k": 2, "gap": "~" * 100}, 100),
    ],
)
def test_texts_and_names_of_answers_have_a_bound(monkeypatch, kind, name, options, least):
    monkeypatch.setattr(tasks, "MOST_CHARACTERS", 50)
    engine, asking = Engine(plain_answerer()), task(kind, {name: TEXT}, options)
    try:
        with pytest.raises(ConfigError, match=r"characters of texts and names are more than the .* ask for less with"):
            engine.ask(asking).result(SECONDS)
        monkeypatch.setattr(tasks, "MOST_CHARACTERS", 100_000)
        assert len(str(told(kind, engine.ask(asking).result(SECONDS)))) > least
    finally:
        engine.close(5.0)


def test_as_much_as_was_sent_is_never_too_much(monkeypatch):
    monkeypatch.setattr(tasks, "MOST_CHARACTERS", 1)
    engine = Engine(plain_answerer())
    try:
        found = engine.ask(task("prune", {"a": TEXT}, {"threshold": 0.0})).result(SECONDS)
        assert found["documents"] == {"a": TEXT}
    finally:
        engine.close(5.0)


@pytest.mark.parametrize("kind", ["highlight", "prune", "rerank"])
def test_what_is_wrong_is_said_at_once(kind):
    engine = Engine(plain_answerer())
    try:
        with pytest.raises(DataError, match="there is no document"):
            engine.ask(task(kind, {}, {}))
        with pytest.raises(ConfigError, match="max_cost is 0"):
            engine.ask(task(kind, {"a": TEXT}, {"max_cost": 0}))
    finally:
        engine.close(1.0)
