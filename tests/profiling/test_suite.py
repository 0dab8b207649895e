import pytest
import torch

from blockskim.errors import ConfigError
from blockskim.profiling import matmul_rate
from blockskim.profiling.schedule import THRESHOLD
from blockskim.profiling.settings import BenchmarkSettings, RandomModelSettings
from blockskim.profiling.suite import Subject, make_contenders, random_subject, run_suite
from blockskim.profiling.workloads import random_workload
from tiny_answerers import new_model

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
