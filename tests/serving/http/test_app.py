"""The routes: what they answer, and what they refuse, with which status and sentence."""

import json
from dataclasses import asdict

import pytest

from blockskim import __version__
from blockskim.answering.request import AnswerOptions
from blockskim.evidence.prune import GAP
from local_service import LocalService
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
    expected = site.answerer.search(QUESTION, given(documents), top_k=5)
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


def given(documents):
    """Documents of a request as the library takes them."""
    if isinstance(documents, dict):
        return documents
    return [(item["name"], item["text"]) if isinstance(item, dict) else item for item in documents]


FORMS = [
    {"a": TEXT * 3, "b": TEXT[9:], "blank": " "},
    [TEXT * 3, TEXT[9:], ""],
    [{"name": "a", "text": TEXT * 3}, {"name": "b", "text": TEXT[5:]}],
]


@pytest.mark.parametrize("documents", FORMS)
def test_highlights_are_those_of_the_library(site, documents):
    found = site.post("/highlight", {"question": QUESTION, "documents": documents}).json()
    assert set(found) == {"question", "sentences", "kept", "skim"}
    assert found["question"] == QUESTION
    assert found["sentences"] == site.answerer.highlight(QUESTION, given(documents))
    texts = dict(documents if isinstance(documents, dict) else enumerate(documents))
    sizes = [len(text if isinstance(text, str) else text["text"]) for text in texts.values()]
    assert found["kept"] == sum(each["end"] - each["start"] for each in found["sentences"]) / sum(sizes)
    assert 0 < found["skim"]["flops"] <= found["skim"]["dense_flops"]


@pytest.mark.parametrize("documents", FORMS)
def test_pruned_texts_are_those_of_the_library(site, documents):
    asked = {"question": QUESTION, "documents": documents, "parameters": {"budget": 0.4}}
    found = site.post("/prune", asked).json()
    expected = site.answerer.prune(QUESTION, given(documents), budget=0.4)
    assert set(found) == {"question", "documents", "kept", "pieces", "skim"}
    assert found["documents"] == expected.documents
    assert list(found["documents"]) == list(expected.documents)
    assert found["kept"] == expected.kept
    assert found["pieces"] == {
        name: [[piece.start, piece.end, piece.original] for piece in own] for name, own in expected.pieces.items()
    }


READING = [{"doc_stride": 3}, {"max_seq_len": 40}, {"max_question_len": 2}, {"dense": True}, {"max_cost": 0.5}]
WISHES = [
    {"threshold": 0.1},
    {"top_k": 3},
    {"budget": 0.3},
    {"budget": "30%"},
    {"budget": "40 tokens"},
    {"budget": 1},
    {"top_k": 1, "context": 1},
    {"top_k": 1, "keep": "titles"},
]
OF_HIGHLIGHTS = [{"top_k": 9, "order": "text"}, {"top_k": 9, "max_answer_len": 1}]


@pytest.mark.parametrize("parameters", [*READING, *WISHES, *OF_HIGHLIGHTS], ids=str)
def test_every_parameter_reaches_highlights(site, parameters):
    documents = {"a": f"# Kites\n\n{TEXT * 4}", "b": TEXT[9:]}
    found = site.post("/highlight", {"question": QUESTION, "documents": documents, "parameters": parameters}).json()
    assert found["sentences"] == site.answerer.highlight(QUESTION, documents, **parameters)


@pytest.mark.parametrize("parameters", [*READING, *WISHES, {"top_k": 3, "gap": " ~ "}, {"gap": ""}], ids=str)
def test_every_parameter_reaches_pruned_texts(site, parameters):
    documents = {"a": f"# Kites\n\n{TEXT * 4}", "b": TEXT[9:]}
    found = site.post("/prune", {"question": QUESTION, "documents": documents, "parameters": parameters}).json()
    assert found["documents"] == site.answerer.prune(QUESTION, documents, **parameters).documents


@pytest.mark.parametrize("route", ["/highlight", "/prune", "/v1/rerank"])
def test_an_operating_point_of_evidence(make_site, route):
    from blockskim.serving.engine import Engine
    from served import plain_answerer

    site = make_site(engine=Engine(plain_answerer(points={"exact": 0.0, "fast": 0.9})))
    name = "query" if route == "/v1/rerank" else "question"
    found = [
        site.post(route, {name: QUESTION, "documents": [TEXT * 3], "parameters": {"point": point}}).json()
        for point in ("exact", "fast")
    ]
    assert found[0] != found[1]


@pytest.mark.parametrize("route", ["/highlight", "/prune"])
def test_nothing_to_read_holds_no_evidence(site, route):
    found = site.post(route, {"question": QUESTION, "documents": [" ", ""]}).json()
    assert (found.get("sentences", []), found.get("documents", {}), found["kept"]) == ([], {}, 0.0)
    assert found["skim"]["flops"] == 0


WRONG_WISHES = [
    ({"threshold": 1.5}, "parameters.threshold must be less than or equal to 1"),
    ({"threshold": [0.5]}, "parameters.threshold must be a valid number"),
    ({"threshold": "most"}, "threshold is 'most'; of this model it must be a score from 0 to 1, and it has no points"),
    ({"top_k": 0}, "parameters.top_k must be greater than or equal to 1"),
    ({"budget": 500}, "parameters.budget must be less than or equal to 1"),
    ({"budget": "much"}, "budget is 'much'; it must be a share above 0 and up to 1, or such as '30%'"),
    ({"budget": "9" * 50}, "parameters.budget must have at most 40 characters"),
    ({"budget": True}, "parameters.budget must be a valid number"),
    ({"budget": []}, "parameters.budget must be a valid number"),
    ({"context": -1}, "parameters.context must be greater than or equal to 0"),
    ({"keep": "all"}, "parameters.keep must be 'titles'"),
    ({"handle_impossible_answer": True}, "parameters.handle_impossible_answer is unknown"),
    ({"dense": True, "point": "fast"}, "dense reads everything"),
    ({"point": "none"}, "no operating point 'none'"),
]


@pytest.mark.parametrize(("parameters", "sentence"), WRONG_WISHES, ids=[sentence for _, sentence in WRONG_WISHES])
@pytest.mark.parametrize("route", ["/highlight", "/prune"])
def test_what_is_wrong_with_a_wish_is_said_in_a_sentence(site, route, parameters, sentence):
    response = site.post(route, {"question": QUESTION, "documents": [TEXT], "parameters": parameters})
    assert (response.status_code, response.json()["kind"]) == (422, "invalid")
    assert sentence in response.json()["error"]


def test_each_route_has_wishes_of_its_own(site):
    asked = {"question": QUESTION, "documents": [TEXT]}
    for route, wrong in (
        ("/highlight", {"gap": "~"}),
        ("/prune", {"order": "text"}),
        ("/prune", {"max_answer_len": 1}),
    ):
        response = site.post(route, {**asked, "parameters": wrong})
        assert (response.status_code, response.json()["error"]) == (422, f"parameters.{next(iter(wrong))} is unknown")
    response = site.post("/v1/rerank", {"query": QUESTION, "documents": [TEXT], "parameters": {"top_k": 1}})
    assert (response.status_code, response.json()["error"]) == (422, "parameters.top_k is unknown")
    response = site.post("/highlight", {**asked, "parameters": {"order": "best"}})
    assert "parameters.order must be 'score' or 'text'" in response.json()["error"]


def test_reranking_is_that_of_the_library(site):
    documents = [TEXT, " ", TEXT[20:], "The kite."]
    expected = [
        {"index": int(each["document"]), "relevance_score": each["score"]}
        for each in site.answerer.rank(QUESTION, documents)
    ]
    found = site.post("/v1/rerank", {"query": QUESTION, "documents": documents, "model": "any"}).json()
    assert found == {"model": "default", "results": expected}
    assert found["results"][-1] == {"index": 1, "relevance_score": 0.0}
    best = site.post(
        "/v1/rerank",
        {"query": QUESTION, "documents": [{"text": text} for text in documents], "top_n": 1, "return_documents": True},
    ).json()["results"]
    assert best == [expected[0] | {"document": {"text": documents[expected[0]["index"]]}}]


@pytest.mark.parametrize("parameters", READING, ids=str)
def test_every_parameter_reaches_the_ranking(site, parameters):
    documents = [TEXT * 4, TEXT[20:]]
    found = site.post("/v1/rerank", {"query": QUESTION, "documents": documents, "parameters": parameters}).json()
    expected = site.answerer.rank(QUESTION, documents, **parameters)
    assert [each["relevance_score"] for each in found["results"]] == [each["score"] for each in expected]


def test_status_and_info(site):
    assert site("GET", "/health").json() == {"status": "ok"}
    assert site("GET", "/ready").json() == {"status": "ready"}
    info = site("GET", "/info").json()
    assert (info["model"], info["version"], info["layers"]) == ("default", __version__, 3)
    assert (info["calibrated_evidence"], 0 < info["evidence_threshold"] < 1) == (False, True)
    assert info["limits"] == {"bytes": 2_000_000, "pairs": 32, "seconds": 30.0}


def test_answers_have_the_fields_that_the_schema_tells(site):
    forms = site("GET", "/openapi.json").json()["components"]["schemas"]

    def fields(form):
        return set(forms[form]["properties"])

    asked = {"question": QUESTION, "documents": {"kite.txt": TEXT}}
    found = site.post("/search", asked | {"explain": True}).json()
    assert set(found) == fields("SearchResponse")
    assert set(found["answers"][0]) | {"confidence"} == fields("FoundAnswer")
    assert set(found["skim"]) == fields("Skim")
    assert set(found["documents"][0]) == fields("ReadDocument")
    found = site.post("/highlight", asked | {"parameters": {"top_k": 1}}).json()
    assert set(found) == fields("HighlightResponse")
    assert set(found["sentences"][0]) == fields("Sentence")
    assert set(site.post("/prune", asked).json()) == fields("PruneResponse")
    found = site.post("/v1/rerank", {"query": QUESTION, "documents": [TEXT], "return_documents": True}).json()
    assert set(found) == fields("RerankResponse")
    assert set(found["results"][0]) == fields("RankedDocument")
    found = site("GET", "/info").json()
    assert set(found) == fields("Info")
    assert set(found["limits"]) == fields("Limits")
    assert set(site.post("/search", {}).json()) == fields("Problem")


def test_the_schema_tells_what_is_taken_where_nothing_is_said(site):
    forms = site("GET", "/openapi.json").json()["components"]["schemas"]
    usual = {
        form: {name: about["default"] for name, about in forms[form]["properties"].items() if "default" in about}
        for form in ("Parameters", "HighlightParameters", "PruneParameters")
    }
    assert {name: value for name, value in asdict(AnswerOptions()).items() if value is not None} == usual["Parameters"]
    assert (usual["HighlightParameters"]["max_answer_len"], usual["HighlightParameters"]["order"]) == (15, "score")
    # Its bound of sentences is another option than the answers of the other form.
    assert "top_k" not in usual["HighlightParameters"]
    assert usual["PruneParameters"]["gap"] == GAP
    parameters = usual["Parameters"]
    assert site.post("/", ONE | {"parameters": parameters}).json() == site.post("/", ONE).json()


def test_the_page_loads_nothing_from_elsewhere(site):
    page = site("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    for word in ("http:", "https:", "src=", "href=", "url(", "@import"):
        assert word not in page.text


@pytest.mark.parametrize("route", ["/", "/search", "/highlight", "/prune", "/v1/rerank"])
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
        "/highlight",
        "/prune",
        "/v1/rerank",
        "/health",
        "/ready",
        "/info",
        "/metrics",
    }
    for route in ("/", "/search", "/highlight", "/prune", "/v1/rerank"):
        assert {"401", "408", "413", "422", "429", "502", "503", "504"} < set(paths[route]["post"]["responses"])


WRONG = [
    (ONE | {"parameters": {"top_k": 0}}, "parameters.top_k must be greater than or equal to 1"),
    (ONE | {"parameters": {"top_k": "2"}}, "parameters.top_k must be a valid integer"),
    (ONE | {"parameters": {"top_k": True}}, "parameters.top_k must be a valid integer"),
    (ONE | {"parameters": {"topk": 2}}, "parameters.topk is unknown"),
    (ONE | {"parameters": {"top\n\tk": 2}}, "parameters.top k is unknown"),
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
        ({"question": QUESTION, "documents": [{"name": "n" * 1001, "text": TEXT}]}, "has 1,001 characters"),
        ({"question": QUESTION, "documents": {"n" * 1001: TEXT}}, "of a document has 1,001 characters; 1,000 are"),
    ],
)
@pytest.mark.parametrize("route", ["/search", "/highlight", "/prune"])
def test_wrong_documents(site, route, body, sentence):
    response = site.post(route, body)
    assert (response.status_code, response.json()["kind"]) == (422, "invalid")
    assert sentence in response.json()["error"]


@pytest.mark.parametrize(
    ("route", "body", "sentence"),
    [
        (
            "/search",
            {"question": QUESTION, "documents": [TEXT], "top_k": 3},
            "the body has top_k, which belongs in param",
        ),
        (
            "/highlight",
            {"question": QUESTION, "documents": [TEXT], "budget": 0.5},
            "has budget, which belongs in param",
        ),
        ("/prune", {"question": QUESTION, "documents": [TEXT], "gap": ""}, "has gap, which belongs in parameters"),
        (
            "/v1/rerank",
            {"query": QUESTION, "documents": [TEXT], "point": "fast"},
            "has point, which belongs in parameters",
        ),
        ("/", ONE | {"top_k": 3}, "the body has top_k, which belongs in parameters"),
        ("/", {"inputs": {**ONE["inputs"], "top_k": 3}}, "inputs has top_k, which belongs in parameters"),
        (
            "/",
            {"inputs": [ONE["inputs"], {**ONE["inputs"], "top_k": 3}]},
            "inputs[1] has top_k, which belongs in param",
        ),
        ("/", ONE | {"parameter": {}}, "the body has parameter, which is unknown; it may have inputs, parameters"),
        (
            "/search",
            {"question": QUESTION, "document": [TEXT]},
            "has document, which is unknown; it may have question, documents, parameters, explain",
        ),
        ("/highlight", {"question": QUESTION, "documents": [TEXT], "explain": True}, "has explain, which is unknown"),
        ("/search", {"question": QUESTION, "documents": [TEXT], "\ud800 \n{x}": 1}, "has ? {x}, which is unknown"),
    ],
)
def test_names_that_are_out_of_place_are_not_ignored(site, route, body, sentence):
    headers = {"content-type": "application/json"}
    response = site("POST", route, content=json.dumps(body).encode(), headers=headers)
    assert (response.status_code, response.json()["kind"]) == (422, "invalid")
    assert sentence in response.json()["error"]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        # As clients of the inference API have it.
        ("/", ONE | {"options": {"wait_for_model": True, "use_cache": False}}),
        ("/", {"inputs": {**ONE["inputs"], "id": "5733be284776f41900661182"}}),
        # As Cohere and Jina have it.
        ("/v1/rerank", {"query": QUESTION, "documents": [TEXT], "max_tokens_per_doc": 100, "priority": 0}),
        ("/v1/rerank", {"query": QUESTION, "documents": [{"text": TEXT, "title": "a"}], "rank_fields": ["text"]}),
        ("/search", {"question": QUESTION, "documents": [{"name": "a", "text": TEXT, "url": "b"}]}),
    ],
)
def test_what_other_services_take_is_let_through(site, route, body):
    without = {name: value for name, value in body.items() if name not in ("options", "priority", "rank_fields")}
    found = site.post(route, body)
    assert found.status_code == 200
    assert found.json() == site.post(route, without).json() or "skim" in found.json()


@pytest.mark.parametrize("route", ["/search", "/highlight", "/prune"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"question": "a", "documents": {"kite": "a", "b": "c", "kite": "d"}}', "has the name 'kite' twice"),
        (b'{"question": "a", "question": "b", "documents": ["c"]}', "has the name 'question' twice"),
        (b'{"question": "a", "documents": {"\\ud800": "a"}}', "the name of a document holds half of a surrogate pair"),
        (b'{"question": "a", "documents": [{"name": "\\udc00", "text": "a"}]}', "holds half of a surrogate pair"),
    ],
)
def test_names_that_would_lose_a_text(site, route, content, sentence):
    response = site("POST", route, content=content, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["kind"]) == (422, "invalid")
    assert sentence in response.json()["error"]


def test_what_the_service_takes_has_one_form_in_the_schema(site):
    """Branches of which a value may fit two would refuse it, as JSON Schema has it."""
    schema = site("GET", "/openapi.json").json()
    found = []

    def kind(branch):
        part = branch.get("$ref") or branch["type"]
        return (part, kind(branch["items"])) if part == "array" else part

    def look(part):
        if isinstance(part, dict):
            if "oneOf" in part:
                found.append([kind(branch) for branch in part["oneOf"]])
            for inner in part.values():
                look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    look(schema)
    assert ["number", ("array", "number")] in found
    # Numbers and strings, say: no two the same. Lists differ by their items.
    assert all(len(set(kinds)) == len(kinds) for kinds in found)
    forms = schema["components"]["schemas"]
    closed = {name for name, form in forms.items() if form.get("additionalProperties") is False}
    assert closed >= {"AnswerRequest", "SearchRequest", "HighlightRequest", "PruneRequest", "Parameters"}
    assert not closed & {"RerankRequest", "QuestionContext", "NamedDocument", "TextDocument"}


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
    kinds = ("application/x-www-form-urlencoded", "text/json", "text/plain; of=application/json", "application/jsonl")
    for headers in ({}, *({"content-type": kind} for kind in kinds)):
        response = site("POST", "/", content=json.dumps(ONE), headers=headers)
        assert (response.status_code, response.json()["kind"]) == (415, "no_json")
        assert "Content-Type: application/json" in response.json()["error"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"])
def test_a_body_that_comes_as_json(site, kind):
    response = site("POST", "/", content=json.dumps(ONE), headers={"content-type": kind})
    assert response.status_code == 200
    wrong = site("POST", "/", content=b"1", headers={"content-type": kind})
    assert (wrong.status_code, wrong.json()["error"]) == (422, "the body must be an object")


@pytest.mark.parametrize("route", ["/", "/health", "/ready"])
def test_what_is_asked_for_its_status_alone(site, route):
    response = site("HEAD", route)
    assert response.status_code == 200
    assert "head" not in site("GET", "/openapi.json").json()["paths"][route]


def test_a_slash_too_many_is_no_redirect_to_elsewhere(site):
    response = site.post("/search/", {"question": QUESTION, "documents": [TEXT]})
    assert (response.status_code, response.json()["kind"]) == (404, "not_found")


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


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/", ONE),
        ("/models/default", ONE),
        ("/search", {"question": QUESTION, "documents": [TEXT]}),
        ("/highlight", {"question": QUESTION, "documents": [TEXT]}),
        ("/prune", {"question": QUESTION, "documents": [TEXT]}),
        ("/v1/rerank", {"query": QUESTION, "documents": [TEXT]}),
    ],
)
def test_what_answers_is_told_the_id_of_a_request(site, monkeypatch, route, body):
    told, ask = [], LocalService.ask

    async def noted(service, asked, seconds, request_id=""):
        told.append(request_id)
        return await ask(service, asked, seconds, request_id)

    monkeypatch.setattr(LocalService, "ask", noted)
    assert site.post(route, body, headers={"x-request-id": "my-id"}).status_code == 200
    assert told == ["my-id"]


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
    site.post("/highlight", {"question": QUESTION, "documents": [TEXT]})
    site("GET", "/nothing")
    text = site("GET", "/metrics").text
    for line in (
        'blockskim_requests_total{route="/",status="200"} 1.0',
        'blockskim_requests_total{route="/",status="422"} 1.0',
        'blockskim_requests_total{route="/highlight",status="200"} 1.0',
        'blockskim_requests_total{route="other",status="404"} 1.0',
        'blockskim_errors_total{kind="invalid"} 1.0',
        "blockskim_requests_waiting 0.0",
        "blockskim_ready 1.0",
        'blockskim_request_seconds_count{route="/"} 2.0',
    ):
        assert line in text


def test_the_schema_says_where_a_key_is_needed(make_site):
    schema = make_site(api_key="secret")("GET", "/openapi.json", headers={"Authorization": "Bearer secret"}).json()
    assert schema["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    asked = {path for path, operations in schema["paths"].items() for one in operations.values() if "security" in one}
    assert set(schema["paths"]) - asked == {"/health", "/ready"}
    assert all("401" in one["responses"] for path in asked for one in schema["paths"][path].values())
    assert "securitySchemes" not in make_site()("GET", "/openapi.json").json()["components"]
