import contextlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from blockskim.kernels import packed_attention, packed_linear
from blockskim.method.cost import LayerCost, LayerUse, ModelCost, dense_flops, dense_flops_of, skim_flops
from blockskim.model import ragged
from plain_attention import attend_plainly
from strategies import every_alignment, every_combination, every_family, every_input, few, seeds, thresholds
from tiny_models import dense_model, judged_by_modules, make_batch, new_dense_model, new_skim_model, skim_model

few_more = settings(max_examples=max(4, settings.default.max_examples // 6))


def counted(run, **inputs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run(**inputs)
    return counter.get_total_flops()


@contextlib.contextmanager
def countable(model):
    """Makes a model skim in operators that the counter knows, without a row of padding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_linear, "can_pack", lambda weight: False)
        patch.setattr(packed_attention, "ROWS", 1)
        patch.setattr(packed_attention, "STEPS", 2**60)
        patch.setattr(ragged, "attend_packed", attend_plainly)
        model.prepared.clear()
        try:
            with judged_by_modules(model):
                yield
        finally:
            model.prepared.clear()


def lengths_of(batch):
    return batch.real.sum(-1).numpy()


@every_family
@few_more
@given(st.integers(0, 6), st.integers(0, 90))
def test_closed_form_is_what_the_counter_counts_on_a_dense_eager_run(family, question, context):
    batch = make_batch(family, [(question, context)])
    expected = counted(dense_model(family), **batch.without_context())
    assert dense_flops(skim_model(family).cost, lengths_of(batch)).tolist() == [expected]
    trace = skim_model(family).skim(**batch.inputs, thresholds=0.0).trace
    assert trace.dense_flops.tolist() == trace.flops.tolist() == [expected]


@every_family
def test_padding_counts_when_it_is_part_of_the_lengths(family):
    batch = make_batch(family, [(4, 30), (2, 12)], padding=5)
    lengths = np.full(2, batch.real.shape[1])
    expected = counted(dense_model(family), **batch.without_context())
    cost = skim_model(family).cost
    # What a batch computes once is counted for each of its samples.
    again = sum(layer.fixed for layer in cost.layers)
    assert int(dense_flops(cost, lengths).sum()) == expected + again
    assert (again > 0) == (family == "deberta-v2")


def test_narrow_heads_are_counted_as_they_are():
    # ELECTRA's small models embed in fewer dimensions; here there are other sizes, too.
    dense = new_dense_model("electra", hidden_size=24, num_attention_heads=3, embedding_size=8, intermediate_size=20)
    model = type(skim_model()).from_backbone(dense, skim_model().skim_config)
    batch = make_batch("electra", [(4, 30)])
    expected = counted(dense, **batch.without_context())
    assert dense_flops(model.cost, lengths_of(batch)).tolist() == [expected]


@every_combination
@few
@given(st.integers(0, 6), st.integers(0, 90), seeds, thresholds)
def test_closed_form_is_what_the_counter_counts_on_a_skimming_run(
    family, inputs, alignment, question, context, seed, values
):
    model = skim_model(family, inputs, alignment)
    batch = make_batch(family, [(question, context)], seed)
    with countable(model):
        expected = counted(model.skim, **batch.inputs, thresholds=values)
    assert model.skim(**batch.inputs, thresholds=values).trace.flops.tolist() == [expected]


@every_input
@every_alignment
@few_more
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60)), min_size=1, max_size=3),
    seeds,
    st.lists(st.floats(1e-6, 1), min_size=2, max_size=5),
)
def test_flops_never_rise_with_the_threshold_of_one_layer(inputs, alignment, sizes, seed, values):
    model = one_layer_model(inputs, alignment)
    batch = make_batch("bert", sizes, seed)
    spent = [model.skim(**batch.inputs, thresholds=value).trace.flops for value in sorted(values)]
    for lower, higher in itertools.pairwise(spent):
        assert bool((higher <= lower).all())


MODELS = {}


def one_layer_model(inputs, alignment):
    key = inputs, alignment
    if key not in MODELS:
        MODELS[key] = new_skim_model("bert", inputs, alignment, layers=(1,))
    return MODELS[key]


COST = ModelCost((LayerCost(10, 3, 100), LayerCost(20, 5, 200)), embedding=1000, head=7)


def test_dense_flops_worked_out_by_hand():
    # 4 tokens: 4 * (1000 + 7) + 4 * 110 + 16 * 3 + 4 * 220 + 16 * 5
    assert dense_flops(COST, np.array([4, 0])).tolist() == [4028 + 440 + 48 + 880 + 80, 0]


def test_skim_flops_worked_out_by_hand():
    uses = {1: LayerUse(np.array([2, 4, 0]), np.array([50, 60, 70]))}
    # Before layer 1 drops all 4 tokens pay: 4000 + 40 + 48; behind its attention those that are left do.
    before = 4000 + 40 + 48
    expected = [
        before + 50 + 2 * 100 + 2 * 20 + 4 * 5 + 2 * 200 + 2 * 7,
        before + 60 + 4 * 100 + 4 * 20 + 16 * 5 + 4 * 200 + 4 * 7,
        before + 70,
    ]
    assert skim_flops(COST, uses, np.array([4, 4, 4])).tolist() == expected


def test_skim_flops_without_skimming_are_dense_flops():
    lengths = np.array([1, 17, 512])
    assert np.array_equal(skim_flops(COST, {}, lengths), dense_flops(COST, lengths))


def test_counts_of_large_models_do_not_overflow():
    base = ModelCost(tuple(LayerCost(3 * 2 * 768**2, 4 * 768, 9 * 2 * 768**2) for _ in range(12)), 0, 4 * 768)
    lengths = np.full(1000, 512, dtype=np.int32)
    total = int(dense_flops(base, lengths).sum())
    assert total == 1000 * (512 * (12 * 24 * 768**2 + 4 * 768) + 12 * 512**2 * 4 * 768)


def test_speedup_is_of_the_whole_batch():
    batch = make_batch("bert", [(4, 60), (2, 90)])
    trace = skim_model("bert", ("question",), "context").skim(**batch.inputs, thresholds=0.9).trace
    assert trace.speedup == pytest.approx(int(trace.dense_flops.sum()) / int(trace.flops.sum()))
    assert trace.speedup > 1
    assert trace.blocks.tolist() == [8, 12]
    assert trace.tokens.tolist() == [67, 95]


@given(st.integers(0, 5000))
def test_one_sequence_costs_what_it_does_among_others(length):
    assert dense_flops_of(COST, length) == dense_flops(COST, np.array([length]))[0]


def test_one_sequence_may_be_of_any_length():
    assert dense_flops_of(COST, 2**40) > 2**80
