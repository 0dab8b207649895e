"""Callbacks of transformers' trainer: what is told of a run, which checkpoints it writes, and which is its best."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


def steps_bar(console: Console, transient: bool = False) -> Progress:
    """A bar with what is done, of how much, and the time left; if ``transient``, it goes when it is full."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console, transient=transient)


class ProgressCallback(TrainerCallback):
    """Shows steps, loss and time left on a console."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``."""
        self.progress = steps_bar(console)
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


class RunLines(Protocol):
    """Lines about a run for logs; what is counted gets one now and then."""

    def print(self, line: str, /) -> None:
        """Write a line at once."""

    def begin(self, unit: str, total: int | None = None, done: int = 0) -> None:
        """Start to count."""

    def reach(self, done: int, note: str = "") -> None:
        """So many are done; write a line if it is time for one."""


class LinesCallback(TrainerCallback):
    """Tells of a run in lines: how it begins, its steps now and then, each evaluation and each checkpoint."""

    def __init__(self, lines: RunLines, start: str) -> None:
        """Write ``lines``; ``start`` says what is trained on."""
        self.lines = lines
        self.start = start
        self.note = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell what begins, and where a resumed run goes on."""
        number_format = "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32"
        after = f", going on after step {state.global_step:,}" if state.global_step else ""
        self.lines.print(f"{self.start}, {state.max_steps:,} steps, {args.device}, {number_format}{after}")
        self.lines.begin("steps", state.max_steps, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count a step."""
        self.lines.reach(state.global_step, self.note)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take down the loss."""
        logs: dict[str, float] = kwargs.get("logs") or {}
        if "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}"

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell of an evaluation."""
        metrics: dict[str, float] = kwargs.get("metrics") or {}
        names = (("eval_exact_match", "exact match"), ("eval_f1", "F1"))
        scores = "".join(f", {label} {metrics[name]:.2f}" for name, label in names if name in metrics)
        self.lines.print(f"evaluated at step {state.global_step:,}{scores}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell of a checkpoint."""
        self.lines.print(f"saved checkpoint-{state.global_step}")


class BestCallback(TrainerCallback):
    """Sets which checkpoint a resumed run takes for the best one so far."""

    def __init__(self, best: Path | None) -> None:
        """Take ``best``; None to forget what came before."""
        self.best = best

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Correct what the checkpoint says."""
        if self.best is None:
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None
        else:
            state.best_model_checkpoint = str(self.best)


class CheckpointCallback(TrainerCallback):
    """Saves a checkpoint every so many steps, whatever else a run saves."""

    def __init__(self, every: int) -> None:
        """Save every ``every`` steps."""
        self.every = every

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint if it is time for one, and an epoch does not end here.

        There the run saves after it has evaluated. A checkpoint before that would be gone on from without evaluating.
        """
        epoch = state.epoch or 0.0
        ends = state.global_step >= state.max_steps or abs(epoch - round(epoch)) < 1e-9 * max(1.0, epoch)
        if state.global_step % self.every == 0 and not ends:
            control.should_save = True


class LogCallback(TrainerCallback):
    """Logs the losses before each evaluation and after the last step, too, however few steps a run has."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a log if this was the last step or it is evaluated here."""
        if control.should_evaluate or state.global_step >= state.max_steps:
            control.should_log = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a log if it is evaluated here."""
        if control.should_evaluate:
            control.should_log = True


class LastStepCallback(TrainerCallback):
    """Evaluates after the last step, too, as later versions of transformers than 5.3 do by themselves."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for an evaluation if this was the last step."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


class MetricsCallback(TrainerCallback):
    """Hands on the metrics of each evaluation."""

    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        """Call ``report`` with step, epoch and metrics."""
        self.report = report

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the evaluation that just ended."""
        metrics = {name.removeprefix("eval_"): value for name, value in (kwargs.get("metrics") or {}).items()}
        self.report({"step": state.global_step, "epoch": round(float(state.epoch or 0.0), 3), **metrics})
