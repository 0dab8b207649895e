"""``benchmarks/evidence.py``: its tasks hold their evidence, its figures are right, and every way is measured."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import evidence

    return evidence


@pytest.fixture
def folder(tmp_path):
    """SQuAD's file of one article with twelve paragraphs, of which two have a question."""
    paragraphs = [
        {"context": f"The tower of town {number} is red. Smith number {number} built it. It is old.", "qas": []}
        for number in range(12)
    ]
    for number in (3, 7):
        context = paragraphs[number]["context"]
        answers = [{"text": f"Smith number {number}", "answer_start": context.index("Smith")}]
        # A context without questions is none of the file's examples.
        question = {"id": str(number), "question": f"Who built the tower of town {number}?", "answers": answers}
        paragraphs[number]["qas"].append(question)
    for number, paragraph in enumerate(paragraphs):
        if not paragraph["qas"]:
            answer = {"text": "red", "answer_start": paragraph["context"].index("red")}
            paragraph["qas"] = [{"id": f"colour {number}", "question": "Which colour?", "answers": [answer]}]
    (tmp_path / "squad").mkdir()
    data = {"version": "1.1", "data": [{"title": "towers", "paragraphs": paragraphs}]}
    (tmp_path / "squad" / "dev-v1.1.json").write_text(json.dumps(data))
    return tmp_path


def test_tasks_hold_their_evidence(benchmark, folder):
    tasks = benchmark.SETS["squad"](folder / "squad" / "dev-v1.1.json", None)
    assert len(tasks) == 12
    for task in tasks:
        assert len(task.documents) == len(set(task.documents.values())) == 10
        for name, start, end in task.evidence:
            assert task.documents[name][start:end] in ("red", "Smith number 3", "Smith number 7")


def test_supporting_facts_stand_in_their_paragraphs(benchmark, shared_data):
    for task in benchmark.SETS["hotpotqa"](shared_data / "hotpotqa" / "hotpot_train100.json", 5):
        assert len(task.documents) >= 2
        for name, start, end in task.evidence:
            assert task.documents[name][start:end].strip() != ""
            assert task.documents[name][end - 1] in ".?!\"')" or end == len(task.documents[name])


def test_figures_of_known_scores(benchmark):
    own = benchmark.Sentences(["a b", "c", "d e f", "g"], np.array([2, 1, 3, 4]), [np.array([1]), np.array([3])], True)
    found = benchmark.figures([own], [np.array([0.1, 0.9, 0.5, 0.3])])
    assert found["tokens_at_95"] == found["tokens_at_98"] == pytest.approx(0.8)
    assert (found["recall_at_20"], found["recall_at_50"]) == (0.5, 0.5)
    # One word of two that are evidence, and no other.
    assert found["word_f1"] == pytest.approx(2 / 3)
    either = benchmark.Sentences(own.texts, own.tokens, own.needed, False)
    assert benchmark.figures([either], [np.array([0.1, 0.9, 0.5, 0.3])])["tokens_at_95"] == pytest.approx(0.1)


@pytest.mark.slow
def test_every_way_is_measured(folder):
    report = folder / "report.json"
    squad = ("--set", "squad", folder / "squad" / "dev-v1.1.json")
    arguments = [*squad, "--limit", "2", "--no-bm25", "--variants", "--report", report]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "evidence.py", *arguments, "--backend", "onnx"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "squad: 2 questions" in done.stdout
    ways = json.loads(report.read_text())["sets"]["squad"]["ways"]
    assert [way["way"] for way in ways] == ["skimmed", "dense", "keep", "best span", "shared", "first tokens"]
    for way in ways:
        assert 0 < way["tokens_at_95"] <= way["tokens_at_98"] <= 1


def test_texts_of_a_task_are_asked_one_by_one(benchmark, folder, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS / "default_model"))
    import retrieved

    task = benchmark.SETS["squad"](folder / "squad" / "dev-v1.1.json", None)[3]
    asked = list(retrieved.paragraphs(5, task))
    assert [paragraph["context"] for paragraph in asked] == list(task.documents.values())
    questions = [paragraph["qas"][0] for paragraph in asked]
    assert {question["question"] for question in questions} == {task.question}
    assert len({question["id"] for question in questions}) == 10
    assert [question["is_impossible"] for question in questions].count(False) == 1
    for paragraph, question in zip(asked, questions, strict=True):
        for answer in question["answers"]:
            assert paragraph["context"][answer["answer_start"] :].startswith(answer["text"])
