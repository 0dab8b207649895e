import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.errors import ConfigError, ModelError
from blockskim.kernels import packed_attention
from blockskim.method.config import INPUTS
from blockskim.model import ragged
from layers_by_hand import answer, run_layer
from strategies import (
    batches,
    every_alignment,
    every_combination,
    every_family,
    every_family_and_input,
    few,
    pairs,
    seeds,
    thresholds,
)
from tiny_models import INPUT_SETS, dense_model, make_batch, skim_model, views_of

SIZES = [(4, 30), (2, 41), (6, 12), (3, 0)]
some = settings(max_examples=max(5, settings.default.max_examples // 4))


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def lower_median(likely):
    """The middle one of all keep probabilities, the lower of two; NaN are none."""
    return float(torch.from_numpy(likely).nanmedian())


def kept_tokens(output):
    kept = output.start_logits.isfinite()
    assert torch.equal(kept, output.end_logits.isfinite())
    assert bool((output.start_logits[~kept] == -math.inf).all())
    assert bool((output.end_logits[~kept] == -math.inf).all())
    return kept


@every_combination
@few
@given(batches, seeds, st.integers(0, 9), st.booleans())
def test_threshold_0_gives_the_logits_of_the_dense_transformers_model(
    family, inputs, alignment, sizes, seed, padding, score_all_layers
):
    batch = make_batch(family, sizes, seed, padding)
    model = skim_model(family, inputs, alignment)
    expected = dense_model(family)(**batch.without_context())
    found = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=score_all_layers)
    assert torch.equal(kept_tokens(found), batch.real)
    close(found.start_logits[batch.real], expected.start_logits[batch.real])
    close(found.end_logits[batch.real], expected.end_logits[batch.real])
    if not score_all_layers:
        assert np.array_equal(found.trace.flops, found.trace.dense_flops)
        assert found.trace.layers == ()


@every_combination
@few
@given(batches, seeds)
def test_predictors_say_the_same_in_the_dense_and_the_ragged_pass(family, inputs, alignment, sizes, seed):
    batch = make_batch(family, sizes, seed)
    model = skim_model(family, inputs, alignment)
    found = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).trace
    expected = model(**batch.inputs).skim_logits.softmax(-1)[..., 1].transpose(0, 1)
    if bool(found.layout.droppable.any()):
        assert found.layers == (1, 2)
        np.testing.assert_allclose(found.probabilities, expected.detach().numpy(), atol=1e-4, rtol=0)


@every_combination
@few
@given(batches, seeds, st.integers(0, 9), st.booleans(), thresholds)
def test_a_ragged_batch_gives_what_one_by_one_gives(family, inputs, alignment, sizes, seed, padding, left, values):
    batch = make_batch(family, sizes, seed, padding, left=left)
    model = skim_model(family, inputs, alignment)
    together = model.skim(**batch.inputs, thresholds=values)
    kept = kept_tokens(together)
    assert not bool((kept & ~batch.real).any())
    for row in range(len(sizes)):
        alone = model.skim(**batch.alone(row), thresholds=values)
        close(together.start_logits[row, batch.real[row]], alone.start_logits[0])
        close(together.end_logits[row, batch.real[row]], alone.end_logits[0])
        assert int(together.trace.flops[row]) == int(alone.trace.flops[0])
        assert int(together.trace.dense_flops[row]) == int(alone.trace.dense_flops[0])


@every_combination
@few
@given(batches.flatmap(lambda sizes: st.tuples(st.just(sizes), st.permutations(range(len(sizes))))), seeds, thresholds)
def test_the_order_of_the_batch_changes_nothing(family, inputs, alignment, case, seed, values):
    sizes, order = case
    batch = make_batch(family, sizes, seed)
    model = skim_model(family, inputs, alignment)
    found = model.skim(**batch.rows(order), thresholds=values)
    expected = model.skim(**batch.inputs, thresholds=values)
    close(found.start_logits, expected.start_logits[order])
    close(found.end_logits, expected.end_logits[order])
    assert np.array_equal(found.trace.kept, expected.trace.kept[:, order])
    assert np.array_equal(found.trace.flops, expected.trace.flops[order])


@every_combination
@few
@given(batches, seeds, st.integers(1, 30), thresholds)
def test_padding_on_either_side_changes_nothing(family, inputs, alignment, sizes, seed, padding, values):
    model = skim_model(family, inputs, alignment)
    plain = make_batch(family, sizes, seed)
    expected = model.skim(**plain.inputs, thresholds=values)
    for left in (False, True):
        batch = make_batch(family, sizes, seed, padding, left=left)
        found = model.skim(**batch.inputs, thresholds=values)
        close(found.start_logits[batch.real], expected.start_logits[plain.real])
        close(found.end_logits[batch.real], expected.end_logits[plain.real])
        assert np.array_equal(found.trace.kept, expected.trace.kept)
        assert np.array_equal(found.trace.flops, expected.trace.flops)


@every_combination
@few
@given(batches, seeds, thresholds)
def test_what_is_kept_shrinks_from_layer_to_layer_but_never_to_nothing(family, inputs, alignment, sizes, seed, values):
    batch = make_batch(family, sizes, seed)
    found = skim_model(family, inputs, alignment).skim(**batch.inputs, thresholds=values)
    trace, kept = found.trace, kept_tokens(found)
    # Question and special tokens have logits; padding never has.
    assert bool(kept[batch.real & ~batch.context].all())
    assert not bool(kept[~batch.real].any())
    before = trace.layout.droppable
    for number in range(len(trace.layers)):
        assert bool((before | ~trace.kept[number]).all())
        assert np.array_equal(np.isnan(trace.probabilities[number]), ~before)
        before = trace.kept[number]
    # A sample that had blocks keeps one; a block that was not droppable keeps its context.
    assert np.array_equal(before.any(-1), trace.layout.droppable.any(-1))
    for row, size in enumerate(sizes):
        judged_tokens = int((trace.layout.lengths * trace.layout.droppable)[row].sum())
        left = int((trace.layout.lengths * before)[row].sum())
        assert int((kept & batch.context)[row].sum()) == size[1] - judged_tokens + left


@every_combination
@few
@given(batches, seeds, st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_the_kept_set_of_the_first_layer_shrinks_as_the_threshold_rises(family, inputs, alignment, sizes, seed, values):
    batch = make_batch(family, sizes, seed)
    model = skim_model(family, inputs, alignment)
    traces = [
        model.skim(**batch.inputs, thresholds=[value, 0.0], score_all_layers=True).trace for value in sorted(values)
    ]
    for lower, higher in itertools.pairwise(traces):
        assert bool((lower.kept[:1] | ~higher.kept[:1]).all())
        # With one layer that drops, operations never rise with its threshold.
        assert bool((higher.flops <= lower.flops).all())


@every_family
@every_alignment
@some
@given(batches, seeds, thresholds)
def test_skimming_equals_dropping_blocks_by_hand(family, alignment, sizes, seed, values):
    """The layers of transformers one by one, blocks cut out at the end of a layer as the paper does it."""
    batch = make_batch(family, sizes, seed)
    model = skim_model(family, ("tiles",), alignment)
    found = model.skim(**batch.inputs, thresholds=values)
    dense = dense_model(family)
    limits = [values] * 2 if isinstance(values, float) else values
    with torch.no_grad():
        for row in range(len(sizes)):
            inputs = batch.alone(row)
            context = inputs.pop("context_mask")
            hidden = dense.base_model(**inputs, output_hidden_states=True).hidden_states[0]
            layout = model.layout(inputs["attention_mask"], context)
            blocks = [
                range(int(first), int(first + length))
                for first, length, droppable in zip(
                    layout.starts[0], layout.lengths[0], layout.droppable[0], strict=True
                )
                if droppable
            ]
            places = list(range(hidden.shape[1]))
            for number in (1, 2, 3):
                hidden, attention_matrix = run_layer(dense, number, hidden, places)
                if number > 2 or not blocks:
                    continue
                chances = []
                for block in blocks:
                    part = slice(places.index(block[0]), places.index(block[-1]) + 1)
                    tile = torch.zeros(1, 4, 8, 8)
                    tile[0, :, : len(block), : len(block)] = attention_matrix[0, :, part, part]
                    logits = model.predictors[str(number)].branches["tiles"](tile)[0]
                    chances.append(float(logits.softmax(-1)[1]))
                kept = [block for block, chance in zip(blocks, chances, strict=True) if chance >= limits[number - 1]]
                kept = kept or [blocks[chances.index(max(chances))]]
                gone = {place for block in blocks if block not in kept for place in block}
                blocks = kept
                stays = [index for index, place in enumerate(places) if place not in gone]
                places = [places[index] for index in stays]
                hidden = hidden[:, stays]
            expected = torch.full((2, batch.real.shape[1]), -math.inf)
            expected[:, places] = answer(dense, hidden)
            close(found.start_logits[row], expected[0], atol=2e-5)
            close(found.end_logits[row], expected[1], atol=2e-5)


@every_family
def test_attention_to_the_question_keeps_its_distance_after_a_drop(family):
    model = skim_model(family, ("question",), "context")
    batch = make_batch(family, [(4, 90)])
    likely = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).trace.probabilities[0, 0]
    with views_of(model) as views:
        trace = model.skim(**batch.inputs, thresholds=[lower_median(likely), 0.0], score_all_layers=True).trace
    kept = np.flatnonzero(trace.kept[0, 0]).tolist()
    assert 0 < len(kept) < len(likely)
    first = int(trace.layout.starts[0, 0])
    gone = {first + token for token in range(90) if token // 8 not in kept}
    places = [place for place in range(batch.real.shape[1]) if place not in gone]
    dense = dense_model(family)
    with torch.no_grad():
        states = dense.base_model(**batch.without_context(), output_hidden_states=True).hidden_states
        hidden = states[1][:, places]
        _, expected = run_layer(dense, 2, hidden, places)
    question = torch.arange(1, 5)
    for index, (tokens, exists) in enumerate(zip(views[2].tokens, views[2].exists, strict=True)):
        found = views[2].attention.probabilities(tokens[None, exists], question[None])[0]
        rows = [places.index(first + 8 * kept[index] + offset) for offset in range(int(exists.sum()))]
        close(found, expected[0][:, rows][..., question])


def same(found, expected):
    """Whether two runs over the same batch kept the same, and found the same but for rounding."""
    close(found.start_logits, expected.start_logits)
    close(found.end_logits, expected.end_logits)
    assert found.trace.layers == expected.trace.layers
    np.testing.assert_allclose(found.trace.probabilities, expected.trace.probabilities, atol=1e-4, rtol=0)
    for name in ("kept", "flops", "dense_flops", "tokens", "blocks"):
        assert np.array_equal(getattr(found.trace, name), getattr(expected.trace, name)), name


def split(patch, tokens):
    """Make micro-batches of so many tokens. Gives the list that gets the samples of each that runs."""
    patch.setattr(ragged, "GROUP_BYTES", 0)
    patch.setattr(ragged, "GROUP_TOKENS", tokens)
    groups = []
    divide = ragged.micro_batches

    def noted(*arguments):
        for samples in divide(*arguments):
            groups.append(samples.tolist())
            yield samples

    patch.setattr(ragged, "micro_batches", noted)
    return groups


@every_family
def test_every_way_of_attention_skims_alike(family, monkeypatch):
    model = skim_model(family, INPUTS, "context")
    batch = make_batch(family, SIZES)
    expected = model.skim(**batch.inputs, thresholds=0.4)
    with monkeypatch.context() as patch:
        patch.setattr(packed_attention, "has_fused_cpu", lambda: False)
        same(model.skim(**batch.inputs, thresholds=0.4), expected)
    for short, long in ((-1, 0), (-1, 30), (10**9, 0)):
        monkeypatch.setattr(packed_attention, "SHORT", short)
        monkeypatch.setattr(packed_attention, "LONG", long)
        same(model.skim(**batch.inputs, thresholds=0.4), expected)


@pytest.mark.slow
@every_family
@pytest.mark.parametrize("inputs", [("attended",), INPUTS], ids="+".join)
@some
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 44)), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
    st.integers(1, 150),
    st.booleans(),
    seeds,
    thresholds,
)
def test_samples_that_run_in_groups_give_what_they_give_together(
    family, inputs, sizes, names, tokens, left, seed, values
):
    model = skim_model(family, inputs, "context")
    batch = make_batch(family, sizes, seed, padding=2, left=left)
    # Documents in any order, their samples anywhere in the batch.
    documents = torch.tensor(names[: len(sizes)]).unique(return_inverse=True)[1]
    expected = model.skim(**batch.inputs, thresholds=values, documents=documents)
    with pytest.MonkeyPatch.context() as patch:
        groups = split(patch, tokens)
        found = model.skim(**batch.inputs, thresholds=values, documents=documents)
    same(found, expected)
    assert sorted(itertools.chain(*groups)) == list(range(len(sizes)))
    assert (len(groups) == 1) == (int(batch.real.sum()) <= tokens or len(documents.unique()) == 1)


@every_family
def test_every_sample_may_run_by_itself(family, monkeypatch):
    model = skim_model(family, INPUTS, "context")
    batch = make_batch(family, SIZES)
    expected = model.skim(**batch.inputs, thresholds=[0.5, 0.4])
    groups = split(monkeypatch, 1)
    same(model.skim(**batch.inputs, thresholds=[0.5, 0.4]), expected)
    assert groups == [[0], [1], [2], [3]]


@pytest.mark.parametrize("values", [0.0, 1.0])
def test_groups_of_which_some_have_nothing_to_judge(monkeypatch, values):
    model = skim_model("bert", ("attended",), "context")
    batch = make_batch("bert", [(4, 0), (3, 30), (5, 0), (2, 41)])
    documents = torch.tensor([2, 0, 1, 0])
    expected = model.skim(**batch.inputs, thresholds=values, documents=documents, score_all_layers=True)
    groups = split(monkeypatch, 20)
    same(model.skim(**batch.inputs, thresholds=values, documents=documents, score_all_layers=True), expected)
    assert groups == [[1, 3], [2, 0]]
    assert expected.trace.layers == (1, 2)


@some
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 4)), max_size=9),
    st.integers(1, 200),
)
def test_groups_are_whole_documents_and_as_large_as_allowed(samples, tokens):
    lengths, documents = np.array(samples, dtype=np.int64).reshape(-1, 2).T
    groups = [group.tolist() for group in ragged.micro_batches(lengths, documents, tokens)]
    assert sorted(itertools.chain(*groups)) == list(range(len(samples)))
    sizes = [int(lengths[group].sum()) for group in groups]
    held = [set(documents[group].tolist()) for group in groups]
    assert sum(len(part) for part in held) == len(set(documents.tolist()))
    for size, part in zip(sizes, held, strict=True):
        assert size <= tokens or len(part) == 1
    if sum(sizes) <= tokens:
        assert groups == ([list(range(len(samples)))] if samples else [])
    for (size, _), (_, following) in itertools.pairwise(zip(sizes, held, strict=True)):
        assert size + int(lengths[documents == min(following)].sum()) > tokens


def test_groups_are_larger_for_narrower_models_and_have_no_end_on_other_devices(monkeypatch):
    model = skim_model("bert")
    backbone = model.backbone
    monkeypatch.setattr(ragged, "GROUP_TOKENS", 10)
    monkeypatch.setattr(ragged, "GROUP_BYTES", 3 * 32 * 4 * 77)
    assert ragged.micro_batch_tokens(backbone) == 77
    assert ragged.micro_batch_tokens(copy.deepcopy(model).bfloat16().backbone) == 2 * 77
    assert ragged.micro_batch_tokens(copy.deepcopy(model).to("meta").backbone) > 10**15
    monkeypatch.setattr(ragged, "GROUP_BYTES", 0)
    assert ragged.micro_batch_tokens(backbone) == 10


@every_family
@pytest.mark.parametrize("short", [-1, 30 * 8, 10**9])
def test_weights_in_bfloat16_skim_close_to_the_same_in_float32(family, short, monkeypatch):
    # Attention in bfloat16 for all sequences, for long ones, and for none.
    monkeypatch.setattr(packed_attention, "has_fast_products", lambda: True)
    monkeypatch.setattr(packed_attention, "SHORT", short)
    rounded = copy.deepcopy(skim_model(family, INPUTS, "context")).bfloat16()
    exact = copy.deepcopy(rounded).float()
    batch = make_batch(family, [(4, 100), (2, 60), (6, 12), (3, 0)])
    found, expected = (model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True) for model in (rounded, exact))
    # Logits as large as 2 have some thirty roundings to 8 bits behind them, of 0.004 each, which mostly cancel out:
    # 0.018 is the most that is seen here. A keep probability changes by no more than its margin.
    close(found.start_logits[batch.real], expected.start_logits[batch.real], atol=0.05)
    close(found.end_logits[batch.real], expected.end_logits[batch.real], atol=0.05)
    assert np.array_equal(found.trace.kept, expected.trace.kept)
    np.testing.assert_allclose(found.trace.probabilities, expected.trace.probabilities, atol=0.05, rtol=0)


def test_thresholds_do_drop_something():
    # The properties above would hold for a model that never drops.
    for family in ("bert", "mpnet"):
        model, batch = skim_model(family, ("tiles",), "context"), make_batch(family, SIZES)
        likely = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).trace.probabilities[0]
        trace = model.skim(**batch.inputs, thresholds=[lower_median(likely), 1.0]).trace
        kept = trace.kept.sum((1, 2)).tolist()
        assert int(trace.layout.droppable.sum()) == 12 > kept[0] > kept[1] == 3


@pairs(("block_size", "inputs"), [8, 16, 32, 64], INPUT_SETS)
@every_alignment
def test_any_block_size(block_size, inputs, alignment):
    model = skim_model("bert", inputs, alignment, block_size)
    batch = make_batch("bert", [(4, 150), (6, 90), (2, 30)])
    dense = dense_model("bert")(**batch.without_context())
    close(model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real], dense.start_logits[batch.real])
    found = model.skim(**batch.inputs, thresholds=1.0)
    kept = kept_tokens(found)
    for row, size in enumerate(batch.sizes):
        droppable = found.trace.layout.droppable[row]
        lost = int((found.trace.layout.lengths[row] * droppable).sum())
        survivor = (found.trace.layout.lengths[row] * found.trace.kept[-1, row]).sum()
        assert 0 <= int(survivor) <= block_size
        assert int((kept & batch.context)[row].sum()) == size[1] - lost + int(survivor)


@every_family
def test_when_nothing_passes_the_best_block_survives(family):
    model = skim_model(family, ("tiles",), "context")
    batch = make_batch(family, [(4, 30), (2, 41)])
    likely = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).trace.probabilities[0]
    assert np.nanmax(likely) < 1.0
    found = model.skim(**batch.inputs, thresholds=[1.0, 0.0])
    layout = found.trace.layout
    assert found.trace.kept.sum(-1).tolist() == [[1, 1]]
    for row in range(2):
        best = int(np.nanargmax(likely[row]))
        first, length = int(layout.starts[row, best]), int(layout.lengths[row, best])
        places = (kept_tokens(found) & batch.context)[row].nonzero().flatten().tolist()
        assert places == list(range(first, first + length))


@every_family_and_input
@few
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(9, 40)), min_size=1, max_size=5),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    seeds,
    thresholds,
)
def test_one_block_of_a_document_survives_and_dead_windows_are_gone_whole(family, inputs, sizes, names, seed, values):
    model = skim_model(family, inputs, "context")
    batch = make_batch(family, sizes, seed)
    names = sorted(names[: len(sizes)])
    documents = torch.tensor([sorted(set(names)).index(name) for name in names])
    found = model.skim(**batch.inputs, thresholds=values, documents=documents)
    kept, left = kept_tokens(found), found.trace.kept[-1].any(-1)
    for row in range(len(sizes)):
        if left[row]:
            assert bool(kept[row][batch.real[row] & ~batch.context[row]].all())
        else:
            assert not bool(kept[row].any())
    for document in documents.unique():
        assert left[(documents == document).numpy()].any()
    # A document alone gives the same.
    rows = (documents == documents[0]).nonzero().flatten().tolist()
    alone = model.skim(**batch.rows(rows), thresholds=values, documents=torch.zeros(len(rows), dtype=torch.long))
    close(alone.start_logits, found.start_logits[rows])


def test_windows_of_one_document_share_the_last_block():
    model = skim_model("bert", ("question",), "context")
    batch = make_batch("bert", [(3, 30)] * 4)
    apart = model.skim(**batch.inputs, thresholds=[1.0, 0.0])
    assert apart.trace.kept[0].sum(-1).tolist() == [1, 1, 1, 1]
    together = model.skim(**batch.inputs, thresholds=[1.0, 0.0], documents=torch.tensor([0, 0, 1, 1]))
    assert sorted(together.trace.kept[0].sum(-1)[:2].tolist()) == [0, 1]
    assert sorted(together.trace.kept[0].sum(-1)[2:].tolist()) == [0, 1]
    likely = np.nanmax(apart.trace.probabilities[0], axis=-1)
    for first in (0, 2):
        assert int(together.trace.kept[0].any(-1)[first : first + 2].argmax()) == int(
            likely[first : first + 2].argmax()
        )
    assert bool((together.trace.flops <= apart.trace.flops).all())


def test_a_sample_without_context_runs_to_the_end():
    model = skim_model("bert", ("tiles",), "context")
    batch = make_batch("bert", [(4, 0), (3, 30)])
    found = model.skim(**batch.inputs, thresholds=1.0)
    assert torch.equal(kept_tokens(found)[0], batch.real[0])
    dense = dense_model("bert")(**batch.without_context())
    close(found.start_logits[0, batch.real[0]], dense.start_logits[0, batch.real[0]])
    only = model.skim(**make_batch("bert", [(4, 0)]).inputs, thresholds=1.0)
    assert only.trace.layers == ()
    assert np.array_equal(only.trace.flops, only.trace.dense_flops)


@every_family
def test_a_batch_without_samples_or_tokens_gives_nothing(family):
    model, batch = skim_model(family, INPUTS, "context"), make_batch(family, SIZES)
    nothing = model.skim(**batch.rows([]), thresholds=0.5)
    assert nothing.start_logits.shape == nothing.end_logits.shape == (0, batch.real.shape[1])
    assert nothing.trace.flops.tolist() == []
    masked = {name: torch.zeros_like(value) if "mask" in name else value for name, value in batch.inputs.items()}
    padding = model.skim(**masked, thresholds=0.5)
    assert not bool(kept_tokens(padding).any())
    assert padding.trace.flops.tolist() == [0] * len(SIZES)


def test_layers_with_threshold_0_are_not_asked():
    model = skim_model("bert")
    batch = make_batch("bert", SIZES)
    assert model.skim(**batch.inputs, thresholds=[0.0, 0.5]).trace.layers == (2,)
    assert model.skim(**batch.inputs, thresholds=[0.5, 0.0]).trace.layers == (1,)
    assert model.skim(**batch.inputs, thresholds=[0.5, 0.0], score_all_layers=True).trace.layers == (1, 2)


@pytest.mark.parametrize("values", [1.5, -0.1, [0.5], [0.5, 0.5, 0.5], [0.5, 2.0], math.nan])
def test_impossible_thresholds_are_refused(values):
    with pytest.raises(ConfigError):
        skim_model("bert").skim(**make_batch("bert", SIZES).inputs, thresholds=values)


def test_skimming_needs_to_know_the_context():
    batch = make_batch("bert", SIZES)
    with pytest.raises(ModelError, match="context_mask"):
        skim_model("bert").skim(**batch.without_context(), thresholds=0.5)
    found = skim_model("bert").skim(**batch.without_context(), thresholds=0.0)
    assert torch.equal(kept_tokens(found), batch.real)


def test_skimming_has_no_gradient_and_leaves_the_weights_alone():
    model = skim_model("bert")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = model.skim(**make_batch("bert", SIZES).inputs, thresholds=0.5)
    assert not found.start_logits.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
