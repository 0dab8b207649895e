"""What both engines make of the same windows, as an export tells it."""

import pytest
import torch

from blockskim.exporting.agreement import measure_agreement
from tiny_answerers import new_model
from tiny_exports import exported_answerer
from tiny_tokenizers import fixed_tokenizer


@pytest.fixture(scope="module")
def export():
    return exported_answerer()


@pytest.fixture
def model(export):
    """The model that was exported, to be changed."""
    copy = new_model("wordpiece", points={"exact": 0.0, "fast": [0.6, 0.7]})
    copy.load_state_dict(export.model.state_dict())
    copy.skim_config.thresholds = export.model.skim_config.thresholds
    return copy.float().eval()


def measured(model, export):
    from blockskim.data.tokens import freeze_tokenizer

    return measure_agreement(model, export.exported, freeze_tokenizer(fixed_tokenizer("wordpiece")))


def test_a_graph_agrees_with_what_it_was_made_of(export):
    found = measured(export.model, export)
    assert found.windows >= 3
    assert 0.0 <= found.largest_difference < 1e-4
    assert found.same_blocks == pytest.approx(1.0, abs=0.01)


def test_other_weights_are_seen(export, model):
    with torch.no_grad():
        model.qa_outputs.bias += torch.tensor([0.0, 0.5])
    assert measured(model, export).largest_difference == pytest.approx(0.5, abs=1e-3)


def test_other_thresholds_keep_other_blocks(export, model):
    model.skim_config.thresholds = 1.0
    assert measured(model, export).same_blocks < 0.9


def test_of_a_model_that_drops_nothing_no_blocks_are_compared(export, model):
    model.skim_config.thresholds = 0.0
    assert measured(model, export).same_blocks is None
