import types

import pytest
import torch
from torch import nn

from blockskim.model.plain_modules import apply_in_float32, has_hooks, is_plain


class Doubled(nn.Linear):
    def forward(self, rows):
        return 2 * super().forward(rows)


def replaced():
    """As accelerate does it to call hooks of its own."""
    linear = nn.Linear(3, 2)
    inner = linear.forward
    linear.forward = types.MethodType(lambda self, rows: 2 * inner(rows), linear)
    return linear


def hooked():
    linear = nn.Linear(3, 2)
    linear.register_forward_hook(lambda module, args, result: 2 * result)
    return linear


def test_a_module_is_plain_if_it_does_what_its_class_says():
    assert is_plain(nn.Linear(3, 2), (nn.Linear,))
    assert is_plain(nn.LayerNorm(3), {nn.Linear, nn.LayerNorm})
    assert not is_plain(nn.LayerNorm(3), (nn.Linear,))
    assert not is_plain(Doubled(3, 2), (nn.Linear,))
    assert not is_plain(replaced(), (nn.Linear,))


def test_hooks_are_found_before_and_after():
    linear = nn.Linear(3, 2)
    assert not has_hooks(linear)
    assert has_hooks(hooked())
    linear.register_forward_pre_hook(lambda *_: None)
    assert has_hooks(linear)


@pytest.mark.parametrize("make", [lambda: Doubled(3, 2), replaced, hooked], ids=["class", "forward", "hook"])
def test_a_linear_layer_that_does_more_is_called(make):
    linear, rows = make(), torch.ones(4, 3)
    assert torch.equal(apply_in_float32(linear, rows), linear(rows))


def test_a_plain_one_computes_in_float32():
    linear = nn.Linear(3, 2).bfloat16()
    rows = torch.rand(4, 3).bfloat16()
    expected = torch.nn.functional.linear(rows.float(), linear.weight.float(), linear.bias.float())
    assert torch.equal(apply_in_float32(linear, rows), expected)
