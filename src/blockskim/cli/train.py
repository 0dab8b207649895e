"""``blockskim train``: joint training of an encoder, its QA head and its skim predictors."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from blockskim.cli import options
from blockskim.cli.launcher import is_first_process
from blockskim.cli.option_groups import Printing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import plain_lines, progress_console
from blockskim.cli.session import hide_foreign_progress
from blockskim.cli.training_data import TrainingData, reading_progress, training_data

Base = Annotated[
    str,
    typer.Option(
        "--base", "--model", metavar="DIR_OR_HUB_ID", help="Encoder, QA model or Block-Skim model to start from."
    ),
]
TrainFiles = Annotated[
    list[Path], typer.Option("--train", metavar="FILE", help="Data to learn from; may be repeated, plain or gzip.")
]
Output = Annotated[
    Path, typer.Option("--output", parser=options.output_path, metavar="DIR", help="Where the model goes.")
]
Dev = Annotated[Path | None, typer.Option("--dev", metavar="FILE", help="Data to choose the best checkpoint by.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="NAME_OR_FILE", help="Settings: a YAML file, or one that comes along.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the recipe, as in skim.block_size=8."),
]
Teacher = Annotated[
    str | None,
    typer.Option("--teacher", metavar="DIR_OR_HUB_ID", help="QA or Block-Skim model to learn from, too."),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        parser=options.output_path,
        metavar="DIR",
        help="Where tokenised data is kept for other runs.  [default: the output, until the run has ended]",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the output.")]


@takes_groups
def train(
    base: Base,
    train_files: TrainFiles,
    output: Output,
    more: options.MoreFiles = None,
    dev: Dev = None,
    hold_out: options.HoldOut = None,
    recipe: RecipeName = "default",
    changes: Changes = None,
    teacher: Teacher = None,
    resume: Resume = False,
    cache: Cache = None,
    format: options.DataFormat = None,
    skip_bad: options.SkipBad = False,
    device: options.DeviceName = options.Device.AUTO,
    threads: options.Threads = None,
    printing: Printing = Printing(),
) -> None:
    """Train a Block-Skim model.

    The best checkpoint by the development data is kept. That data is a file of its own (--dev) or held-out articles
    of the training files (--hold-out). With a teacher (--teacher) its start and end logits are learned beside the
    answers; --set distillation.NAME=VALUE says how much, and whether states inside of it are learned, too.
    """
    # Of several processes, the first speaks for all, and tells the others what it read.
    speaks = is_first_process()
    options.set_up(printing.quiet or not speaks)
    if (dev is None) == (hold_out is None):
        raise typer.BadParameter("give development data by --dev FILE or by --hold-out FRACTION, one of them")
    options.check_output_folder(output)
    settings = parse_changes(changes or [])

    from blockskim.training.recipe import Recipe

    chosen = Recipe.load(recipe).replace(**settings)
    name, files = None if format is None else format.value, [*train_files, *(more or [])]
    lines = plain_lines(printing.quiet or not speaks)
    with ExitStack() as stack:
        data = TrainingData()
        if speaks:
            with reading_progress(printing.quiet, lines) as tell:
                folder = cache or output
                data = stack.enter_context(training_data(files, dev, hold_out, name, skip_bad, folder, tell))

        from blockskim.inference.devices import set_threads
        from blockskim.inference.loading import load_tokenizer
        from blockskim.model.checkpoints import check_loadable
        from blockskim.training import train as training

        hide_foreign_progress()
        set_threads(threads)
        check_loadable(base)
        load_tokenizer(base)
        if teacher is not None:
            check_loadable(teacher)
        training.train(
            base,
            data.train,
            data.development,
            output,
            chosen,
            device=device.value,
            resume=resume,
            report=print_json if printing.as_json else _show,
            console=None if printing.quiet or lines is not None or not speaks else progress_console(),
            lines=lines,
            hold_out=hold_out,
            teacher=teacher,
            cache_dir=cache,
        )
    if speaks and not printing.as_json and not printing.quiet:
        console().print(f"the model is in {output}", markup=False)


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """Settings from ``name=value`` words; a dot in the name leads into a group, as ``skim``.

    Raises:
        BadParameter: a word has no "=", its value is no valid YAML, or its name is set twice.
    """
    import yaml

    from blockskim.training.recipe import GROUPS, parse_yaml

    values: dict[str, Any] = {}
    names: set[str] = set()
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{change!r} is not NAME=VALUE", param_hint="--set")
        if name in names:
            raise typer.BadParameter(f"{name} is set twice; set it once", param_hint="--set")
        names.add(name)
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            why = getattr(error, "problem", None) or "it can't be read"
            message = f"the value in {change!r} is no valid YAML: {why}"
            raise typer.BadParameter(message, param_hint="--set") from error
        group, dot, rest = name.partition(".")
        if dot and group not in GROUPS:
            raise typer.BadParameter(f"{group!r} has no settings of its own", param_hint="--set")
        if dot:
            values.setdefault(group, {})[rest] = value
        elif group in GROUPS:
            raise typer.BadParameter(f"name one of its settings, as in {group}.NAME=VALUE", param_hint="--set")
        else:
            values[name] = value
    return values


def _show(metrics: dict[str, Any]) -> None:
    """The main figures of an evaluation on a line; --json has all of them."""
    line = f"step {metrics['step']:,}  epoch {metrics['epoch']:.2f}"
    for name, label in (("exact_match", "exact match"), ("f1", "F1")):
        if name in metrics:
            line += f"  {label} {metrics[name]:.2f}"
    aucs = [value for name, value in metrics.items() if name.startswith("auc_")]
    if aucs:
        line += "  predictors' AUC " + " ".join(f"{value:.3f}" for value in aucs)
    console().print(line)
