"""Whatever is sent, the answer is JSON, and no fault of ours.

``BLOCKSKIM_FUZZ=20000`` sends so many bodies to each route; without it there are few, always the same.
"""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_calls import Site

COUNT = int(os.environ.get("BLOCKSKIM_FUZZ", "0"))
PROFILE = settings(
    # Three tests share them, and one of these sends two a time.
    max_examples=-(-COUNT // 4) or 60,
    derandomize=not COUNT,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TEXTS = st.text(max_size=40) | st.text(alphabet="the kite nest. ?\n\x00é🪁\u202e<>&\"'\\\ud800", max_size=400)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)
ANSWERING = st.fixed_dictionaries(
    {},
    optional={
        "top_k": st.integers(-1, 101) | ANYTHING,
        "max_answer_len": st.integers(0, 513) | ANYTHING,
        "handle_impossible_answer": st.booleans() | ANYTHING,
        "no_answer_threshold": st.floats(-0.1, 1.1) | ANYTHING,
        "align_to_words": st.booleans() | ANYTHING,
        "threshold": st.floats(-0.1, 1.1) | st.lists(st.floats(0, 1), max_size=3) | ANYTHING,
    },
)
READING = st.fixed_dictionaries(
    {},
    optional={
        "doc_stride": st.integers(-1, 80) | ANYTHING,
        "max_seq_len": st.integers(30, 61) | ANYTHING,
        "max_question_len": st.integers(0, 70) | ANYTHING,
        "point": TEXTS | ANYTHING,
        "dense": st.booleans() | ANYTHING,
        "max_cost": st.floats(-0.1, 1.1) | ANYTHING,
    },
)
AMOUNTS = st.builds(
    "{}{}".format,
    st.integers(-1, 400) | st.floats(-0.1, 130),
    st.sampled_from(["%", " %", " tokens", " token", " characters", "chars", ""]),
)
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.floats(-0.1, 1.1) | ANYTHING,
        "top_k": st.integers(-1, 10_001) | ANYTHING,
        "budget": st.floats(-0.1, 1.1) | AMOUNTS | ANYTHING,
        "context": st.integers(-1, 21) | ANYTHING,
        "keep": st.just("titles") | ANYTHING,
    },
)
ORDER = st.fixed_dictionaries(
    {},
    optional={
        "order": st.sampled_from(["score", "text"]) | ANYTHING,
        "max_answer_len": st.integers(0, 513) | ANYTHING,
    },
)
GAP = st.fixed_dictionaries({}, optional={"gap": TEXTS | ANYTHING})


def together(*parts):
    """All entries of some dictionaries, in one."""
    return st.tuples(*parts).map(lambda drawn: {name: value for part in drawn for name, value in part.items()})


PARAMETERS = together(ANSWERING, READING)
PAIR = st.fixed_dictionaries({"question": TEXTS | ANYTHING, "context": TEXTS | ANYTHING})
DOCUMENTS = (
    st.lists(TEXTS, max_size=4)
    | st.dictionaries(TEXTS, TEXTS, max_size=4)
    | st.lists(st.fixed_dictionaries({"name": TEXTS, "text": TEXTS}), max_size=4)
    | ANYTHING
)
BODIES = {
    "/": st.fixed_dictionaries(
        {"inputs": PAIR | st.lists(PAIR, max_size=4) | ANYTHING}, optional={"parameters": PARAMETERS | ANYTHING}
    ),
    "/search": st.fixed_dictionaries(
        {"question": TEXTS | ANYTHING, "documents": DOCUMENTS},
        optional={"parameters": PARAMETERS | ANYTHING, "explain": st.booleans() | ANYTHING},
    ),
    "/highlight": st.fixed_dictionaries(
        {"question": TEXTS | ANYTHING, "documents": DOCUMENTS},
        optional={"parameters": together(READING, WISHES, ORDER) | ANYTHING},
    ),
    "/prune": st.fixed_dictionaries(
        {"question": TEXTS | ANYTHING, "documents": DOCUMENTS},
        optional={"parameters": together(READING, WISHES, GAP) | ANYTHING},
    ),
    "/v1/rerank": st.fixed_dictionaries(
        {"query": TEXTS | ANYTHING, "documents": DOCUMENTS},
        optional={
            "top_n": st.integers() | ANYTHING,
            "return_documents": st.booleans() | ANYTHING,
            "model": ANYTHING,
            "parameters": READING | ANYTHING,
        },
    ),
}
ALLOWED = {200, 400, 413, 422}


@pytest.fixture(scope="module")
def site():
    site = Site(max_body=20_000, max_pairs=8)
    yield site
    site.close()


def check(site, path, content):
    response = site("POST", path, content=content, headers={"content-type": "application/json"})
    assert response.status_code in ALLOWED, (response.text, content)
    told = response.json()
    if response.status_code != 200:
        assert told["error"] and told["kind"] and "\n" not in told["error"]
        assert "Traceback" not in told["error"] and ".py" not in told["error"]


@pytest.mark.parametrize("path", BODIES)
def test_bodies_that_are_nearly_right(site, path):
    @PROFILE
    @given(BODIES[path])
    def sent(body):
        check(site, path, json.dumps(body).encode())

    sent()


@pytest.mark.parametrize("path", BODIES)
def test_bodies_of_any_form(site, path):
    @PROFILE
    @given(ANYTHING)
    def sent(body):
        check(site, path, json.dumps(body).encode())

    sent()


@pytest.mark.parametrize("path", BODIES)
def test_bodies_that_are_damaged(site, path):
    @PROFILE
    @given(BODIES[path], st.integers(0, 400), st.binary(max_size=4))
    def sent(body, place, other):
        content = json.dumps(body).encode()
        check(site, path, content[:place] + other)
        check(site, path, content[:place] + other + content[place + len(other) :])

    sent()
