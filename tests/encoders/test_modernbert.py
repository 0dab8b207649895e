"""Windows, rotations, norms and the QA head of ModernBERT, on models with layers of both kinds in any order."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.kernels import packed_attention
from blockskim.method.config import INPUTS, SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_models import encoder_config, make_batch, new_dense_model, spread_opinions, views_of

SIZES = [(4, 90), (2, 41), (6, 12), (3, 0)]
FULL, LOCAL = "full_attention", "sliding_attention"
ORDERS = {
    "as in the wild": [FULL, LOCAL, LOCAL, FULL, LOCAL, LOCAL, FULL],
    "local first": [LOCAL, FULL, LOCAL, FULL],
    "local last": [FULL, LOCAL],
    "global alone": [FULL, FULL, FULL],
}
every_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def make(order, layers=None, inputs=("match",), **changes):
    dense = new_dense_model("modernbert", num_hidden_layers=len(order), layer_types=order, **changes)
    skim = SkimConfig(block_size=8, alignment="context", inputs=inputs, predictor_width=8, layers=layers)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, skim)
    spread_opinions(model, "modernbert")
    return dense, model.eval()


@every_order
def test_logits_are_those_of_transformers_and_dropping_is_masking(order):
    dense, model = make(order, inputs=INPUTS)
    batch = make_batch("modernbert", SIZES, padding=3)
    real = batch.real
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[real]
        close(model(**batch.inputs).start_logits[real], expected)
        close(model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).start_logits[real], expected)
        masked, dropped = (run(**batch.inputs, thresholds=0.5) for run in (model, model.skim))
    close(dropped.start_logits[real], masked.start_logits[real])
    assert bool(dropped.start_logits[real].isinf().any())


def by_hand(dense, batch, gone, after):
    """Start logits of one sample by transformers' model, some tokens hidden from attention behind a layer."""
    encoder = dense.base_model
    ids = batch.inputs["input_ids"]
    positions = torch.arange(ids.shape[1])[None]
    distance = (positions[0][:, None] - positions[0]).abs()
    hidden = encoder.embeddings(input_ids=ids)
    for number, layer in enumerate(encoder.layers, start=1):
        mask = torch.zeros(distance.shape)
        if layer.attention_type == LOCAL:
            mask = mask.masked_fill(distance > dense.config.local_attention // 2, -torch.inf)
        if number > after:
            mask = mask.masked_fill(gone & ~torch.eye(len(gone), dtype=torch.bool), -torch.inf)
        angles = encoder.rotary_emb(hidden, positions, layer.attention_type)
        hidden = layer(hidden, mask[None, None], angles)
    return dense.classifier(dense.head(encoder.final_norm(hidden)))[0, :, 0]


@every_order
def test_windows_and_rotations_are_those_of_the_original_positions_after_a_drop(order):
    dense, model = make(order)
    batch = make_batch("modernbert", [(4, 90)])
    first = model.skim_layers[0]
    likely = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).trace.probabilities[0, 0]
    values = [float(torch.from_numpy(likely).nanmedian()), *[0.0] * (len(model.skim_layers) - 1)]
    found = model.skim(**batch.inputs, thresholds=values).start_logits[0]
    gone = found.isinf()
    # A window reaches over the gap, and ends inside of what is left.
    assert 20 < int(gone.sum()) < 80
    with torch.no_grad():
        close(found[~gone], by_hand(dense, batch, gone, first)[~gone])


def test_a_local_layer_sees_exactly_its_window():
    # local_attention is both sides together, and what is just that far away is seen.
    dense, model = make([FULL, LOCAL], local_attention=12)
    layers = model.adapter.layers(model.encoder)
    assert [model.adapter.sliding_window(layer) for layer in layers] == [None, 6]
    assert [model.adapter.rotary_base(layer) for layer in layers] == [160_000.0, 10_000.0]
    batch = make_batch("modernbert", [(4, 30)])
    with torch.no_grad():
        attention = dense(**batch.without_context(), output_attentions=True).attentions[1][0, 0]
    assert (attention[20] > 0).nonzero().flatten().tolist() == list(range(14, 27))


@every_order
def test_predictors_stand_on_global_layers(order):
    _, model = make(order)
    full = [number for number, kind in enumerate(order, start=1) if kind == FULL]
    assert model.skim_layers == tuple(number for number in full if number < len(order))


def test_a_model_without_a_global_layer_before_the_last_wants_layers_named():
    dense = new_dense_model("modernbert", layer_types=[LOCAL, LOCAL, FULL])
    with pytest.raises(ConfigError, match="name layers from 1 to 2"):
        BlockSkimForQuestionAnswering.from_backbone(dense)
    assert BlockSkimForQuestionAnswering.from_backbone(dense, SkimConfig(layers=(2,))).skim_layers == (2,)


@pytest.mark.parametrize("inputs", [("tiles",), ("question",), INPUTS], ids="+".join)
def test_a_local_layer_may_have_a_predictor_that_sees_what_attention_did(inputs):
    order = [LOCAL, FULL, LOCAL, FULL]
    dense, model = make(order, layers=(1, 2, 3), inputs=inputs)
    batch = make_batch("modernbert", SIZES)
    with torch.no_grad():
        matrices = dense(**batch.without_context(), output_attentions=True).attentions
    for run in (model, lambda **given: model.skim(**given, thresholds=0.0, score_all_layers=True)):
        with views_of(model) as views, torch.no_grad():
            run(**batch.inputs)
        for number, view in views.items():
            tokens, question = view.tokens[:1, :8], torch.arange(1, 5)[None]
            for rows, columns in ((tokens, tokens), (tokens, question), (question, tokens)):
                found = view.attention.probabilities(rows, columns)[0]
                expected = matrices[number - 1][0][:, rows[0]][..., columns[0]]
                close(found, expected, atol=1e-6)
    with torch.no_grad():
        masked, dropped = (run(**batch.inputs, thresholds=0.5) for run in (model, model.skim))
    close(dropped.start_logits[batch.real], masked.start_logits[batch.real])


@pytest.mark.parametrize("window", [2, 40, 400])
def test_any_window(window):
    dense, model = make([FULL, LOCAL, FULL], local_attention=window)
    batch = make_batch("modernbert", SIZES, padding=2)
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[batch.real]
        close(model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real], expected)
        masked, dropped = (run(**batch.inputs, thresholds=0.5) for run in (model, model.skim))
    close(dropped.start_logits[batch.real], masked.start_logits[batch.real])


def test_the_padded_kernel_knows_windows(monkeypatch):
    _, model = make(ORDERS["as in the wild"], inputs=INPUTS)
    batch = make_batch("modernbert", SIZES)
    expected = model.skim(**batch.inputs, thresholds=0.5)
    monkeypatch.setattr(packed_attention, "has_fused_cpu", lambda: False)
    found = model.skim(**batch.inputs, thresholds=0.5)
    close(found.start_logits, expected.start_logits)
    assert np.array_equal(found.trace.kept, expected.trace.kept)


@pytest.mark.parametrize("bias", [False, True])
def test_models_with_and_without_biases(bias):
    names = ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias")
    dense, model = make([FULL, LOCAL, FULL], **dict.fromkeys(names, bias))
    assert any(name.endswith("bias") for name, _ in model.encoder.named_parameters()) == bias
    batch = make_batch("modernbert", SIZES)
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[batch.real]
    close(model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real], expected)
    assert isinstance(model.adapter.layers(model.encoder)[0].attn_norm, nn.Identity)


def test_rotations_are_exact_whatever_the_type_of_the_weights_was():
    # The tables of transformers' model are rounded with its weights; ours are not kept.
    _, model = make([FULL, LOCAL, FULL])
    batch = make_batch("modernbert", [(4, 180)])
    exact = copy.deepcopy(model)
    with torch.no_grad():
        for value in exact.parameters():
            value.copy_(value.to(torch.bfloat16))
    rounded = copy.deepcopy(model).to(torch.bfloat16).to(torch.float32)
    expected = exact.skim(**batch.inputs, thresholds=0.0).start_logits
    close(rounded.skim(**batch.inputs, thresholds=0.0).start_logits, expected)


def test_the_whole_head_of_a_checkpoint_is_taken_and_saved(tmp_path):
    dense, model = make([FULL, FULL, LOCAL])
    close(model.qa_transform.dense.weight, dense.head.dense.weight, atol=0)
    close(model.qa_outputs.weight, dense.classifier.weight, atol=0)
    model.save_pretrained(tmp_path)
    again = BlockSkimForQuestionAnswering.from_backbone(BlockSkimForQuestionAnswering.from_pretrained(tmp_path))
    batch = make_batch("modernbert", SIZES)
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[batch.real]
        close(again.eval()(**batch.inputs).start_logits[batch.real], expected)


def test_a_head_for_another_task_is_not_taken():
    config = encoder_config("modernbert", num_labels=2)
    source = AutoModelForSequenceClassification.from_config(config)
    model = BlockSkimForQuestionAnswering.from_backbone(source)
    assert not torch.equal(model.qa_outputs.weight, source.classifier.weight)


def test_scaled_rotations_are_refused():
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 160_000.0}
    config = encoder_config(
        "modernbert", rope_parameters={FULL: scaled, LOCAL: {"rope_type": "default", "rope_theta": 10_000.0}}
    )
    with pytest.raises(ModelError, match="rope_type of full_attention layers is 'linear'"):
        adapter_for("modernbert").check(config)
    dense = new_dense_model("modernbert")
    dense.config.rope_parameters[FULL] = scaled
    with pytest.raises(ModelError, match="linear"):
        BlockSkimForQuestionAnswering.from_backbone(dense)
