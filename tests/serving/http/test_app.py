"""The routes: what they answer, and what they refuse, with which status and sentence."""

import json

import pytest

from blockskim import __version__
from served import QUESTION, TEXT

ONE = {"inputs": {"question": QUESTION, "context": TEXT}}


def test_one_question_has_one_answer(site):
    response = site.post("/", ONE)
    assert response.status_code == 200
    assert response.json() == site.answerer(QUESTION, TEXT)
    assert response.headers["content-type"] == "application/json"


def test_several_answers_and_several_questions(site):
    parameters = {"top_k": 2, "handle_impossible_answer": True, "dense": True}
    assert site.post("/", ONE | {"parameters": parameters}).json() == site.answerer(QUESTION, TEXT, **parameters)
    inputs = [ONE["inputs"], {"question": "What is red?", "context": TEXT[9:]}]
    expected = site.answerer([QUESTION, "What is red?"], [TEXT, TEXT[9:]])
    assert site.post("/", {"inputs": inputs}).json() == expected
    assert site.post("/", {"inputs": inputs[:1]}).json() == expected[:1]
    assert site.post("/", {"inputs": []}).json() == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"doc_stride": 3},
        {"max_answer_len": 1},
        {"max_seq_len": 40},
        {"max_question_len": 2},
        {"align_to_words": False},
        {"threshold": 0.9},
        {"threshold": [0.0, 0.9]},
        {"max_cost": 0.5},
        {"handle_impossible_answer": True, "no_answer_threshold": 0.0},
    ],
)
def test_every_parameter_reaches_the_answer(site, parameters):
    text = TEXT * 4
    expected = site.answerer(QUESTION, text, top_k=3, **parameters)
    found = site.post(
        "/", {"inputs": {"question": QUESTION, "context": text}, "parameters": {"top_k": 3, **parameters}}
    ).json()
    assert found == expected


def test_an_operating_point_per_request(make_site):
    from blockskim.serving.engine import Engine
    from served import plain_answerer

    site = make_site(engine=Engine(plain_answerer(points={"exact": 0.0, "fast": 0.9})))
    assert site("GET", "/info").json()["points"] == ["exact", "fast"]
    for point in ("exact", "fast"):
        asked = {"question": QUESTION, "documents": [TEXT], "parameters": {"point": point}}
        found = site.post("/search", asked).json()
        expected = site.answerer.search(QUESTION, [TEXT], point=point)
        assert found["answers"] == expected.answers
        assert found["skim"]["flops"] == expected.traces[0].flops
    refused = site.post("/", ONE | {"parameters": {"point": "none"}})
    assert refused.status_code == 422
    assert "no operating point 'none'" in refused.json()["error"]


def test_the_model_by_its_name(make_site):
    site = make_site(served_name="a/model")
    assert site.post("/models/a/model", ONE).json() == site.answerer(QUESTION, TEXT)
    missing = site.post("/models/other", ONE)
    assert missing.status_code == 404
    assert missing.json()["error"] == "there is no such model here; this service has a/model"


@pytest.mark.parametrize(
    "documents",
    [
        {"a": TEXT, "b": TEXT[9:], "blank": " "},
        [TEXT, TEXT[9:], ""],
        [{"name": "a", "text": TEXT}, {"name": "b", "text": TEXT[5:]}],
    ],
)
def test_search_is_that_of_the_library(site, documents):
    asked = {"question": QUESTION, "documents": documents, "parameters": {"top_k": 5}, "explain": True}
    found = site.post("/search", asked).json()
    given = [(item["name"], item["text"]) if isinstance(item, dict) else item for item in documents]
    given = documents if isinstance(documents, dict) else given
    expected = site.answerer.search(QUESTION, given, top_k=5)
    assert found["answers"] == expected.answers
    assert found["question"] == QUESTION
    assert [document["name"] for document in found["documents"]] == [trace.document for trace in expected.traces]
    assert found["skim"]["flops"] == sum(trace.flops for trace in expected.traces)


def test_what_was_read_is_told_in_runs(site):
    text = TEXT * 5
    asked = {"question": QUESTION, "documents": [text], "explain": True}
    (document,) = site.post("/search", asked).json()["documents"]
    ends = 0
    for start, end, layer in document["runs"]:
        assert ends <= start < end <= len(text)
        assert layer is None or 0 <= layer <= document["layers"]
        ends = end
    assert {layer for *_, layer in document["runs"]} > {None}


def test_nothing_to_read_has_no_answer(site):
    found = site.post("/search", {"question": QUESTION, "documents": [" ", ""], "explain": True}).json()
    assert found["answers"] == []
    assert [document["runs"] for document in found["documents"]] == [[], []]


def test_reranking(site):
    documents = [TEXT, " ", TEXT[20:], "The kite."]
    found = site.post("/v1/rerank", {"query": QUESTION, "documents": documents, "model": "any"}).json()
    assert found["model"] == "default"
    assert sorted(result["index"] for result in found["results"]) == [0, 1, 2, 3]
    scores = [result["relevance_score"] for result in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert found["results"][-1] == {"index": 1, "relevance_score": 0.0}
    best = site.post(
        "/v1/rerank",
        {"query": QUESTION, "documents": [{"text": text} for text in documents], "top_n": 1, "return_documents": True},
    ).json()["results"]
    assert best == [found["results"][0] | {"document": {"text": documents[found["results"][0]["index"]]}}]


def test_the_relevance_of_a_document_does_not_depend_on_the_others(site):
    documents = [TEXT, TEXT[20:], "The kite."]
    together = site.post("/v1/rerank", {"query": QUESTION, "documents": documents}).json()["results"]
    for result in together:
        alone = site.post("/v1/rerank", {"query": QUESTION, "documents": [documents[result["index"]]]}).json()
        assert alone["results"][0]["relevance_score"] == result["relevance_score"]


def test_status_and_info(site):
    assert site("GET", "/health").json() == {"status": "ok"}
    assert site("GET", "/ready").json() == {"status": "ready"}
    info = site("GET", "/info").json()
    assert (info["model"], info["version"], info["layers"]) == ("default", __version__, 3)
    assert info["limits"] == {"bytes": 2_000_000, "pairs": 32, "seconds": 30.0}


def test_the_page_loads_nothing_from_elsewhere(site):
    page = site("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    for word in ("http:", "https:", "src=", "href=", "url(", "@import"):
        assert word not in page.text


@pytest.mark.parametrize("route", ["/", "/search", "/v1/rerank"])
def test_the_examples_of_the_schema_are_answered(site, route):
    schema = site("GET", "/openapi.json").json()
    examples = schema["paths"][route]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        response = site.post(route, example["value"])
        assert response.status_code == 200, response.text


def test_the_schema_names_every_route_and_its_problems(site):
    paths = site("GET", "/openapi.json").json()["paths"]
    assert set(paths) == {
        "/",
        "/models/{name}",
        "/search",
        "/v1/rerank",
        "/health",
        "/ready",
        "/info",
        "/metrics",
    }
    for route in ("/", "/search", "/v1/rerank"):
        assert {"401", "413", "422", "429", "503", "504"} < set(paths[route]["post"]["responses"])


WRONG = [
    (ONE | {"parameters": {"top_k": 0}}, "parameters.top_k must be greater than or equal to 1"),
    (ONE | {"parameters": {"top_k": "2"}}, "parameters.top_k must be a valid integer"),
    (ONE | {"parameters": {"top_k": True}}, "parameters.top_k must be a valid integer"),
    (ONE | {"parameters": {"topk": 2}}, "parameters.topk is unknown"),
    (ONE | {"parameters": {"threshold": [0.5]}}, "thresholds"),
    (ONE | {"parameters": {"threshold": 1.5}}, "parameters.threshold must be less than or equal to 1"),
    (ONE | {"parameters": {"threshold": 0.5, "dense": True}}, "dense reads everything"),
    (ONE | {"parameters": {"no_answer_threshold": 0.5}}, "no_answer_threshold is for handle_impossible_answer"),
    (ONE | {"parameters": {"max_seq_len": 100}}, "the model reads at most 60"),
    (ONE | {"parameters": []}, "parameters must be an object"),
    ({"inputs": {"question": "", "context": TEXT}}, "the question is empty"),
    ({"inputs": {"question": QUESTION, "context": " "}}, "the context is empty"),
    ({"inputs": [ONE["inputs"], {"question": QUESTION, "context": ""}]}, "context 2 is empty"),
    ({"inputs": {"question": QUESTION}}, "inputs.context is missing"),
    ({"inputs": {"question": 1, "context": TEXT}}, "inputs.question must be a valid string"),
    ({"inputs": [{"question": QUESTION, "context": None}]}, "inputs[0].context must be a valid string"),
    ({"inputs": 1}, "inputs must be an object"),
    ({}, "inputs is missing"),
    ([], "the body must be an object"),
]


@pytest.mark.parametrize(("body", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_what_is_wrong_is_said_in_a_sentence(site, body, sentence):
    response = site.post("/", body)
    told = response.json()
    assert response.status_code == 422
    assert sentence in told["error"]
    assert (told["kind"], told["request_id"]) == ("invalid", response.headers["x-request-id"])
    assert "/" not in told["error"]
    assert "\n" not in told["error"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"question": QUESTION, "documents": []}, "there is no document to search"),
        ({"question": " ", "documents": [TEXT]}, "the question is empty"),
        ({"question": QUESTION, "documents": [TEXT, 1]}, "documents[1] must be a valid string"),
        ({"question": QUESTION, "documents": {"a": 1}}, "documents.a must be a valid string"),
        ({"question": QUESTION, "documents": [{"name": "a"}]}, "documents[0].text is missing"),
        (
            {"question": QUESTION, "documents": [{"name": "a", "text": "x"}, {"name": "a", "text": "y"}]},
            "two documents have the same name",
        ),
        ({"question": QUESTION, "documents": TEXT}, "documents must be an object"),
    ],
)
def test_wrong_documents(site, body, sentence):
    response = site.post("/search", body)
    assert (response.status_code, response.json()["kind"]) == (422, "invalid")
    assert sentence in response.json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b'{"inputs"', 400, "not valid JSON"),
        (b"\xff\xfe", 400, "JSON"),
        (b"[" * 100_000, 400, "JSON"),
        (b'{"inputs": {"question": "\\ud800", "context": "a"}}', 422, "half of a surrogate pair"),
        (b'{"inputs": {"question": "a", "context": "a"}, "parameters": {"threshold": NaN}}', 422, "finite"),
        (b'{"inputs": {"question": "a", "context": "a"}, "parameters": {"top_k": 1e400}}', 422, "top_k"),
    ],
)
def test_bodies_that_are_no_json_or_hold_what_json_does_not(site, content, status, sentence):
    response = site("POST", "/", content=content, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert sentence in response.json()["error"]


def test_a_body_that_does_not_come_as_json(site):
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        response = site("POST", "/", content=json.dumps(ONE), headers=headers)
        assert (response.status_code, response.json()["kind"]) == (415, "no_json")
        assert "Content-Type: application/json" in response.json()["error"]


def test_routes_and_methods_that_are_not_there(site):
    missing, wrong = site("GET", "/nothing"), site("DELETE", "/search")
    assert (missing.status_code, missing.json()["kind"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "this route does not take DELETE")


def test_names_that_utf8_can_not_hold_do_not_break_the_answer(site):
    body = json.dumps({"question": QUESTION, "documents": {"\ud800": TEXT}}).encode()
    response = site("POST", "/search", content=body, headers={"content-type": "application/json"})
    assert response.status_code < 500
    response.json()


def test_a_fault_of_ours_tells_nothing_of_itself(make_site):
    site = make_site()

    def broken(inputs, thresholds=None, asking=None):
        raise RuntimeError("secret /path/of/ours")

    site.answerer.model.score_windows = broken
    response = site.post("/", ONE)
    assert response.status_code == 500
    assert response.json()["kind"] == "internal"
    assert "secret" not in response.text and "/path" not in response.text


def test_a_model_that_computes_no_numbers(make_site):
    from blockskim.errors import ModelError

    site = make_site()

    def broken(inputs, thresholds=None, asking=None):
        raise ModelError("/a/path: its weights are damaged")

    site.answerer.model.score_windows = broken
    response = site.post("/", ONE)
    assert (response.status_code, response.json()["kind"]) == (500, "model")
    assert "/a/path" not in response.text


def test_counters_for_prometheus(make_site):
    site = make_site()
    site.post("/", ONE)
    site.post("/", {})
    site("GET", "/nothing")
    text = site("GET", "/metrics").text
    for line in (
        'blockskim_requests_total{route="/",status="200"} 1.0',
        'blockskim_requests_total{route="/",status="422"} 1.0',
        'blockskim_requests_total{route="other",status="404"} 1.0',
        'blockskim_errors_total{kind="invalid"} 1.0',
        "blockskim_requests_waiting 0.0",
        "blockskim_ready 1.0",
        'blockskim_request_seconds_count{route="/"} 2.0',
    ):
        assert line in text
