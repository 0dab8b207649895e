import copy

import numpy as np
import pytest
import torch

from blockskim.errors import ConfigError
from blockskim.model import ragged
from blockskim.profiling.contenders import aligned_contender, skim_contender
from blockskim.profiling.schedule import THRESHOLD, ScheduledPredictor, install_schedule
from blockskim.profiling.workloads import random_workload
from tiny_models import new_skim_model

LENGTH = 90
CPU = torch.device("cpu")


def scheduled(keep, keep_full=0, seed=0, **settings):
    """A tiny model on a schedule, and its workload."""
    model = new_skim_model("bert", **settings)
    workload = random_workload("tiny", model, LENGTH, seed)
    install_schedule(model, keep, workload.blocks, keep_full, seed)
    return model, workload


def trace_of(model, workload, batch_size):
    return model.skim(**batch_of(workload, batch_size).inputs, thresholds=THRESHOLD).trace


def batch_of(workload, batch_size):
    (batch,) = workload.batches(batch_size, CPU)
    return batch


@pytest.mark.parametrize("alignment", ["sequence", "context"])
@pytest.mark.parametrize("inputs", [("tiles",), ("question", "hidden"), ("attended",)])
def test_every_sample_keeps_just_what_is_scheduled(inputs, alignment):
    model, workload = scheduled({1: 0.5, 2: 0.25}, inputs=inputs, alignment=alignment)
    blocks = workload.blocks
    assert blocks == (9 if alignment == "sequence" else 10)  # of 8 tokens: the last token is no context
    trace = trace_of(model, workload, 5)
    assert trace.blocks.tolist() == [blocks] * 5
    assert trace.layers == (1, 2)
    assert trace.kept[0].sum(-1).tolist() == [5] * 5
    assert trace.kept[1].sum(-1).tolist() == [2 if alignment == "sequence" else 3] * 5
    assert not bool((trace.kept[1] & ~trace.kept[0]).any())
    assert len({tuple(row.tolist()) for row in trace.kept[0]}) > 1, "every sample keeps the same blocks"


def test_some_samples_keep_everything():
    model, workload = scheduled({1: 0.5}, keep_full=2)
    kept = trace_of(model, workload, 4).kept.sum(-1)
    assert kept.tolist() == [[9, 9, 5, 5], [9, 9, 5, 5]]


def test_where_only_some_of_a_batch_run_together_they_are_still_counted_in_the_batch(monkeypatch):
    model, workload = scheduled({1: 0.5}, keep_full=1)
    together = trace_of(model, workload, 4).kept
    monkeypatch.setattr(ragged, "micro_batch_tokens", lambda backbone: 2 * LENGTH)
    apart = trace_of(model, workload, 4).kept
    assert apart.sum(-1).tolist() == [[9, 5, 5, 5], [9, 5, 5, 5]]
    assert np.array_equal(together, apart)


def test_keeping_everything_asks_every_predictor():
    model, workload = scheduled({})
    batch = batch_of(workload, 3)
    output = model.skim(**batch.inputs, thresholds=THRESHOLD)
    assert output.trace.layers == (1, 2)
    assert bool((output.trace.kept == output.trace.layout.droppable).all())
    assert bool((output.trace.flops > output.trace.dense_flops).all())
    torch.testing.assert_close(output.start_logits, model.skim(**batch.inputs, thresholds=0.0).start_logits)


def test_predictors_run_and_cost_what_they_cost():
    model, workload = scheduled({1: 0.5})
    asked = []
    for number, predictor in model.predictors.items():
        predictor.predictor.register_forward_hook(lambda *_, number=number: asked.append(number))
    assert (trace_of(model, workload, 2).flops > 0).all()
    assert asked == ["1", "2"]


def test_the_choice_depends_on_the_seed_alone():
    traces = [trace_of(*scheduled({1: 0.5}, seed=seed), 4).kept for seed in (3, 3, 4)]
    assert np.array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])


def test_one_model_serves_any_batch_size_and_copies_of_it():
    model, workload = scheduled({1: 0.5}, keep_full=1)
    assert trace_of(model, workload, 1).kept.sum(-1).tolist() == [[9], [9]]
    assert trace_of(model, workload, 3).kept.sum(-1).tolist() == [[9, 5, 5]] * 2
    other = copy.deepcopy(model).bfloat16()
    assert np.array_equal(trace_of(other, workload, 3).kept, trace_of(model, workload, 3).kept)


def test_a_schedule_can_be_replaced():
    model, workload = scheduled({1: 0.5})
    install_schedule(model, {2: 0.25}, workload.blocks, 0, 0)
    assert trace_of(model, workload, 2).kept.sum(-1).tolist() == [[9, 9], [2, 2]]
    assert not isinstance(model.predictors["1"].predictor, ScheduledPredictor)


def test_the_aligned_scheme_follows_the_neediest_sample():
    model, workload = scheduled({1: 0.5, 2: 0.25})
    batch = batch_of(workload, 4)
    aligned = aligned_contender("aligned", model, THRESHOLD)
    own = skim_contender("own", model, THRESHOLD)
    assert aligned.work(aligned.prepare(batch)).kept == own.work(own.prepare(batch)).kept == {1: 20, 2: 8}
    model, workload = scheduled({1: 0.5, 2: 0.25}, keep_full=1)
    aligned = aligned_contender("aligned", model, THRESHOLD)
    assert aligned.work(aligned.prepare(batch)).kept == {1: 36, 2: 36}
    own = skim_contender("own", model, THRESHOLD)
    assert own.work(own.prepare(batch)).kept == {1: 9 + 15, 2: 9 + 6}


def test_layers_without_a_predictor_are_refused():
    for layer in (0, 3, 99):
        with pytest.raises(ConfigError, match=f"layer {layer}.*1, 2"):
            scheduled({layer: 0.5})
