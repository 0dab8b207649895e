"""The joint loss is the weighted sum of parts that have no weight on them."""

import pytest
import torch

from blockskim.errors import ConfigError
from blockskim.method.config import SkimConfig
from blockskim.model.objective import joint_loss
from blockskim.model.outputs import BlockSkimOutput
from tiny_models import make_batch, new_skim_model

SIZES = [(4, 30), (2, 41), (6, 12), (3, 0)]


def parts(**values):
    return BlockSkimOutput(**{name: torch.tensor(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("settings", "label_weight", "expected"),
    [
        ({"skim_factor": 0.5}, 1.0, 2.0 + 0.5 * 7.0),
        ({"skim_factor": 0.5}, 0.0, 0.5 * 7.0),
        ({"skim_factor": (0.5, 2.0)}, 3.0, 3.0 * 2.0 + 0.5 * 3.0 + 2.0 * 4.0),
        ({"skim_factor": 0.0, "teaching_factor": 0.25}, 1.0, 2.0 + 0.25 * 5.0),
    ],
)
def test_each_part_has_its_weight(settings, label_weight, expected):
    output = parts(qa_loss=2.0)
    output.layer_skim_losses = (torch.tensor(3.0), torch.tensor(4.0))
    if "teaching_factor" in settings:
        output.teaching_loss = torch.tensor(5.0)
    assert float(joint_loss(output, SkimConfig(**settings), label_weight)) == expected


def test_there_is_no_loss_without_a_part():
    assert joint_loss(BlockSkimOutput(), SkimConfig()) is None
    output = parts(qa_loss=2.0)
    output.layer_skim_losses = ()
    assert float(joint_loss(output, SkimConfig(skim_factor=(0.1, 0.2)))) == 2.0


def test_there_is_a_factor_per_layer():
    output = BlockSkimOutput(layer_skim_losses=(torch.tensor(3.0), torch.tensor(4.0)))
    with pytest.raises(ConfigError, match="3 skim_factor for 2 layers"):
        joint_loss(output, SkimConfig(skim_factor=(0.5, 2.0, 1.0)))


def test_the_model_returns_the_parts_and_their_sum():
    model = new_skim_model("bert", ("attended",), "context")
    model.skim_config = model.skim_config.replace(skim_factor=(0.5, 2.0), teaching_factor=0.25)
    positions = torch.tensor([8, 9, 10, 0])
    output = model(**make_batch("bert", SIZES).inputs, start_positions=positions, end_positions=positions)
    first, second = output.layer_skim_losses
    torch.testing.assert_close(output.skim_loss, first + second)
    expected = output.qa_loss + 0.5 * first + 2.0 * second + 0.25 * output.teaching_loss
    torch.testing.assert_close(output.loss, expected)
    assert torch.equal(output.loss, joint_loss(output, model.skim_config))
    torch.testing.assert_close(joint_loss(output, model.skim_config, 0.0), expected - output.qa_loss)
