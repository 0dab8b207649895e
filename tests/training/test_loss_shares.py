"""Losses of parts of a batch, each multiplied by its share, have those of the whole batch as their mean."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.collate import training_collator
from blockskim.data.windows import make_windows
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training.distillation_losses import distillation_losses, surviving_tokens
from blockskim.training.distillation_settings import DistillationSettings
from blockskim.training.loss_shares import loss_shares
from blockskim.training.processes import Processes
from synthetic_task import examples
from tiny_models import new_dense_model
from tiny_tokenizers import word_piece
from training_runs import short_recipe

LESSONS = DistillationSettings(weight=0.4, hidden_weight=0.5, attention_weight=0.3)


@pytest.fixture(scope="module")
def scene():
    """A model without batch norm, another one, and windows."""
    tokenizer = word_piece()
    models = []
    for seed in (0, 1):
        config = SkimConfig(
            block_size=8, inputs=("match",), balance_factor=7.0, neighbor_relevance=0.3, teaching_factor=0.5
        )
        torch.manual_seed(seed)
        dense = new_dense_model("bert", seed, vocab_size=len(tokenizer), initializer_range=0.3)
        models.append(BlockSkimForQuestionAnswering.from_backbone(dense, config).eval())
    windows = make_windows(examples(12, 3), tokenizer, short_recipe().windows)
    return *models, windows, training_collator(windows.template.pad_id)


@dataclass(frozen=True)
class Noting(Processes):
    """Processes of which each notes what it weighs."""

    noted: list = field(default_factory=list)

    def total(self, values):
        self.noted.append(values)
        return values


@dataclass(frozen=True)
class Knowing(Processes):
    """Processes that know what all of them weigh."""

    weights: object = None

    def total(self, values):
        return self.weights


@given(
    order=st.permutations(range(12)),
    cuts=st.lists(st.integers(1, 11), min_size=1, max_size=3, unique=True).map(sorted),
    thresholds=st.sampled_from([None, 0.4, 0.6]),
)
def test_the_mean_over_parts_is_that_of_the_whole(scene, order, cuts, thresholds):
    model, teacher, windows, collate = scene
    bounds = [0, *cuts, 12]
    parts = [order[first:end] for first, end in pairwise(bounds)]

    def losses(numbers, team=None):
        batch = collate([windows[number] for number in numbers])
        dropping = {} if thresholds is None else {"thresholds": thresholds}
        output = model(**batch, **dropping, output_hidden_states=True)
        with torch.no_grad():
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
            told = teacher(**inputs, output_hidden_states=True)
        mask = surviving_tokens(output, batch["attention_mask"])
        lessons = distillation_losses(output, told, mask, LESSONS)
        if team is not None:
            lessons = loss_shares(output, mask, model.skim_config, len(model.skim_layers), team).apply(output, lessons)
        found = {"qa": output.qa_loss, "skim": output.skim_loss, "teaching": output.teaching_loss, **lessons}
        return {name: float(value) for name, value in found.items()} | {
            f"layer {layer}": float(loss) for layer, loss in enumerate(output.layer_skim_losses)
        }

    whole = losses(order)
    noting = Noting(0, len(parts))
    for part in parts:
        losses(part, noting)
    knowing = Knowing(0, len(parts), sum(noting.noted))
    found = [losses(part, knowing) for part in parts]
    for name, value in whole.items():
        assert sum(one[name] for one in found) / len(parts) == pytest.approx(value, abs=1e-5), name
