"""Layers that share their weights: run as often as transformers runs them, held once."""

import pytest
import torch

from blockskim.encoders import adapter_for
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.weight_snapshot import take_snapshot
from tiny_models import make_batch, new_dense_model, skim_model, spread_opinions

SIZES = [(4, 60), (2, 41), (6, 12)]
LAYOUTS = {
    # Layers that run, groups of weights, layers in a group.
    "one for all": (4, 1, 1),
    "one a layer": (3, 3, 1),
    "two groups": (6, 2, 1),
    "groups of two": (2, 1, 2),
    "two groups of two": (4, 2, 2),
    "uneven groups": (5, 3, 1),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def make(layout):
    layers, groups, inner = layout
    changes = {"num_hidden_layers": layers, "num_hidden_groups": groups, "inner_group_num": inner}
    dense = new_dense_model("albert", **changes)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, skim_model("albert", ("match",)).skim_config)
    spread_opinions(model, "albert")
    return dense, model.eval()


def modules_in_their_order(dense, batch):
    """The layer modules as transformers runs them."""
    ran = []
    hooks = [
        layer.register_forward_hook(lambda module, args, result: ran.append(module))
        for group in dense.base_model.encoder.albert_layer_groups
        for layer in group.albert_layers
    ]
    with torch.no_grad():
        dense(**batch.without_context())
    for hook in hooks:
        hook.remove()
    return ran


@every_layout
def test_layers_run_in_the_order_of_transformers(layout):
    dense, model = make(layout)
    layers, _, inner = layout
    batch = make_batch("albert", SIZES)
    assert list(adapter_for("albert").layers(dense.base_model)) == modules_in_their_order(dense, batch)
    # Every layer that runs has a predictor of its own, but for the last.
    assert model.skim_layers == tuple(range(1, layers * inner))
    assert len({id(model.predictors[str(number)]) for number in model.skim_layers}) == layers * inner - 1


@every_layout
def test_logits_are_those_of_transformers_and_dropping_is_masking(layout):
    dense, model = make(layout)
    batch = make_batch("albert", SIZES, padding=2)
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[batch.real]
        for found in (model(**batch.inputs), model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)):
            torch.testing.assert_close(found.start_logits[batch.real], expected, atol=1e-5, rtol=0)
        masked, dropped = (run(**batch.inputs, thresholds=0.5) for run in (model, model.skim))
    torch.testing.assert_close(dropped.start_logits[batch.real], masked.start_logits[batch.real], atol=1e-5, rtol=0)
    assert bool(dropped.start_logits[batch.real].isinf().any())


@pytest.mark.parametrize("layout", [(4, 1, 1), (4, 2, 1)])
def test_shared_weights_are_made_ready_and_watched_once(layout):
    _, model = make(layout)
    size = model.prepare()
    ready = model.prepared.current.layers
    assert len(ready) == 4
    assert len({id(layer) for layer in ready}) == layout[1]
    _, separate = make((4, 4, 1))
    assert size * 4 == separate.prepare() * layout[1]
    shared = {id(value) for layer in model.adapter.layers(model.encoder) for value in layer.parameters()}
    assert sorted(map(id, take_snapshot(model.adapter.layers(model.encoder)).weights)) == sorted(shared)


def test_a_change_of_shared_weights_is_a_change_of_every_layer():
    _, model = make((4, 1, 1))
    batch = make_batch("albert", SIZES)
    before = model.skim(**batch.inputs, thresholds=0.0).start_logits
    with torch.no_grad():
        model.adapter.layers(model.encoder)[0].ffn.weight.mul_(1.5)
        expected = model(**batch.inputs).start_logits
    after = model.skim(**batch.inputs, thresholds=0.0).start_logits
    torch.testing.assert_close(after[batch.real], expected[batch.real], atol=1e-5, rtol=0)
    assert not torch.allclose(after[batch.real], before[batch.real], atol=1e-3)


@every_layout
def test_saving_and_loading_keeps_shared_weights_shared(layout, tmp_path):
    _, model = make(layout)
    model.save_pretrained(tmp_path)
    loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path)
    batch = make_batch("albert", SIZES)
    expected = model.skim(**batch.inputs, thresholds=0.5).start_logits
    assert torch.equal(loaded.skim(**batch.inputs, thresholds=0.5).start_logits, expected)
    assert sum(value.numel() for value in loaded.parameters()) == sum(value.numel() for value in model.parameters())
