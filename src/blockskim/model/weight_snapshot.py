"""Noticing that a model's weights are no longer those that something was made from."""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from operator import is_
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class WeightSnapshot:
    """Modules as they were at some moment; cheap to compare with what they are now.

    Seen are weights that changed in place, were replaced or moved, submodules that were replaced, new hooks, and a new
    ``forward`` on a module itself. Not seen is what PyTorch keeps no account of: changes through ``.data`` or NumPy,
    and those by fused optimizers. Of weights that were made in inference mode it keeps no account at all, so they count
    as changed at any time.

    Attributes:
        modules: that were looked at.
        weights: all that is in them, each once.
        has_account: whether PyTorch keeps account of the changes of all weights.
    """

    modules: tuple[nn.Module, ...]
    weights: tuple[Tensor, ...]
    has_account: bool
    _places: tuple[tuple[Mapping[str, Any], str], ...]
    _found: tuple[object, ...]
    _versions: list[int]
    _addresses: list[int]
    _hooks: tuple[Sized, ...]
    _num_hooks: int

    def changed(self) -> bool:
        """Whether anything is another than it was."""
        return not (
            self.has_account
            and all(map(is_, [owner.get(name) for owner, name in self._places], self._found))
            and [weight._version for weight in self.weights] == self._versions
            and [weight.data_ptr() for weight in self.weights] == self._addresses
            and sum(map(len, self._hooks)) == self._num_hooks
        )

    def holds_for(self, modules: Iterable[nn.Module]) -> bool:
        """Whether these are the same modules in the same order, and nothing in them has changed."""
        given = tuple(modules)
        return len(given) == len(self.modules) and all(map(is_, given, self.modules)) and not self.changed()


def take_snapshot(modules: Iterable[nn.Module]) -> WeightSnapshot:
    """Remember modules with all that is in them."""
    chosen = tuple(modules)
    # A module that stands there several times is looked at once.
    inside = [part for module in dict.fromkeys(chosen) for part in module.modules()]
    entries = [(part._parameters, part._modules) for part in inside]
    places = tuple((owner, name) for pair in entries for owner in pair for name in owner)
    places += tuple((vars(part), "forward") for part in inside if part._parameters)
    found = tuple(owner.get(name) for owner, name in places)
    weights = tuple(value for value in found if isinstance(value, Tensor))
    has_account = not any(weight.is_inference() for weight in weights)
    hooks = tuple(part._forward_hooks for part in inside) + tuple(part._forward_pre_hooks for part in inside)
    return WeightSnapshot(
        modules=chosen,
        weights=weights,
        has_account=has_account,
        _places=places,
        _found=found,
        _versions=[weight._version for weight in weights] if has_account else [],
        _addresses=[weight.data_ptr() for weight in weights],
        _hooks=hooks,
        _num_hooks=sum(map(len, hooks)),
    )
