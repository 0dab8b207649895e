import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from blockskim.model.weight_snapshot import take_snapshot


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False)), nn.LayerNorm(2))


def loss(model):
    return model(torch.ones(5, 3)).square().sum()


def change_in_place(model):
    with torch.no_grad():
        model[1][1].weight.mul_(2)


def change_a_view_in_place(model):
    with torch.no_grad():
        model[0].bias[2:].zero_()


def step(model):
    loss(model).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def load(model):
    model.load_state_dict(model.state_dict())


def assign(model):
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)


def replace_a_weight(model):
    model[2].weight = nn.Parameter(model[2].weight.detach().clone())


def add_a_bias(model):
    model[1][1].bias = nn.Parameter(torch.zeros(2))


def remove_a_bias(model):
    model[0].bias = None


def move(model):
    model.to(torch.bfloat16)


def replace_a_module(model):
    model[1][1] = nn.Linear(4, 2, bias=False)


def replace_a_module_without_weights(model):
    model[1][0] = nn.Tanh()


def replace_modules_within_modules(model):
    model[1] = nn.Sequential(*model[1])


def remove_a_module(model):
    del model[2]


def normalize(model):
    parametrizations.weight_norm(model[0])


def add_a_hook(model):
    model[1].register_forward_hook(lambda *_: None)


def add_a_hook_before(model):
    model[1][0].register_forward_pre_hook(lambda *_: None)


def replace_forward(model):
    model[0].forward = lambda rows: torch.zeros(len(rows), 4)


def prune_a_weight(model):
    prune.l1_unstructured(model[0], "weight", 0.5)


@pytest.mark.parametrize(
    "change",
    [
        change_in_place,
        change_a_view_in_place,
        step,
        load,
        assign,
        replace_a_weight,
        add_a_bias,
        remove_a_bias,
        move,
        replace_a_module,
        replace_a_module_without_weights,
        replace_modules_within_modules,
        remove_a_module,
        normalize,
        add_a_hook,
        add_a_hook_before,
        replace_forward,
        prune_a_weight,
    ],
)
def test_changes_are_seen(change):
    model = make()
    watched = take_snapshot([model])
    assert not watched.changed()
    change(model)
    assert watched.changed()
    assert watched.changed()
    assert not take_snapshot([model]).changed()


def test_use_is_no_change():
    model = make()
    watched = take_snapshot(iter([model[0], model[1], model[2]]))
    loss(model).backward()
    model.zero_grad()
    model.train()
    model.eval()
    model.requires_grad_(False)
    model.state_dict()
    model.to(torch.float32)
    assert not watched.changed()
    change_in_place(model)
    assert watched.changed()


def test_a_hook_that_was_there_is_no_change_but_its_end_is():
    model = make()
    hook = model[0].register_forward_hook(lambda *_: None)
    watched = take_snapshot([model])
    loss(model)
    assert not watched.changed()
    hook.remove()
    assert watched.changed()


def test_other_modules_do_not_matter():
    model, other = make(), make()
    watched = take_snapshot([model[0]])
    for change in (change_in_place, replace_a_module, remove_a_module):
        change(model)
    change_a_view_in_place(other)
    assert not watched.changed()


def test_weights_that_were_made_in_inference_mode_count_as_changed_at_any_time():
    """PyTorch keeps no account of their changes."""
    with torch.inference_mode():
        model = make()
    assert take_snapshot([make()]).has_account
    for modules in ([model], [make(), model]):
        watched = take_snapshot(modules)
        assert not watched.has_account
        assert watched.changed()


def test_nothing_to_watch_never_changes():
    assert not take_snapshot([]).changed()
