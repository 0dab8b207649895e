"""transformers' Trainer with what joint training needs: two losses, two learning rates, QA evaluation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer

from blockskim.data.windows import WindowSet
from blockskim.modeling import BlockSkimForQuestionAnswering
from blockskim.training.recipe import Recipe
from blockskim.training.sampling import LengthGroupedSampler

Evaluate = Callable[[BlockSkimForQuestionAnswering], dict[str, float]]


class SkimTrainer(Trainer):
    """Trains a Block-Skim model on a window set."""

    def __init__(self, recipe: Recipe, windows: WindowSet, evaluate_model: Evaluate | None, **kwargs: Any) -> None:
        """Train by ``recipe`` on ``windows``; ``evaluate_model`` gives the metrics of an evaluation."""
        super().__init__(train_dataset=windows, eval_dataset=windows if evaluate_model else None, **kwargs)
        self.recipe = recipe
        self.evaluate_model = evaluate_model
        self._lengths = windows.lengths
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return LengthGroupedSampler(
            self._lengths, self.args.train_batch_size, self.recipe.seed, self.recipe.group_by_length
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with learning rates of their own for QA head and predictors; no decay on biases and norms."""
        if self.optimizer is None:
            trained = model or self.model
            assert trained is not None
            self.optimizer = torch.optim.AdamW(
                parameter_groups(trained, self.recipe), betas=(0.9, 0.999), eps=1e-8, fused=True
            )
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The joint loss; its parts are added up for the log."""
        output = model(**inputs, **self._dropping())
        for name in ("qa_loss", "skim_loss", "teaching_loss"):
            part = getattr(output, name)
            if part is not None:
                self._sums[name] = self._sums.get(name, torch.zeros((), device=part.device)) + part.detach()
        self._steps += 1
        return (output.loss, output) if return_outputs else output.loss

    def _dropping(self) -> dict[str, float]:
        """The threshold of this step, if it is one in which blocks are dropped.

        It depends on the seed and the number of the step alone, so that a resumed run draws the same.
        """
        low, high = self.recipe.drop_thresholds
        random = np.random.default_rng([self.recipe.seed, 1, self.state.global_step])
        if random.random() >= self.recipe.drop_share:
            return {}
        return {"thresholds": float(np.exp(random.uniform(np.log(low), np.log(high))))}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, beside the loss, the means of its parts since the last time."""
        if "loss" in logs and self._steps:
            logs = {**logs, **{name: float(value) / self._steps for name, value in self._sums.items()}}
            self._sums, self._steps = {}, 0
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Answer the development questions and report official scores and how good the predictors are."""
        assert self.evaluate_model is not None
        model = self.model
        assert isinstance(model, BlockSkimForQuestionAnswering)
        training = model.training
        model.eval()
        with self.compute_loss_context_manager():
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.evaluate_model(model).items()}
        model.train(training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay."""
    rates = {
        "qa_outputs": recipe.head_learning_rate,
        "qa_transform": recipe.head_learning_rate,
        "predictors": recipe.predictor_learning_rate or recipe.head_learning_rate,
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = rates.get(name.split(".")[0], recipe.learning_rate)
            groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": recipe.weight_decay if decays else 0.0}
        for (rate, decays), parameters in groups.items()
    ]
