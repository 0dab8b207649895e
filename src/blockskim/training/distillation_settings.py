"""What a student takes from a teacher, or from itself, and how much of it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from blockskim.checks import check_known, check_range, is_whole
from blockskim.errors import ConfigError

STATE_LOSSES = ("mse", "cosine")


@dataclass(frozen=True, slots=True)
class DistillationSettings:
    """Weights of the losses of distillation, which are added to QA loss and skim loss.

    Attributes:
        label_weight: of the QA loss, by which the labels are learned. Other than 1 only with a teacher; at 0 a model
            that knows the training questions by now learns no more of them by heart.
        weight: of what is learned from the teacher's start and end logits.
        temperature: by which the logits of both are divided; the loss is multiplied by its square.
        hidden_weight: of what is learned from the teacher's hidden states, layer by layer.
        attention_weight: of what is learned from what the teacher's attention gave, before the output projection.
        state_loss: how states are compared: "mse" (mean squared difference) or "cosine" (one minus the cosine).
        layers: pairs of a layer of the student and the layer of the teacher that it is compared with, from 1; None:
            every layer of the student with one of the teacher, evenly spread.
        unanswerable: whether windows that hold no answer are learned from the teacher, too. False for a teacher that
            never saw a question without an answer, and would teach that every text holds one.
        self_weight: of what the model learns from its own dense logits in the steps in which blocks are dropped, at the
            same temperature. It needs no teacher.
    """

    label_weight: float = 1.0
    weight: float = 1.0
    temperature: float = 2.0
    hidden_weight: float = 0.0
    attention_weight: float = 0.0
    state_loss: str = "mse"
    layers: tuple[tuple[int, int], ...] | None = None
    unanswerable: bool = True
    self_weight: float = 0.0

    def __post_init__(self) -> None:
        """Bring numbers to Python's own and refuse impossible values."""
        for name in ("label_weight", "weight", "hidden_weight", "attention_weight", "self_weight", "temperature"):
            value = check_range(f"distillation.{name}", getattr(self, name), 0.0, open_low=name == "temperature")
            object.__setattr__(self, name, value)
            if math.isinf(value):
                raise ConfigError(f"distillation.{name} is {value}; it must be a finite number")
        if self.state_loss not in STATE_LOSSES:
            raise ConfigError(
                f"distillation.state_loss is {self.state_loss!r}; it must be one of {', '.join(STATE_LOSSES)}"
            )
        if not isinstance(self.unanswerable, bool):
            raise ConfigError(f"distillation.unanswerable is {self.unanswerable!r}; it must be true or false")
        if self.layers is not None:
            object.__setattr__(self, "layers", _pairs(self.layers))

    @property
    def wants_states(self) -> bool:
        """Whether anything is learned from states inside of the teacher."""
        return bool(self.hidden_weight or self.attention_weight)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the values that ``to_dict`` wrote.

        Raises:
            ConfigError: a name is unknown or a value impossible.
        """
        check_known("distillation setting", values, [item.name for item in fields(cls)])
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON and YAML know them."""
        pairs = None if self.layers is None else [list(pair) for pair in self.layers]
        return {**asdict(self), "layers": pairs}

    def layer_pairs(self, student: int, teacher: int) -> tuple[tuple[int, int], ...]:
        """The pairs of layers for a student and a teacher with so many of them.

        Raises:
            ConfigError: a layer that is named does not exist.
        """
        if self.layers is None:
            return tuple((layer, -(-layer * teacher // student)) for layer in range(1, student + 1))
        for pair in self.layers:
            for layer, count, whose in zip(pair, (student, teacher), ("model", "teacher"), strict=True):
                if layer > count:
                    raise ConfigError(
                        f"distillation.layers has {list(pair)}, but the {whose} has layers 1 to {count} only"
                    )
        return self.layers


def _pairs(value: object) -> tuple[tuple[int, int], ...]:
    items = list(value) if isinstance(value, list | tuple) else []
    for pair in items:
        numbers = pair if isinstance(pair, list | tuple) and len(pair) == 2 else [None]
        if not all(is_whole(number) and number >= 1 for number in numbers):
            raise ConfigError(f"distillation.layers has {pair!r}; it must be a layer and a teacher's layer, as [1, 2]")
    if not items:
        raise ConfigError(
            f"distillation.layers is {value!r}; it must be a list of pairs of layers, as [[1, 2], [2, 4]], or null"
        )
    return tuple((int(first), int(second)) for first, second in items)
