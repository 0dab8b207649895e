import pytest
import torch
from torch import nn

from blockskim.encoders import adapter_for, supported_types
from blockskim.encoders.positions import Positions
from blockskim.errors import ModelError
from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from layers_by_hand import layers_of
from strategies import every_family
from tiny_models import FAMILIES, SIZES, dense_model, make_batch, new_dense_model

LENGTHS = [(4, 30), (2, 12)]


def encoder_of(family):
    return dense_model(family).base_model


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_every_supported_family_is_tested():
    assert set(FAMILIES) == set(supported_types())


def test_an_unsupported_family_is_refused_with_those_that_are():
    with pytest.raises(ModelError, match=f"'t5'.*{', '.join(supported_types())}"):
        adapter_for("t5")


@every_family
def test_layers_first_to_last(family):
    layers = adapter_for(family).layers(encoder_of(family))
    assert len(layers) == SIZES["num_hidden_layers"]
    assert list(layers) == layers_of(dense_model(family))


@every_family
@pytest.mark.parametrize("packed", [False, True])
def test_embedding_is_what_enters_the_first_layer(family, packed):
    batch = make_batch(family, LENGTHS, padding=3)
    with torch.no_grad():
        expected = dense_model(family)(**batch.without_context(), output_hidden_states=True).hidden_states[0]
    ids, types = batch.inputs["input_ids"], batch.inputs.get("token_type_ids")
    positions = (batch.real.long().cumsum(-1) - 1).clamp_min(0)
    if packed:
        ids, positions = ids[batch.real][None], positions[batch.real][None]
        types = None if types is None else types[batch.real][None]
    found = adapter_for(family).embed(encoder_of(family), ids, types, positions)
    close(found[0] if packed else found[batch.real], expected[batch.real])


@every_family
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_pieces_of_a_layer_make_up_the_layer(family, number):
    adapter = adapter_for(family)
    batch = make_batch(family, [(4, 30)])
    with torch.no_grad():
        states = dense_model(family)(**batch.without_context(), output_hidden_states=True).hidden_states
        layer = adapter.layers(encoder_of(family))[number]
        # Tokens in any leading shape: packed, without a batch.
        query, key, value = adapter.project(layer, states[number][0])
        places = torch.arange(len(query))
        placement = Positions(encoder_of(family), adapter, places, [places], len(places) - 1)
        placed = placement.apply(layer, query, key, adapter.scale(layer))
        scores = torch.einsum("qhd,khd->hqk", placed.query, placed.key) * adapter.scale(layer)
        if placed.biases is not None:
            scores = scores + placed.biases[0]
        attn_output = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).flatten(1)
        found = adapter.finish(layer, attn_output, states[number][0])
        if number == 2 and adapter.final_norm is not None:
            found = adapter.final_norm(encoder_of(family), found)
        close(found, states[number + 1][0])


@every_family
def test_dims_and_linear_layers_are_those_of_the_layer(family):
    adapter = adapter_for(family)
    layer = adapter.layers(encoder_of(family))[0]
    assert adapter.dims(layer) == LayerDims(32, 4, 8)
    before, after = adapter.linears(layer)
    listed = {id(module) for module in (*before, *after)}
    assert listed == {id(module) for module in layer.modules() if isinstance(module, nn.Linear)}
    assert sum(module.out_features for module in before) == 3 * 32
    # A gated feed-forward part is as wide again.
    assert [module.out_features for module in after] == [32, 96 if family == "modernbert" else 48, 32]
    embedding = {
        id(module)
        for module in encoder_of(family).modules()
        if isinstance(module, nn.Linear)
        and not any(module is part for layer in layers_of(dense_model(family)) for part in layer.modules())
    }
    assert {id(module) for module in adapter.embedding_linears(encoder_of(family))} == embedding


def test_electra_projects_its_embedding():
    assert len(adapter_for("electra").embedding_linears(encoder_of("electra"))) == 1


@every_family
def test_attention_dropout_is_that_of_the_config(family):
    dense = new_dense_model(family, attention_probs_dropout_prob=0.375, hidden_dropout_prob=0.25)
    adapter = adapter_for(family)
    assert [adapter.attention_dropout(layer) for layer in adapter.layers(dense.base_model)] == [0.375] * 3


@every_family
def test_attention_dropout_can_be_set(family):
    dense = new_dense_model(family)
    adapter = adapter_for(family)
    first, second, _ = adapter.layers(dense.base_model)
    adapter.set_attention_dropout(first, 0.0)
    # Layers that share their weights share this, too.
    assert (adapter.attention_dropout(first), adapter.attention_dropout(second)) == (
        0.0,
        0.0 if second is first else 0.1,
    )


def test_only_mpnet_has_a_position_bias():
    assert [name for name in FAMILIES if adapter_for(name).position_bias is not None] == ["mpnet"]


def test_mpnet_bias_is_that_of_transformers_for_any_positions():
    encoder = encoder_of("mpnet")
    places = torch.tensor([0, 3, 4, 90, 150])
    bias = adapter_for("mpnet").position_bias
    with torch.no_grad():
        expected = encoder.encoder.compute_position_bias(torch.zeros(1, 151))[0]
        assert torch.equal(bias(encoder, places, places), expected[:, places][..., places])
        rows, columns = places[None, :3].expand(2, 3), places[None, 2:].expand(2, 3)
        assert torch.equal(bias(encoder, rows, columns)[1], expected[:, places[:3]][..., places[2:]])


def test_a_model_as_deep_as_bert_large_skims_to_the_dense_logits():
    large = {"num_hidden_layers": 24, "num_attention_heads": 16, "hidden_size": 32, "initializer_range": 0.05}
    dense = new_dense_model("bert", **large)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, SkimConfig.paper(block_size=8)).eval()
    model.has_trained_predictors = True  # not so, but they are to be asked
    batch = make_batch("bert", LENGTHS, padding=2)
    assert model.skim_layers == tuple(range(1, 24))
    assert model.predictors["23"].branches["tiles"][0].in_channels == 16
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[batch.real]
        close(model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).start_logits[batch.real], expected)
        masked = model(**batch.inputs, thresholds=0.5).start_logits
    close(model.skim(**batch.inputs, thresholds=0.5).start_logits[batch.real], masked[batch.real])
