"""Joint training of an encoder, its QA head and its skim predictors."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from blockskim.atomic import new_files, write_errors_named, write_whole
from blockskim.checks import check_number
from blockskim.data.collate import training_collator
from blockskim.data.examples import Example, check_annotated
from blockskim.data.tokens import freeze_tokenizer
from blockskim.data.window_files import StoredWindows
from blockskim.data.windows import STAND_IN, make_windows
from blockskim.errors import BlockSkimError, ConfigError
from blockskim.extras import has, raise_missing
from blockskim.inference.devices import choose_device
from blockskim.inference.loading import load_tokenizer
from blockskim.model.checkpoints import base_name, check_loadable, check_vocabulary
from blockskim.model.data_record import DATA_FILE, data_records, records_text
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training.callbacks import (
    BestCallback,
    CheckpointCallback,
    LastStepCallback,
    LinesCallback,
    LogCallback,
    MetricsCallback,
    ProgressCallback,
    RunLines,
)
from blockskim.training.distillation import TEACHER_FILE, check_distillation, check_same_teacher, load_teacher
from blockskim.training.initial_model import initial_model
from blockskim.training.inputs import InputMaker
from blockskim.training.model_card import finite, model_card
from blockskim.training.precision import MIXED_PRECISION, PRECISION, choose_precision
from blockskim.training.processes import Processes, join_processes
from blockskim.training.recipe import Recipe
from blockskim.training.resume import (
    CHECKPOINTS,
    INPUTS_FILE,
    RECIPE_FILE,
    best_checkpoint,
    check_same_recipe,
    find_checkpoint,
    only_run_in,
    set_aside_newer,
)
from blockskim.training.trainer import SkimTrainer
from blockskim.training.validation import development_metrics
from blockskim.training.window_cache import FOLDER, WindowCache

TENSORBOARD_VARIABLE = "TENSORBOARD_LOGGING_DIR"

CHECKPOINT_STEPS = 500
"""Between two checkpoints of a run that evaluates once an epoch."""


def train(
    base: str | Path,
    train_examples: Sequence[Example],
    dev_examples: Sequence[Example],
    output_dir: str | Path,
    recipe: Recipe | None = None,
    device: str = "auto",
    resume: bool = False,
    report: Callable[[dict[str, Any]], None] | None = None,
    console: Console | None = None,
    hold_out: float | None = None,
    teacher: str | Path | None = None,
    lines: RunLines | None = None,
    cache_dir: str | Path | None = None,
) -> BlockSkimForQuestionAnswering:
    """Train a Block-Skim model and save the best one of its evaluations.

    Training examples are tokenised into files, so that they may be more than memory holds (``StoredExamples`` keeps
    them in a file, too). Of several processes that a launcher started, each learns from its share of every batch; the
    first one's data count.

    Args:
        base: directory or hub id of an encoder, of a QA model, or of a Block-Skim model to train on.
        train_examples: what to learn from; answerable ones whose answer was not found in their context are left out, as
            are those of whose question the tokenizer leaves nothing.
        dev_examples: what to choose the best checkpoint by; with none, the last one is kept.
        output_dir: gets the model, its tokenizer, the recipe and checkpoints.
        recipe: the settings; None for ``Recipe()``, every setting at its default. The command line takes another one
            where none is named: ``Recipe.load("default")``, which trains for fewer epochs at higher rates.
        device: "auto", "cpu" or "cuda".
        resume: go on from the last checkpoint in ``output_dir``.
        report: called with the metrics of each evaluation.
        console: where to draw progress; None for nowhere.
        hold_out: share of the articles of the training files that ``dev_examples`` are of, as ``split_by_article``
            holds it out with seed 0; for the model card and for calibration. None where they are of another file.
        teacher: directory or hub id of a QA or Block-Skim model with the same vocabulary; what of it is learned, and
            how much, is in ``recipe.distillation``.
        lines: where to tell of the run in plain lines; None for nowhere.
        cache_dir: where windows are kept for other runs with the same data, tokenizer and window settings; None for the
            output, and no longer than the run.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        BlockSkimError: the training extra is not installed, nothing is left to train on, or there is nothing to
            resume from or something to overwrite; the teacher doesn't fit the model.
        DataError: there are examples whose answers are not known, by which nothing can be learned or measured.
        ModelError: there is no such base, or something of it is missing or damaged.
        ConfigError: windows are longer than the model reads, the share that was held out is impossible, a run would go
            on with other settings, data or base, or another one is writing into ``output_dir``.
        OSError: something can't be written; ``filename`` says what.

    Examples:
        >>> from blockskim import Recipe, read_examples, train
        >>> learned, held_out = list(read_examples("train.json")), list(read_examples("dev.json"))
        >>> recipe = Recipe.load("default").replace(epochs=0.5)
        >>> model = train("my-encoder", learned, held_out, "trained", recipe, device="cpu")
        >>> model.has_trained_predictors
        True
    """
    _need_training_extra()
    recipe = Recipe() if recipe is None else recipe
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"recipe is {recipe!r:.80}; it must be a Recipe, as Recipe.load reads one")
    check_distillation(recipe.distillation, teacher, recipe.predictors_only)
    if hold_out is not None and not 0 <= check_number("hold_out", hold_out) < 1:
        raise ConfigError(f"hold_out is {hold_out!r:.80}; it must be a number of at least 0 and below 1")
    check_annotated(chain(train_examples, dev_examples))
    check_loadable(base)
    output = Path(output_dir)
    team = join_processes(choose_device(device))
    recipe.part_size(team.count)
    with ExitStack() as alone:
        checkpoint = team.from_first(lambda: _checkpoint(alone, output, resume, recipe, team))
        known = output if checkpoint is not None else None
        precision = team.from_first(lambda: choose_precision(recipe.precision, choose_device(device), known))
        set_seed(recipe.seed)
        tokenizer = load_tokenizer(base)
        model = initial_model(base, recipe, (console or lines) if team.is_first else None)
        check_vocabulary(model.encoder, tokenizer, base)
        _check_positions(model, recipe)
        loaded_teacher = None
        if teacher is not None:
            loaded_teacher = load_teacher(teacher, tokenizer, model, recipe.distillation, recipe.windows.max_length)
        if checkpoint is not None:
            check_same_teacher(output, loaded_teacher)
        cache = WindowCache(output / FOLDER if cache_dir is None else Path(cache_dir), cache_dir is not None)
        maker = InputMaker(cache, freeze_tokenizer(tokenizer), recipe, console, lines)
        inputs = team.from_first(lambda: maker.make(train_examples, dev_examples, model, known, team.count))
        windows = StoredWindows(inputs.windows)
        evaluate = None
        if inputs.development:
            # The first process told of questions that are cut.
            dev_windows = make_windows(inputs.development, tokenizer, recipe.windows, stand_in=STAND_IN, warn=False)
            evaluate = development_metrics(dev_windows, 2 * recipe.batch_size, recipe.max_answer_length, team)
        if team.is_first:
            output.mkdir(parents=True, exist_ok=True)
            _write(output / RECIPE_FILE, recipe.to_dict())
            _write(output / INPUTS_FILE, {**inputs.digests, PRECISION: precision})
            data = replace(inputs.data, hold_out=None if hold_out is None else float(hold_out))
            write_whole(output / DATA_FILE, records_text([*data_records(base), data]))
            if loaded_teacher is not None:
                _write(output / TEACHER_FILE, loaded_teacher.identity())
            elif checkpoint is None:
                # That of a run which ended before its first checkpoint.
                (output / TEACHER_FILE).unlink(missing_ok=True)
            if checkpoint is not None:
                set_aside_newer(checkpoint)
        callbacks: list[TrainerCallback] = [LogCallback()]
        if not recipe.eval_steps:
            # The trainer saves where it evaluates: once an epoch, which may take hours.
            callbacks.append(CheckpointCallback(CHECKPOINT_STEPS))
        elif evaluate is not None:
            callbacks.append(LastStepCallback())
        if checkpoint is not None:
            callbacks.append(BestCallback(best_checkpoint(checkpoint, team.count)))
        if team.is_first:
            callbacks += _tellers(report, console, lines, windows)
        with _tensorboard_in(output / "tensorboard"):
            trainer = SkimTrainer(
                recipe,
                windows,
                evaluate,
                loaded_teacher,
                team,
                model=model,
                args=training_arguments(
                    output, replace(recipe, precision=precision), device, evaluate is not None, team.count
                ),
                data_collator=training_collator(windows.template.pad_id, recipe.label_evidence),
                processing_class=tokenizer,
                callbacks=callbacks,
            )
        # Metrics reach people through `report` and the console, not through print.
        trainer.remove_callback(PrinterCallback)
        # Set now, as checkpoints of the run are models, too.
        if recipe.skim.has_skim_loss:
            model.has_trained_predictors = True
        with write_errors_named(output):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        # What mixed precision put over the class's own: whoever gets the model computes in the format of its weights.
        for name in ("forward", "_original_forward"):
            model.__dict__.pop(name, None)
        model.eval()
        if not team.is_first:
            return model
        with new_files(output) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        _write(output / "training_log.json", [finite(entry) for entry in trainer.state.log_history])
        best = trainer.state.best_model_checkpoint
        card = model_card(
            base_name(base),
            data,
            recipe,
            trainer.state.log_history,
            int(best.rsplit("-", 1)[1]) if best else None,
            None if loaded_teacher is None else loaded_teacher.name,
        )
        # Names of data files need not be UTF-8.
        write_whole(output / "README.md", card.encode("utf-8", "replace"))
        if not cache.is_shared:
            cache.remove()
        return model


def training_arguments(
    output: Path, recipe: Recipe, device: str, evaluates: bool, processes: int = 1
) -> TrainingArguments:
    """The recipe in the words of transformers' Trainer, for one of several processes."""
    target = choose_device(device)
    precision = choose_precision(recipe.precision, target)
    strategy = "steps" if recipe.eval_steps else "epoch"
    arguments = TrainingArguments(
        output_dir=str(output / CHECKPOINTS),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.part_size(processes),
        gradient_accumulation_steps=recipe.gradient_accumulation,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        lr_scheduler_type="linear",
        # As a share of all steps: from 1 on it would be their number.
        warmup_steps=min(recipe.warmup, math.nextafter(1.0, 0.0)),
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=target.type == "cpu",
        eval_strategy=strategy if evaluates else "no",
        save_strategy=strategy,
        eval_steps=recipe.eval_steps or None,
        save_steps=recipe.eval_steps or CHECKPOINT_STEPS,
        save_total_limit=2,
        load_best_model_at_end=evaluates,
        metric_for_best_model="eval_selection" if evaluates else None,
        greater_is_better=True if evaluates else None,
        logging_steps=50,
        log_level_replica="error",
        report_to=["tensorboard"] if has("tensorboard") else [],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["start_positions", "end_positions"],
        dataloader_num_workers=0,
        seed=recipe.seed,
        data_seed=recipe.seed,
    )
    # A launcher has a number format of its own, by a variable that would come before the recipe's.
    arguments.mixed_precision = MIXED_PRECISION[precision]
    # One GPU a process: of several that it sees, transformers would take all, each with a batch of the recipe's size,
    # and add their losses up. Several are for several processes.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _checkpoint(alone: ExitStack, output: Path, resume: bool, recipe: Recipe, team: Processes) -> Path | None:
    """The checkpoint to go on from, under the recipe that the run began with; no other run gets in until all ends."""
    alone.enter_context(only_run_in(output))
    checkpoint = find_checkpoint(output, resume, team.count)
    if checkpoint is not None:
        check_same_recipe(output, recipe)
    return checkpoint


def _tellers(
    report: Callable[[dict[str, Any]], None] | None,
    console: Console | None,
    lines: RunLines | None,
    windows: StoredWindows,
) -> list[TrainerCallback]:
    """What tells people of the run."""
    callbacks: list[TrainerCallback] = [MetricsCallback(report)] if report else []
    if console is not None:
        callbacks.append(ProgressCallback(console))
    if lines is not None:
        start = f"training: {windows.num_examples:,} examples, {len(windows):,} windows"
        callbacks.append(LinesCallback(lines, start))
    return callbacks


def _check_positions(model: BlockSkimForQuestionAnswering, recipe: Recipe) -> None:
    """Refuse windows that a model has no positions for.

    Raises:
        ConfigError: the recipe's windows may be longer.
    """
    limit = model.position_limit
    if limit is not None and recipe.windows.max_length > limit:
        raise ConfigError(
            f"windows.max_length is {recipe.windows.max_length}, but the base reads at most {limit} tokens; "
            f"set windows.max_length to {limit} or less"
        )


@contextmanager
def _tensorboard_in(folder: Path) -> Iterator[None]:
    """Have a trainer that is made in here log into a folder, unless the environment names another one."""
    # The trainer's callback reads the variable when it is made. Left set, it would hold for every other trainer, too.
    if TENSORBOARD_VARIABLE in os.environ:
        yield
        return
    os.environ[TENSORBOARD_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(TENSORBOARD_VARIABLE, None)


def _write(path: Path, values: Any) -> None:
    write_whole(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def _need_training_extra() -> None:
    if not has("accelerate"):
        raise_missing("training needs the training extra", "train", BlockSkimError)
