import pytest
import torch

from blockskim.method.config import INPUTS
from blockskim.profiling.batch_aligned import aligned_flops, skim_aligned
from strategies import every_combination, every_family
from tiny_models import dense_model, make_batch, skim_model

SIZES = [(4, 60), (2, 41), (6, 72), (3, 0)]


def asked(model, threshold):
    return dict.fromkeys(model.skim_layers, threshold)


@every_family
@pytest.mark.parametrize("threshold", [0.0, 1e-30])
def test_with_nothing_dropped_the_logits_are_those_of_the_dense_model(family, threshold):
    batch = make_batch(family, SIZES, padding=3)
    model = skim_model(family, INPUTS)
    expected = dense_model(family)(**batch.without_context())
    found = skim_aligned(model, asked(model, threshold), **batch.inputs)
    real = batch.real
    torch.testing.assert_close(found.start_logits[real], expected.start_logits[real], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.end_logits[real], expected.end_logits[real], atol=1e-5, rtol=0)
    assert torch.equal(found.start_logits.isfinite(), real)
    assert len(set(found.widths)) == 1
    assert tuple(found.droppable) == (() if threshold == 0 else (1, 2))


@every_combination
@pytest.mark.parametrize("threshold", [0.3, 0.6, 1.0])
def test_alone_a_sample_gets_the_logits_of_our_own_pass(family, inputs, alignment, threshold):
    batch = make_batch(family, SIZES)
    model = skim_model(family, inputs, alignment)
    for row in range(len(SIZES)):
        one = batch.alone(row)
        expected = model.skim(**one, thresholds=threshold)
        found = skim_aligned(model, asked(model, threshold), **one)
        torch.testing.assert_close(found.start_logits, expected.start_logits, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.end_logits, expected.end_logits, atol=1e-5, rtol=0)
        kept = dict(zip(expected.trace.layers, expected.trace.kept.sum((1, 2)).tolist(), strict=True))
        assert found.kept == kept


def test_every_sample_keeps_as_many_blocks_as_the_neediest():
    batch = make_batch("bert", SIZES)
    model = skim_model("bert", alignment="context")
    alone = [skim_aligned(model, {1: 0.6}, **batch.alone(row)).kept.get(1, 0) for row in range(len(SIZES))]
    together = skim_aligned(model, {1: 0.6}, **batch.inputs)
    available = [-(-context // 8) for _, context in SIZES]
    assert min(alone[:3]) < max(alone), "the samples need equally many blocks, so this shows nothing"
    assert together.kept[1] == sum(min(max(alone), blocks) for blocks in available)
    tokens = together.start_logits.isfinite().sum(-1)
    assert together.widths[1] == int(tokens.max()) < together.widths[0]


def test_dropping_saves_less_than_in_our_own_pass():
    batch = make_batch("bert", [(4, 100)])
    model = skim_model("bert")
    cost = {}
    for threshold in (0.0, 0.5, 0.9):
        result = skim_aligned(model, asked(model, threshold), **batch.inputs)
        trace = model.skim(**batch.inputs, thresholds=threshold).trace
        cost[threshold] = aligned_flops(model, result)
        if threshold == 0:
            assert cost[threshold] == int(trace.dense_flops.sum())
        else:
            # The same layers on the same blocks, but the layer that drops them is computed whole.
            assert cost[threshold] > int(trace.flops.sum())
    assert cost[0.9] < cost[0.5] < cost[0.0]


def test_padding_costs():
    model = skim_model("bert")
    flops = [
        aligned_flops(model, skim_aligned(model, {}, **make_batch("bert", [(4, 40)], padding=padding).inputs))
        for padding in (0, 10)
    ]
    assert flops[0] < flops[1]
