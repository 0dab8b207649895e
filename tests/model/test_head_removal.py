"""Models without some of their heads compute what they did with the output of those heads at zero."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.method.config import INPUTS
from blockskim.method.cost import dense_flops
from blockskim.model.config import BlockSkimConfig
from blockskim.model.head_removal import check_prunable, shares_weights
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.transformers_model import transformers_model
from blockskim.profiling.batch_aligned import skim_aligned
from strategies import families, pairs
from tiny_models import FAMILIES, INPUT_SETS, SIZES, dense_model, make_batch, new_skim_model

FIRST = {1: [2], 2: [1, 4]}
SECOND = {1: [1, 3], 3: [4]}
BOTH = {1: [1, 2, 3], 2: [1, 4], 3: [4]}
HEADS, HEAD_DIM = 4, 8
LENGTHS = [(4, 60), (2, 25), (3, 0), (6, 110)]


def can_be_pruned(family):
    model = dense_model(family)
    try:
        check_prunable(adapter_for(family), adapter_for(family).layers(model.base_model))
    except ModelError:
        return False
    return True


PRUNABLE = [family for family in FAMILIES if can_be_pruned(family)]
every_family = families(PRUNABLE)
every_family_and_input = pairs(("family", "inputs"), PRUNABLE, INPUT_SETS)


def test_families_with_separate_layers_and_projections_can_be_pruned():
    assert {"bert", "roberta", "xlm-roberta", "camembert", "electra", "mpnet"} <= set(PRUNABLE)
    for family in set(FAMILIES) - set(PRUNABLE):
        with pytest.raises(ModelError, match=r"share their weights|can't be pruned"):
            new_skim_model(family).prune_heads(FIRST)


def channels(heads):
    return [(head - 1) * HEAD_DIM + channel for head in heads for channel in range(HEAD_DIM)]


def silenced(model, heads):
    """A copy in which the output projections of some heads are zero: they say nothing, but they are there."""
    model = copy.deepcopy(model)
    layers = model.adapter.layers(model.encoder)
    with torch.no_grad():
        for layer, numbers in heads.items():
            projection = model.adapter.linears(layers[layer - 1])[1][0]
            projection.weight[:, channels(numbers)] = 0
    return model


def pruned(model, *steps):
    model = copy.deepcopy(model)
    for heads in steps:
        model.prune_heads(heads)
    return model


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def same_dense(first, second, batch):
    """Whether two models agree where nothing is dropped, padded and packed."""
    with torch.no_grad():
        outputs = [model(**batch.inputs) for model in (first, second)]
    skimmed = [model.skim(**batch.inputs, thresholds=0.0) for model in (first, second)]
    for name in ("start_logits", "end_logits"):
        close(outputs[0][name][batch.real], outputs[1][name][batch.real])
        close(skimmed[0][name], skimmed[1][name])
        close(skimmed[0][name][batch.real], outputs[0][name][batch.real])


@every_family_and_input
def test_a_pruned_model_is_one_whose_heads_say_nothing(family, inputs):
    model = new_skim_model(family, inputs)
    batch = make_batch(family, LENGTHS, padding=2)
    with torch.no_grad():
        before = model(**batch.inputs).start_logits[batch.real]
        masks = {layer: torch.ones(1, HEADS) for layer in BOTH}
        for layer, numbers in BOTH.items():
            masks[layer][:, [number - 1 for number in numbers]] = 0
        masked = model(**batch.inputs, head_masks=masks).start_logits[batch.real]
    smaller = pruned(model, FIRST, SECOND)
    same_dense(smaller, silenced(model, BOTH), batch)
    with torch.no_grad():
        after = smaller(**batch.inputs).start_logits[batch.real]
    close(after, masked)
    assert (after - before).abs().max() > 0.01
    assert smaller.pruned_heads == {layer: tuple(heads) for layer, heads in BOTH.items()}
    dims = [smaller.adapter.dims(layer) for layer in smaller.adapter.layers(smaller.encoder)]
    assert [layer.heads for layer in dims] == [1, 2, 3]
    assert smaller.heads_of(1) == (4,)


@every_family_and_input
def test_skimming_is_the_same_alone_in_a_batch_and_with_blocks_hidden_in_training(family, inputs):
    smaller = pruned(new_skim_model(family, inputs), FIRST, SECOND)
    batch = make_batch(family, LENGTHS)
    together = smaller.skim(**batch.inputs, thresholds=0.5)
    assert together.trace.kept[-1].sum() < together.trace.kept[0].size
    for row in range(len(LENGTHS)):
        alone = smaller.skim(**batch.alone(row), thresholds=0.5)
        close(alone.start_logits[0], together.start_logits[row][batch.real[row]])
    with torch.no_grad():
        dense = smaller(**batch.inputs, thresholds=0.5)
    close(dense.start_logits[batch.real], together.start_logits[batch.real])


def quiet_predictors(model, heads):
    """Put zeros where predictors read what some heads gave them, and nothing else of them is left."""
    with torch.no_grad():
        for layer, numbers in heads.items():
            if str(layer) not in model.predictors:
                continue
            places = [number - 1 for number in numbers]
            for name, branch in model.predictors[str(layer)].branches.items():
                if name == "question":
                    branch[1].weight[:, [HEADS * part + place for part in range(6) for place in places]] = 0
                elif name == "tiles":
                    branch[0].weight[:, places] = 0
                    branch[4].weight[:, places] = 0
                    area = branch[-1].in_features // HEADS
                    branch[-1].weight[:, [place * area + entry for place in places for entry in range(area)]] = 0
                else:
                    raise AssertionError(name)


@every_family
@pytest.mark.parametrize("alignment", ["sequence", "context"])
def test_predictors_over_attention_are_those_that_read_zeros(family, alignment):
    model = new_skim_model(family, ("tiles", "question"), alignment)
    batch = make_batch(family, LENGTHS)
    expected = silenced(model, BOTH)
    quiet_predictors(expected, BOTH)
    smaller = pruned(model, FIRST, SECOND)
    for threshold in (0.3, 0.6):
        found, wanted = (one.skim(**batch.inputs, thresholds=threshold) for one in (smaller, expected))
        assert np.array_equal(found.trace.kept, wanted.trace.kept)
        close(*(torch.from_numpy(one.trace.probabilities).nan_to_num(2.0) for one in (found, wanted)))
        close(found.start_logits, wanted.start_logits)
    with torch.no_grad():
        found, wanted = (one(**batch.inputs).skim_logits.nan_to_num(9.0) for one in (smaller, expected))
    close(found, wanted)


@pytest.mark.parametrize("name", ["hidden", "attended", "match"])
def test_predictors_over_states_keep_the_weights_of_the_channels_that_stay(name):
    model = new_skim_model("bert", (name,))
    smaller = pruned(model, FIRST)
    old, new = (one.predictors["2"].branches[name] for one in (model, smaller))
    width = HEADS * HEAD_DIM
    stay = channels([2, 3])
    groups = {"hidden": range(3 * width, 6 * width, width), "attended": range(0, 3 * width, width), "match": [0]}[name]
    columns = [first + channel for first in groups for channel in stay]
    if name == "hidden":
        columns = [*range(3 * width), *columns]
    norms = (old.norm, new.norm) if name == "match" else (old[0], new[0])
    pairs = [(old.block, new.block), (old.question, new.question)] if name == "match" else [(old[1], new[1])]
    assert torch.equal(norms[1].weight, norms[0].weight[columns])
    for before, after in pairs:
        assert torch.equal(after.weight, before.weight[:, columns])
        assert torch.equal(after.bias, before.bias)
    with torch.no_grad():
        # Where the norm has the same statistics, the smaller network is the one that reads zeros.
        rows = torch.randn(5, len(columns))
        full = torch.zeros(5, old[1].in_features if name != "match" else width)
        full[:, columns] = rows
        for before, after in pairs:
            close(after(rows), before(full))


@every_family
def test_saving_and_loading_a_pruned_model_changes_nothing(family, tmp_path):
    model = pruned(new_skim_model(family, INPUTS, thresholds=0.5), FIRST)
    batch = make_batch(family, LENGTHS)
    for step in ("once", "twice"):
        model.save_pretrained(tmp_path / step)
        loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path / step).eval()
        assert loaded.pruned_heads == model.pruned_heads
        found, expected = (one.skim(**batch.inputs) for one in (loaded, model))
        assert torch.equal(found.start_logits, expected.start_logits)
        assert np.array_equal(found.trace.kept, expected.trace.kept)
        assert np.array_equal(found.trace.flops, expected.trace.flops)
        if step == "once":
            # The second time what was loaded is pruned.
            loaded.prune_heads(SECOND)
            model = loaded
    again = BlockSkimForQuestionAnswering.from_backbone(model, model.skim_config).eval()
    assert again.pruned_heads == model.pruned_heads
    same_dense(again, model, batch)


def test_half_precision_stays():
    model = pruned(new_skim_model("bert", ("match", "tiles")).bfloat16(), FIRST)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model.skim(**make_batch("bert", LENGTHS).inputs, thresholds=0.5).start_logits.isfinite().any()


def test_the_layers_made_ready_for_inference_are_made_anew():
    model = new_skim_model("bert", ("match",))
    batch = make_batch("bert", LENGTHS)
    model.skim(**batch.inputs, thresholds=0.5)
    expected = pruned(model, FIRST).skim(**batch.inputs, thresholds=0.5)
    model.prune_heads(FIRST)
    assert torch.equal(model.skim(**batch.inputs, thresholds=0.5).start_logits, expected.start_logits)


@every_family
def test_arithmetic_is_that_of_the_heads_that_are_left(family):
    model = new_skim_model(family)
    smaller = pruned(model, FIRST)
    for number, (before, after) in enumerate(zip(model.cost.layers, smaller.cost.layers, strict=True), start=1):
        share = (HEADS - len(FIRST.get(number, ()))) / HEADS
        assert after.before == before.before * share
        assert after.pair == before.pair * share
        assert before.after - after.after == (1 - share) * 2 * SIZES["hidden_size"] ** 2


def test_the_closed_form_is_what_pytorch_counts():
    smaller = pruned(new_skim_model("bert"), FIRST, SECOND)
    batch = make_batch("bert", [(4, 60), (4, 60)])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        transformers_model(smaller, "eager")(**batch.without_context())
    lengths = batch.real.sum(-1).numpy()
    assert counter.get_total_flops() == dense_flops(smaller.cost, lengths).sum()
    found = smaller.skim(**batch.inputs, thresholds=0.0)
    assert int(found.trace.flops.sum()) == counter.get_total_flops()


def test_weights_that_stay_can_learn_and_the_rest_is_frozen_as_before():
    model = new_skim_model("bert", ("tiles",))
    model.requires_grad_(False)
    model.predictors.requires_grad_(True)
    model.train().prune_heads(FIRST)
    assert not any(value.requires_grad for value in model.encoder.parameters())
    assert all(value.requires_grad for value in model.predictors.parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({4: [1]}, "no layer 4"),
        ({1: [5]}, "no head 5"),
        ({1: [1, 2, 3, 4]}, "lose all of its 4 heads"),
        ({1: 2}, "must map layers to lists of heads"),
        ({3: [1], 1: [1, 2, 3, 4]}, "lose all"),
    ],
)
def test_impossible_removals_change_nothing(heads, message):
    model = new_skim_model("bert")
    with pytest.raises(ConfigError, match=message):
        model.prune_heads(heads)
    assert model.pruned_heads == {}
    assert model.config.pruned_heads == {}
    assert model.cost == new_skim_model("bert").cost


def test_a_config_whose_heads_do_not_fit_is_refused():
    encoder = new_skim_model("bert").config.encoder_config
    with pytest.raises(ConfigError, match="no layer 7"):
        BlockSkimForQuestionAnswering(BlockSkimConfig(encoder, pruned_heads={"7": [1]}))
    with pytest.raises(ConfigError, match="pruned_heads"):
        BlockSkimConfig(encoder, pruned_heads={"one": [1]})


def test_layers_that_share_weights_are_known_and_keep_their_heads():
    model = new_skim_model("bert")
    layers = model.adapter.layers(model.encoder)
    assert not shares_weights(layers)
    model.encoder.encoder.layer[1].output.dense.weight = layers[0].output.dense.weight
    assert shares_weights(model.adapter.layers(model.encoder))
    with pytest.raises(ModelError, match="share their weights"):
        model.prune_heads(FIRST)


def test_layers_with_other_modules_in_their_places_keep_their_heads():
    model = new_skim_model("bert")

    class Other(nn.Linear):
        pass

    model.encoder.encoder.layer[0].attention.self.query = Other(32, 32)
    with pytest.raises(ModelError, match="can't be pruned"):
        model.prune_heads(FIRST)


@every_family
def test_baselines_run_pruned_models_where_they_can(family):
    smaller = pruned(new_skim_model(family), FIRST)
    batch = make_batch(family, LENGTHS)
    aligned = skim_aligned(smaller, thresholds={}, **batch.inputs)
    expected = smaller.skim(**batch.inputs, thresholds=0.0)
    close(aligned.start_logits, expected.start_logits)
    if adapter_for(family).position_bias is not None:
        with pytest.raises(ConfigError, match="lost heads"):
            transformers_model(smaller, "eager")
        return
    with torch.no_grad():
        dense = transformers_model(smaller, "sdpa")(**batch.without_context())
    close(dense.start_logits[batch.real], expected.start_logits[batch.real])
