"""Joint training of an encoder, its QA head and its skim predictors."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from blockskim.atomic import write_whole
from blockskim.data.collate import training_collator
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSet, make_windows
from blockskim.errors import BlockSkimError, ConfigError, DataError
from blockskim.extras import has, raise_missing
from blockskim.inference.devices import choose_device, has_bfloat16
from blockskim.model.checkpoints import check_vocabulary, is_block_skim
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training.callbacks import MetricsCallback, ProgressCallback
from blockskim.training.distillation import TEACHER_FILE, load_teacher, same_teacher
from blockskim.training.model_card import base_name, model_card
from blockskim.training.recipe import Recipe
from blockskim.training.trainer import SkimTrainer
from blockskim.training.validation import development_metrics

RECIPE_FILE = "recipe.json"
CHECKPOINTS = "checkpoints"
# What dropout is called in the configs of the families.
HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "embedding_dropout", "mlp_dropout")
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")


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
    sources: Mapping[str, int] | None = None,
    teacher: str | Path | None = None,
) -> BlockSkimForQuestionAnswering:
    """Train a Block-Skim model and save the best one of its evaluations.

    Args:
        base: directory or hub id of an encoder, of a QA model, or of a Block-Skim model to train on.
        train_examples: what to learn from; answerable ones whose answer was not found in their context are left out.
        dev_examples: what to choose the best checkpoint by; with none, the last one is kept.
        output_dir: gets the model, its tokenizer, the recipe and checkpoints.
        recipe: the settings.
        device: "auto", "cpu" or "cuda".
        resume: go on from the last checkpoint in ``output_dir``.
        report: called with the metrics of each evaluation.
        console: where to draw progress; None for nowhere.
        sources: number of training questions by source, for the model card.
        teacher: directory or hub id of a QA or Block-Skim model with the same vocabulary; what of it is learned, and
            how much, is in ``recipe.distillation``.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        BlockSkimError: the training extra is not installed, nothing is left to train on, or there is nothing to
            resume from or something to overwrite; the teacher doesn't fit the model.
    """
    _need_training_extra()
    recipe = recipe or Recipe()
    _check_lessons(recipe, teacher)
    output = Path(output_dir)
    checkpoint = _checkpoint(output, resume)
    if checkpoint is not None:
        _same_recipe(output, recipe)
    set_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = _start(base, recipe, console)
    check_vocabulary(model.encoder, tokenizer, base)
    taught_by = None
    if teacher is not None:
        taught_by = load_teacher(teacher, tokenizer, model, recipe.distillation, recipe.windows.max_length)
    if checkpoint is not None:
        same_teacher(output, taught_by)
    windows = training_windows(train_examples, tokenizer, recipe)
    evaluate = None
    if dev_examples:
        chosen = sample(dev_examples, recipe.eval_examples, recipe.seed)
        development = make_windows(chosen, tokenizer, recipe.windows)
        evaluate = development_metrics(development, 2 * recipe.batch_size, recipe.max_answer_length)
    output.mkdir(parents=True, exist_ok=True)
    _write(output / RECIPE_FILE, recipe.to_dict())
    if taught_by is not None:
        _write(output / TEACHER_FILE, taught_by.identity())
    callbacks: list[TrainerCallback] = [MetricsCallback(report)] if report else []
    if console is not None:
        callbacks.append(ProgressCallback(console))
    trainer = SkimTrainer(
        recipe,
        windows,
        evaluate,
        taught_by,
        model=model,
        args=training_arguments(output, recipe, device, evaluate is not None),
        data_collator=training_collator(windows.template.pad_id, recipe.label_evidence),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    # Metrics reach people through `report` and the console, not through print.
    trainer.remove_callback(PrinterCallback)
    # Set now, as checkpoints of the run are models, too.
    if np.any(recipe.skim.skim_factor):
        model.has_trained_predictors = True
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    model.eval()
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    _write(output / "training_log.json", trainer.state.log_history)
    best = trainer.state.best_model_checkpoint
    card = model_card(
        base_name(base),
        sources or {"examples": len(train_examples)},
        recipe,
        trainer.state.log_history,
        int(best.rsplit("-", 1)[1]) if best else None,
        None if taught_by is None else taught_by.name,
    )
    write_whole(output / "README.md", card)
    return model


def training_windows(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> WindowSet:
    """Windows of the examples that can be learned from.

    Raises:
        DataError: none can.
    """
    usable = [example for example in examples if example.answers or not example.answerable]
    if not usable:
        raise DataError(f"none of {len(examples)} training examples has an answer in its context")
    return make_windows(usable, tokenizer, recipe.windows)


def sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """``count`` examples at random, in their order; all when ``count`` is 0."""
    if not count or count >= len(examples):
        return list(examples)
    chosen = np.random.default_rng(seed).choice(len(examples), count, replace=False)
    return [examples[index] for index in sorted(chosen)]


def training_arguments(output: Path, recipe: Recipe, device: str, evaluates: bool) -> TrainingArguments:
    """The recipe in the words of transformers' Trainer."""
    target = choose_device(device)
    precision = recipe.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(target) else "float32"
    if precision == "float16" and target.type == "cpu":
        raise ConfigError("precision is float16, which a CPU can't train in; choose bfloat16, float32 or auto")
    strategy = "steps" if recipe.eval_steps else "epoch"
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(output / "tensorboard"))
    return TrainingArguments(
        output_dir=str(output / CHECKPOINTS),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup,
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=target.type == "cpu",
        eval_strategy=strategy if evaluates else "no",
        save_strategy=strategy,
        eval_steps=recipe.eval_steps or None,
        save_steps=recipe.eval_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=evaluates,
        metric_for_best_model="eval_selection" if evaluates else None,
        greater_is_better=True if evaluates else None,
        logging_steps=50,
        report_to=["tensorboard"] if has("tensorboard") else [],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["start_positions", "end_positions"],
        dataloader_num_workers=0,
        seed=recipe.seed,
        data_seed=recipe.seed,
    )


def _start(base: str | Path, recipe: Recipe, console: Console | None) -> BlockSkimForQuestionAnswering:
    """The model to train: new predictors on a checkpoint, or a Block-Skim model with those it has."""
    if is_block_skim(base):
        model = BlockSkimForQuestionAnswering.from_pretrained(base, dtype=torch.float32)
        others = model.settings_needing_new_predictors(recipe.skim)
        if others and console is not None:
            console.print(f"new predictors, since the recipe has another {', '.join(others)}")
        if others:
            model = BlockSkimForQuestionAnswering.from_backbone(model, recipe.skim)
        else:
            model.skim_config = recipe.skim
    else:
        model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim, dtype=torch.float32)
    if recipe.predictors_only:
        model.requires_grad_(False)
        model.predictors.requires_grad_(True)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = recipe.hidden_dropout
    config = model.config.encoder_config
    for names, value in (
        (HIDDEN_DROPOUTS, recipe.hidden_dropout),
        (ATTENTION_DROPOUTS, recipe.attention_dropout),
    ):
        for name in names:
            if hasattr(config, name):
                setattr(config, name, value)
    for part in model.adapter.layers(model.encoder):
        model.adapter.set_attention_dropout(part, recipe.attention_dropout)
    return model


def _checkpoint(output: Path, resume: bool) -> Path | None:
    """The newest checkpoint to resume from; refuses to overwrite or to resume from nothing."""
    folder = output / CHECKPOINTS
    found = sorted(
        (path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()),
        key=lambda path: int(path.name.rsplit("-", 1)[1]),
    )
    if resume:
        if not found:
            raise BlockSkimError(f"there is no checkpoint in {folder} to resume from; start without --resume")
        return found[-1]
    if found or (output / "model.safetensors").exists():
        raise BlockSkimError(f"{output} holds a training run already; add --resume to go on, or name another folder")
    return None


def _check_lessons(recipe: Recipe, teacher: str | Path | None) -> None:
    """Refuse settings that would silently do nothing."""
    settings = recipe.distillation
    if teacher is None:
        for name in ("hidden_weight", "attention_weight", "layers"):
            if getattr(settings, name):
                raise ConfigError(f"distillation.{name} is {getattr(settings, name)}, but there is no teacher")
        # A weight of 0 for a teacher that isn't there is no mistake.
        for name, harmless in (("label_weight", (1,)), ("weight", (0, 1))):
            if getattr(settings, name) not in harmless:
                raise ConfigError(f"distillation.{name} is {getattr(settings, name)}, but there is no teacher")
    elif recipe.predictors_only:
        raise ConfigError("a teacher teaches encoder and QA head, which predictors_only leaves as they are")
    elif not (settings.weight or settings.wants_states):
        raise ConfigError("there is a teacher, but all weights of what is learned from it are 0")


def _same_recipe(output: Path, recipe: Recipe) -> None:
    # Settings that came up after the run was started have their defaults.
    stored = Recipe.from_dict(json.loads((output / RECIPE_FILE).read_text(encoding="utf-8"))).to_dict()
    stored = json.loads(json.dumps(stored))
    for name, value in json.loads(json.dumps(recipe.to_dict())).items():
        if stored.get(name) != value:
            raise ConfigError(
                f"{name} is {value} but the run in {output} was started with {stored.get(name)}; resume with the same"
            )


def _write(path: Path, values: Any) -> None:
    write_whole(path, json.dumps(values, indent=2) + "\n")


def _need_training_extra() -> None:
    if not has("accelerate"):
        raise_missing("training needs the training extra", "train", BlockSkimError)
