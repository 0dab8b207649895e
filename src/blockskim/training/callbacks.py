"""What a person sees of a training run: a progress bar, and a line per evaluation."""

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ProgressCallback(TrainerCallback):
    """Shows steps, loss and time left on a console."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``."""
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.task: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the bar, at the step where a resumed run goes on."""
        self.task = self.progress.add_task("training", total=state.max_steps, completed=state.global_step)
        self.progress.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar on."""
        self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Show the loss."""
        logs: dict[str, float] = kwargs.get("logs") or {}
        if "loss" in logs:
            self.progress.update(self.task, description=f"training, loss {logs['loss']:.3f}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the finished bar on the screen."""
        self.progress.stop()


class MetricsCallback(TrainerCallback):
    """Hands on the metrics of each evaluation."""

    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        """Call ``report`` with step, epoch and metrics."""
        self.report = report

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the evaluation that just ended."""
        metrics = {name.removeprefix("eval_"): value for name, value in (kwargs.get("metrics") or {}).items()}
        self.report({"step": state.global_step, "epoch": round(float(state.epoch or 0.0), 3), **metrics})


def metrics_line(metrics: dict[str, Any]) -> str:
    """One line of JSON; numbers that don't exist (no relevant block, say) are null."""
    return json.dumps({name: None if value != value else value for name, value in metrics.items()})
