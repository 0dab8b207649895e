"""Answers of a request: none is far larger than what was sent."""

import pytest

from blockskim.errors import ConfigError
from blockskim.serving import tasks
from blockskim.serving.engine import Engine
from served import QUESTION, TEXT, plain_answerer

SECONDS = 60


@pytest.fixture
def engine():
    made = Engine(plain_answerer())
    yield made
    made.close(5.0)


@pytest.mark.parametrize(("pairs", "options"), [(1, {"top_k": 60}), (3, {"top_k": 30}), (4, {"max_answer_len": 100})])
def test_texts_of_answers_have_a_bound(engine, monkeypatch, pairs, options):
    # Each answer is extended to the word that it is in.
    text = "kite" * 100 if pairs < 4 else TEXT
    asked = {"kind": "answer", "pairs": [[QUESTION, text]] * pairs, "options": options}
    found = engine.ask(asked).result(SECONDS)["answers"]
    several = [each["answer"] for own in found for each in (own if isinstance(own, list) else [own])]
    size = sum(map(len, several))
    monkeypatch.setattr(tasks, "MOST_CHARACTERS", size - 1)
    monkeypatch.setattr(tasks, "characters_of", lambda _: 1)
    with pytest.raises(ConfigError, match=rf"^{size:,} characters of texts and names are more than the {size - 1:,}"):
        engine.ask(asked).result(SECONDS)
    monkeypatch.setattr(tasks, "MOST_CHARACTERS", size)
    assert engine.ask(asked).result(SECONDS)["answers"] == found


def test_a_long_question_counts_once_for_all_documents(engine, monkeypatch):
    question = QUESTION * 5
    documents = [[f"{number} {'n' * 200}", f"{number} nest"] for number in range(8)]
    asked = {"kind": "search", "question": question, "documents": documents, "options": {"top_k": 2}, "explain": False}
    found = engine.ask(asked).result(SECONDS)["answers"]
    size = sum(len(each["answer"]) + len(each["document"]) for each in found)
    texts = sum(len(text) for _, text in documents)
    assert len(question) + texts < size < 8 * len(question) + texts
    monkeypatch.setattr(tasks, "MOST_CHARACTERS", 1)
    with pytest.raises(ConfigError, match=rf"^{size:,} characters .* more than the {len(question) + texts:,} that"):
        engine.ask(asked).result(SECONDS)
