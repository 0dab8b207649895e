"""transformers' Trainer with what joint training needs: several losses and learning rates, QA evaluation."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from blockskim.atomic import write_errors_named
from blockskim.data.window_files import StoredWindows
from blockskim.data.windows import WindowSet
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.objective import joint_loss
from blockskim.model.outputs import BlockSkimOutput
from blockskim.training.distillation import Teacher
from blockskim.training.distillation_losses import distillation_losses, holds_answer, logits_loss, surviving_tokens
from blockskim.training.loss_shares import loss_shares
from blockskim.training.processes import Processes
from blockskim.training.recipe import Recipe
from blockskim.training.resume import damage
from blockskim.training.samplers import LengthGroupedSampler, ProcessBatches

Evaluate = Callable[[BlockSkimForQuestionAnswering], dict[str, float]]


class ProcessLoader(DataLoader[dict[str, Tensor]]):
    """Loads the batches of one of several processes."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        assert isinstance(self.batch_sampler, ProcessBatches)
        self.batch_sampler.set_epoch(epoch)


class SkimTrainer(Trainer):
    """Trains a Block-Skim model on windows."""

    def __init__(
        self,
        recipe: Recipe,
        windows: WindowSet | StoredWindows,
        evaluate_model: Evaluate | None,
        teacher: Teacher | None = None,
        team: Processes | None = None,
        **kwargs: Any,
    ) -> None:
        """Train by ``recipe`` on ``windows``; ``evaluate_model`` gives the metrics of an evaluation."""
        super().__init__(train_dataset=windows, eval_dataset=windows if evaluate_model else None, **kwargs)
        self.recipe = recipe
        self.team = team or Processes()
        if self.team.count > 1:
            # With the seed of all, processes would drop the same places of different windows.
            torch.manual_seed(recipe.seed + self.team.rank)
        self.evaluate_model = evaluate_model
        self.teacher = teacher
        if teacher is not None:
            nn.Module.to(teacher.model, self.args.device)
        self._lengths = windows.lengths
        self._sums: dict[str, Tensor] = {}
        self._parts = 0
        self._windows_of_step = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        recipe = self.recipe
        return LengthGroupedSampler(self._lengths, recipe.batch_size, recipe.seed, recipe.group_by_length)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches; of several processes, those of this one."""
        if self.team.count == 1:
            return super().get_train_dataloader()
        size = self.recipe.batch_size // self.recipe.gradient_accumulation
        batches = ProcessBatches(self._get_train_sampler(), size, self.team.rank, self.team.count)
        assert self.train_dataset is not None
        pinned = self.args.dataloader_pin_memory and self.args.device.type == "cuda"
        return ProcessLoader(
            self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator, pin_memory=pinned
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The parts of a step."""
        parts, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._windows_of_step = sum(len(part["input_ids"]) for part in parts)
        return parts, count

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
        """The joint loss and those of distillation; the parts are added up for the log."""
        settings, dropping = self.recipe.distillation, self._dropping()
        states = {"output_hidden_states": True} if self.teacher is not None and settings.wants_states else {}
        output = model(**inputs, **dropping, **states)
        assert isinstance(self.model, BlockSkimForQuestionAnswering)
        distillation = self._distillation_losses(model, output, inputs, bool(dropping))
        if self.team.count > 1:
            taught, layers = self._taught(output, inputs), len(self.model.skim_layers)
            shares = loss_shares(output, taught, self.model.skim_config, layers, self.team)
            distillation = shares.apply(output, distillation)
        loss = joint_loss(output, self.model.skim_config, settings.label_weight)
        assert loss is not None
        for part in distillation.values():
            loss = loss + part
        names = ("qa_loss", "skim_loss", "teaching_loss")
        for name, part in {**{name: getattr(output, name) for name in names}, **distillation}.items():
            if part is not None:
                self._sums[name] = self._sums.get(name, torch.zeros((), device=part.device)) + part.detach()
        self._parts += 1
        loss = loss * self._share_of_step(len(inputs["input_ids"]))
        return (loss, output) if return_outputs else loss

    def _share_of_step(self, windows: int) -> float:
        """What a part of a step counts for beside the others; the last step of an epoch has parts of other sizes."""
        if self.recipe.gradient_accumulation == 1:
            return 1.0
        parts = self.current_gradient_accumulation_steps
        counts = self.team.total(torch.tensor([windows, self._windows_of_step], device=self.args.device))
        return float(counts[0] / counts[1]) * parts

    def _distillation_losses(
        self, model: nn.Module, output: BlockSkimOutput, inputs: dict[str, Any], dropping: bool
    ) -> dict[str, Tensor]:
        """What the model loses against its teacher, and, where blocks were dropped, against its own dense run."""
        settings = self.recipe.distillation
        learns_from_itself = dropping and settings.self_weight > 0
        if self.teacher is None and not learns_from_itself:
            return {}
        mask = surviving_tokens(output, inputs["attention_mask"])
        losses: dict[str, Tensor] = {}
        if self.teacher is not None:
            # The model's own forward pass is in mixed precision already; transformers' context manager no longer is.
            with self.accelerator.autocast():
                teacher_output = self.teacher.answer(inputs, settings.wants_states)
            losses |= distillation_losses(output, teacher_output, self._taught(output, inputs), settings)
        if learns_from_itself:
            # After the pass that is learned from: mixed precision keeps converted weights, and those of a pass without
            # gradients would have none.
            part = logits_loss(output, _dense_answer(model, inputs), mask, settings.temperature)
            losses["self_loss"] = settings.self_weight * part
        return losses

    def _taught(self, output: BlockSkimOutput, inputs: Mapping[str, Any]) -> Tensor:
        """The tokens of which a teacher tells something. Shape: (batch, tokens)."""
        mask = surviving_tokens(output, inputs["attention_mask"])
        if self.recipe.distillation.unanswerable:
            return mask
        return mask & holds_answer(inputs["start_positions"])[:, None]

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
        if "loss" in logs and self._parts:
            means = {name: self.team.total(value) / self.team.count for name, value in self._sums.items()}
            logs = {**logs, **{name: float(value) / self._parts for name, value in means.items()}}
            self._sums, self._parts = {}, 0
        super().log(logs, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint; when it can't be written, half of it is not left."""
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            with write_errors_named(folder, folder):
                super()._save_checkpoint(model, trial)
        except BaseException:
            if self.team.is_first and damage(folder, self.team.count) is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Answer the development questions and report official scores and how good the predictors are."""
        assert self.evaluate_model is not None
        model = self.model
        assert isinstance(model, BlockSkimForQuestionAnswering)
        training = model.training
        model.eval()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.evaluate_model(model).items()}
        model.train(training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@torch.no_grad()
def _dense_answer(model: nn.Module, inputs: Mapping[str, Any]) -> BlockSkimOutput:
    """What a model in training answers when it reads everything, without dropout."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    model.eval()
    try:
        # Without a context mask no predictor is asked, and no batch norm counts the batch twice.
        answer: BlockSkimOutput = model(**{name: inputs[name] for name in names if name in inputs})
    finally:
        model.train()
    return answer


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
