import json

import pytest
import torch

from blockskim.data.windows import WindowSettings, make_windows
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.method.config import SkimConfig
from blockskim.profiling import benchmark
from blockskim.profiling.baselines import make_baseline
from blockskim.profiling.benchmark import run_benchmark
from blockskim.profiling.contenders import Contender, Logits, Work, skim_contender
from blockskim.profiling.random_models import random_skim
from blockskim.profiling.settings import BenchmarkSettings
from blockskim.profiling.workloads import Workload, random_workload
from kite_examples import examples
from tiny_answerers import new_model
from tiny_tokenizers import word_piece

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return new_model()


@pytest.fixture(scope="module")
def data():
    return Workload("data", make_windows(examples(7), word_piece(), WindowSettings(30, 4, 8)))


def settings(repeats, *baselines, **more):
    return BenchmarkSettings(baselines, repeats=repeats, **more)


def idle(name, flops, tokens, dtype="float32", layers=0):
    """A contender that does nothing, yet says that it works."""

    def run(inputs):
        empty = torch.zeros(inputs["input_ids"].shape)
        return Logits(empty, empty)

    return Contender(name, dtype, lambda batch: batch.inputs, run, lambda _: Work(flops, tokens), 5, layers)


@pytest.fixture
def fake_seconds(monkeypatch):
    """Replace the timed rounds by given seconds."""

    def install(seconds):
        def rounds(runs, rounds, warmup, **_):
            assert set(runs) == set(seconds)
            return seconds

        monkeypatch.setattr(benchmark, "time_rounds", rounds)

    return install


def test_figures_of_one_batch(fake_seconds, model):
    fake_seconds({"a": [1.0, 2.0, 4.0], "b": [2.0, 8.0, 6.0]})
    workload = random_workload("tiny", model, 40, 0)
    first, second = run_benchmark(
        [idle("a", 300, 40), idle("b", 100, 20, "int8")], workload, 4, CPU, {"float32": 300.0}, settings(3, "b")
    )
    assert (first.median_seconds, first.min_seconds, first.spread) == (2.0, 1.0, (1.5, 3.0))
    assert (first.flops, first.tokens, first.batch_size, first.batches, first.samples) == (300, 40, 4, 1, 4)
    assert first.samples_per_second == 2.0
    assert first.matmul_fraction == 0.5
    assert first.speedup_over == {"b": 2.0}
    assert first.speedup_spread == {"b": (1.75, 3.0)}
    assert second.matmul_fraction is None
    assert second.speedup_over == {}


def test_figures_of_several_batches_are_means(fake_seconds, data):
    fake_seconds({"a": [10.0]})
    (record,) = run_benchmark([idle("a", 300, 40)], data, 3, CPU, {}, settings(1))
    assert record.batches > 1
    assert record.samples == len(data.windows)
    assert record.median_seconds == 10.0 / record.batches
    assert (record.flops, record.tokens) == (300, 40)
    assert record.samples_per_second == len(data.windows) / 10.0


@pytest.mark.slow
def test_records_are_json(model):
    workload = random_workload("tiny", model, 40, 0)
    contenders = [skim_contender("blockskim", model), make_baseline("dense-sdpa", model, model)]
    records = run_benchmark(contenders, workload, 2, CPU, {"float32": 1e9}, settings(2, "dense-sdpa"))
    values = json.loads(json.dumps([record.to_dict() for record in records]))
    assert [value["name"] for value in values] == ["blockskim", "dense-sdpa"]
    ours, dense = values
    assert list(ours["speedup_over"]) == ["dense-sdpa"]
    assert ours["median_seconds"] >= ours["min_seconds"] > 0
    assert ours["peak_bytes"] > 0 < dense["peak_bytes"]
    assert len(ours["kept_by_layer"]) == 3
    assert dense["kept_by_layer"] is None
    assert ours["f1"] is None


@pytest.mark.slow
@pytest.mark.parametrize("end_to_end", [False, True])
def test_answers_of_data_are_scored(model, data, end_to_end):
    contenders = [
        skim_contender("blockskim", model, 0.5),
        *(make_baseline(name, model, model, 0.5) for name in ("packed", "dense-eager-40", "aligned")),
        idle("untrained", 1, 1),
    ]
    contenders[-1] = Contender(
        "untrained", "float32", contenders[-1].prepare, contenders[-1].run, contenders[-1].work, 5, trained=False
    )
    records = run_benchmark(contenders, data, 3, CPU, {}, settings(1, "packed", end_to_end=end_to_end))
    found = {record.name: record.f1 for record in records}
    expected = [evaluate_windows(model, data.windows, 3, threshold).scores["f1"] for threshold in (0.5, 0.0)]
    assert (found["blockskim"], found["packed"]) == pytest.approx(tuple(expected))
    assert found["dense-eager-40"] == pytest.approx(expected[1])
    assert found["aligned"] is not None
    assert found["untrained"] is None
    assert all(record.end_to_end is end_to_end for record in records)


@pytest.mark.slow
def test_progress_is_told(model):
    told = []
    workload = random_workload("tiny", model, 40, 0)
    run_benchmark([idle("a", 1, 1)], workload, 2, CPU, {}, settings(2), progress=lambda *news: told.append(news))
    rounds = [(f"batch size 2: round {number} of 3", 1) for number in (1, 2, 3)]
    assert told == [("batch size 2: a", 0), *rounds]


def test_random_models_have_the_shape_and_leave_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (random_skim("bert-tiny", 600, SkimConfig.paper(), seed=3) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.qa_outputs.weight, second.qa_outputs.weight)
    config = first.config.encoder_config
    assert (config.num_hidden_layers, config.hidden_size, config.max_position_embeddings) == (2, 128, 600)
    assert not first.training
