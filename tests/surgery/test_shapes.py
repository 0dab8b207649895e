from torch import nn

from blockskim.surgery.shapes import different_parameter


def test_the_first_weight_that_differs_is_named():
    one = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 2)})
    assert different_parameter(one, nn.ModuleDict({"b": nn.Linear(3, 2), "a": nn.Linear(2, 3)})) is None
    assert different_parameter(one, nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 4)})) == "b.bias"
    assert different_parameter(one, nn.ModuleDict({"a": nn.Linear(2, 3, bias=False), "b": one["b"]})) == "a.bias"
    assert different_parameter(nn.ModuleDict(), one) == "a.bias"
