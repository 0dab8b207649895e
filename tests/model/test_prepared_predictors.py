import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from blockskim.method.config import INPUTS
from blockskim.method.predictors import tiles
from blockskim.method.predictors.match import MatchPredictor
from blockskim.method.predictors.predictor import keep_probabilities
from blockskim.model.prepared_predictors import prepare_predictor
from strategies import every_combination, every_input, pairs
from tiny_models import INPUT_SETS, make_batch, new_skim_model, skim_model, views_of

BATCH = make_batch("bert", [(4, 60), (2, 41), (6, 12), (3, 0)])


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def skim_views(model, batch=BATCH):
    with views_of(model) as views:
        model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)
    return views


def ready_of(model):
    model.prepare()
    return model.prepared.current.predictors


def by_modules(model, views):
    """What the predictors' own modules say to views, by layer number."""
    with torch.no_grad():
        return {number: keep_probabilities(model.predictors[str(number)](view)) for number, view in views.items()}


@every_combination
def test_judges_say_what_predictors_say(family, inputs, alignment):
    model = skim_model(family, inputs, alignment)
    views = skim_views(model, make_batch(family, BATCH.sizes))
    expected = by_modules(model, views)
    with torch.inference_mode():
        predictors = ready_of(model)
        assert list(predictors) == [1, 2]
        for number, view in views.items():
            found = predictors[number].probabilities(view)
            assert (found.dtype, found.shape) == (torch.float32, (len(view.tokens),))
            close(found, expected[number])
            assert predictors[number].wants_attention is model.predictors[str(number)].wants_attention


@every_input
def test_inference_runs_the_form_that_each_kind_has_for_it(inputs):
    model = new_skim_model("bert", inputs, "context")
    views = skim_views(model)
    called = []
    for predictor in model.predictors.values():
        predictor.register_forward_pre_hook(lambda *given: called.append(given))
    with torch.inference_mode():
        for number, ready in ready_of(model).items():
            ready.probabilities(views[number])
    assert not called


@pytest.mark.parametrize("blocks", [1, 2, 7, 8, 9, 16])
@every_input
def test_any_number_of_blocks_is_judged_each_by_itself(inputs, blocks):
    model = skim_model("bert", inputs, "context")
    whole, part = (skim_views(model, make_batch("bert", [(4, 8 * count)]))[1] for count in (16, blocks))
    with torch.inference_mode():
        found = prepare_predictor(model.predictors["1"]).probabilities(part)
        assert len(found) == blocks
        assert len(prepare_predictor(model.predictors["1"]).probabilities(whole)) == 16
    close(found, by_modules(model, {1: part})[1])


@every_input
def test_predictors_in_bfloat16_judge_close_to_float32(inputs):
    rounded = copy.deepcopy(skim_model("bert", inputs, "context")).bfloat16()
    views = skim_views(rounded)
    exact = copy.deepcopy(rounded).float()
    with torch.inference_mode():
        for number, predictors in ready_of(rounded).items():
            found = predictors.probabilities(views[number])
            assert found.dtype == torch.float32
            expected = keep_probabilities(exact.predictors[str(number)](views[number]))
            # Pooled features are worked on in float32. Tiles are not: their network rounds four times to 8 bits, and
            # logits of up to 4 become probabilities.
            close(found, expected, atol=0.03 if "tiles" in inputs else 1e-5)


def test_networks_over_tiles_get_blocks_in_multiples(monkeypatch):
    model = new_skim_model("bert", ("tiles",), "context")
    shapes = []
    model.predictors["1"].branches["tiles"].register_forward_pre_hook(lambda _, args: shapes.append(len(args[0])))
    views = skim_views(model)
    expected = by_modules(model, views)[1]
    shapes.clear()
    for multiple, filled in ((1, 16), (5, 20), (8, 16), (32, 32)):
        monkeypatch.setattr(tiles, "BLOCKS", multiple)
        with torch.inference_mode():
            close(prepare_predictor(model.predictors["1"]).probabilities(views[1]), expected)
        assert len(expected) == 16
        assert shapes.pop() == filled


class Everything(nn.Module):
    """Keeps every block."""

    def forward(self, view):
        return torch.tensor([[-100.0, 100.0]]).expand(len(view.tokens), 2)


class EverythingUnseen(Everything):
    """And needs no attention for it."""

    wants_attention = False


def test_other_modules_are_called_as_they_are():
    view = skim_views(skim_model("bert", ("hidden",), "context"))[1]
    found = prepare_predictor(Everything())
    assert found.wants_attention
    assert found.probabilities(view).tolist() == [1.0] * 16
    assert not prepare_predictor(EverythingUnseen()).wants_attention


def test_a_model_skims_with_any_module_as_predictor():
    model = new_skim_model("bert", ("attended",), "context")
    trace = model.skim(**BATCH.inputs, thresholds=0.99).trace
    assert not np.array_equal(trace.kept[0], trace.layout.droppable)
    model.predictors["1"], model.predictors["2"] = Everything(), EverythingUnseen()
    trace = model.skim(**BATCH.inputs, thresholds=0.99).trace
    assert all(np.array_equal(kept, trace.layout.droppable) for kept in trace.kept)


def test_judges_are_made_once_while_nothing_changes():
    model = new_skim_model("bert", INPUTS, "context")
    predictors = ready_of(model)
    first = list(predictors.values())
    model.skim(**BATCH.inputs, thresholds=0.5)
    again = ready_of(model)
    assert all(one is other for one, other in zip(first, again.values(), strict=True))


def last_of(model):
    branch = branch_of(model)
    return branch.decide if isinstance(branch, MatchPredictor) else branch[-1]


def branch_of(model):
    return next(iter(model.predictors["1"].branches.values()))


def change_in_place(model):
    with torch.no_grad():
        last_of(model).bias[1] += 1.0


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3)
    labels = model.layout(*BATCH.masks).droppable.long()
    model(**BATCH.inputs, skim_labels=labels).loss.backward()
    optimizer.step()


def train_with_a_fused_optimizer(model):
    # It leaves no trace on the weights.
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3, fused=True)
    model.train()
    for _ in range(2):
        labels = model.layout(*BATCH.masks).droppable.long()
        model(**BATCH.inputs, skim_labels=labels).loss.backward()
        optimizer.step()
    model.eval()


def load(model):
    state = {
        name: value + 0.2 if name.startswith("predictors") and value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)


def replace_a_weight(model):
    last = last_of(model)
    last.weight = nn.Parameter(-last.weight.detach())


def replace_a_layer(model):
    new = nn.Linear(last_of(model).in_features, 2)
    branch = branch_of(model)
    if isinstance(branch, MatchPredictor):
        branch.decide = new
    else:
        branch[-1] = new


def replace_a_predictor(model):
    model.predictors["1"] = copy.deepcopy(new_skim_model("bert", tuple(model.predictors["1"].branches)).predictors["2"])


CHANGES = [
    change_in_place,
    step,
    train_with_a_fused_optimizer,
    load,
    replace_a_weight,
    replace_a_layer,
    replace_a_predictor,
]


@pairs(("change", "inputs"), CHANGES, INPUT_SETS)
def test_what_changes_in_a_predictor_changes_its_judgement(change, inputs):
    model = new_skim_model("bert", inputs, "context")

    def droppable():
        trace = model.skim(**BATCH.inputs, thresholds=0.0, score_all_layers=True).trace
        return torch.from_numpy(trace.probabilities).nan_to_num()

    before = droppable()
    change(model)
    after = droppable()
    with torch.no_grad():
        dense = model(**BATCH.inputs).skim_logits.softmax(-1)[..., 1].transpose(0, 1)
    close(after, dense.nan_to_num(), atol=1e-4)
    assert float((after - before).abs().max()) > 1e-3


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_a_model_judge_for_themselves(duplicate):
    model = new_skim_model("bert", INPUTS, "context")
    before = model.skim(**BATCH.inputs, thresholds=0.5).trace
    other = duplicate(model)
    assert np.array_equal(other.skim(**BATCH.inputs, thresholds=0.5).trace.kept, before.kept)
    change_in_place(other)
    probabilities = [one.skim(**BATCH.inputs, thresholds=0.5).trace.probabilities[0] for one in (model, other)]
    assert np.array_equal(probabilities[0], before.probabilities[0], equal_nan=True)
    assert not np.array_equal(probabilities[1], before.probabilities[0], equal_nan=True)


class Adapted(nn.Module):
    """A layer with an adapter around it, as PEFT makes them: it shows the weights of the layer inside."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.more = nn.Linear(base_layer.in_features, base_layer.out_features)

    @property
    def weight(self):
        return self.base_layer.weight

    @property
    def bias(self):
        return self.base_layer.bias

    def forward(self, values):
        return self.base_layer(values) + self.more(values)


@pytest.mark.parametrize(
    ("kind", "place"), [("match", "block"), ("match", "decide"), ("question", "1"), ("hidden", "3")]
)
def test_what_is_around_a_layer_counts(kind, place):
    model = new_skim_model("bert", inputs=(kind,))
    for predictor in model.predictors.values():
        branch = predictor.branches[kind]
        setattr(branch, place, Adapted(getattr(branch, place)))
    views = skim_views(model)
    expected = by_modules(model, views)
    with torch.no_grad():
        for number, ready in ready_of(model).items():
            close(ready.probabilities(views[number]), expected[number])
