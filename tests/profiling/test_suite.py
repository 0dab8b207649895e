from dataclasses import replace

import pytest
import torch

from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.method.confidence import ConfidenceModel
from blockskim.profiling import matmul_rate
from blockskim.profiling.schedule import THRESHOLD
from blockskim.profiling.settings import BenchmarkSettings, RandomModelSettings
from blockskim.profiling.suite import Subject, make_contenders, random_subject, run_suite
from blockskim.profiling.workloads import Workload, random_workload
from kite_examples import examples
from tiny_answerers import new_model
from tiny_tokenizers import word_piece

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """Measuring how fast large matrices are multiplied would take longer than all the rest."""
    monkeypatch.setattr(matmul_rate, "SIZES", (16,))


@pytest.fixture(scope="module")
def subject():
    model = new_model()
    return Subject(model, random_workload("tiny", model, 40, 0), 0.5)


@pytest.mark.slow
def test_every_contender_is_measured_at_every_batch_size(subject):
    said = []
    settings = BenchmarkSettings(("packed", "dense-sdpa"), (3, 1), repeats=1, warmup=0)
    records = run_suite(subject, settings, torch.float32, lambda *news: said.append(news))
    assert [(record.name, record.batch_size) for record in records] == [
        (name, size) for size in (3, 1) for name in ("blockskim", "packed", "dense-sdpa")
    ]
    assert all(record.rounds == 1 and record.matmul_rate for record in records)
    assert said[:2] == [("making the contenders", 0), ("measuring how fast matrices are multiplied", 0)]
    assert sum(rounds for _, rounds in said) == 2


def test_answers_are_scored_as_an_evaluation_scores_them():
    squad2 = (("format", "squad"), ("version", "2.0"))
    nothing = {"answers": (), "references": ()}
    asked = [
        *(replace(one, source="two.json", metadata=squad2) for one in examples(4)),
        *(replace(one, source="two.json", metadata=squad2, id=f"n{one.id}", **nothing) for one in examples(4)),
        *(replace(one, source="hot.json", metadata=(("format", "hotpotqa"),)) for one in examples(2)),
        *(replace(one, source="test.json", annotated=False, **nothing) for one in examples(3)),
    ]
    model = new_model()
    # It declines every question that may have no answer.
    model.confidence = ConfidenceModel((0.0,) * 4, (10.0, 0.0, 0.0, 0.0))
    windows = make_windows(asked, word_piece(), WindowSettings(60, 4, 8))
    subject = Subject(model, Workload("data", windows), 0.5)
    settings = BenchmarkSettings(("packed",), (4,), repeats=1, warmup=0)
    ours, packed = run_suite(subject, settings, torch.float32)
    for record, threshold in ((ours, 0.5), (packed, 0.0)):
        scores = evaluate_windows(model, windows, 4, threshold).scores
        assert (record.exact_match, record.f1) == (scores["exact_match"], scores["f1"])
    assert ours.f1 >= 40


def test_only_skimming_computes_in_the_number_format(subject):
    settings = BenchmarkSettings(("packed", "packed-float32", "dense-sdpa"))
    found = make_contenders(subject, settings, torch.bfloat16)
    assert [one.dtype for one in found] == ["bfloat16", "bfloat16", "float32", "float32"]
    assert subject.model.dtype == torch.float32


def test_a_random_model_is_on_its_schedule():
    settings = RandomModelSettings("bert-tiny", {1: 0.5}, length=88, skim={"block_size": 8})
    subject = random_subject(settings, 0, CPU)
    assert (subject.thresholds, subject.trained) == (THRESHOLD, False)
    (batch,) = subject.workload.batches(2, CPU)
    trace = subject.model.skim(**batch.inputs, thresholds=THRESHOLD).trace
    assert trace.kept.sum() * 2 == trace.blocks.sum() == 2 * subject.workload.blocks


def test_what_is_not_possible_is_refused_at_once():
    with pytest.raises(ConfigError, match="no baseline 'dense'"):
        BenchmarkSettings(("dense",)).check()
    with pytest.raises(ConfigError, match="no shape 'bert-huge'"):
        RandomModelSettings("bert-huge", {})
