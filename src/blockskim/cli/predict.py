"""``blockskim predict``: answers to the questions of data files, written in the data's official JSON."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.atomic import write_whole
from blockskim.cli import options
from blockskim.cli.answer import NoAnswer
from blockskim.cli.option_groups import Computing, Printing, Selection, Windowing, takes_groups
from blockskim.cli.output import console, print_json, printing_beside
from blockskim.cli.progress import window_progress
from blockskim.cli.session import cut_windows, describe, load_backend, read_selected

if TYPE_CHECKING:
    from blockskim.data.examples import Example
    from blockskim.evaluation.evaluate import Evaluation

logger = logging.getLogger(__name__)

_OPTION = "--predictions"

Questions = Annotated[
    list[Path], typer.Option("--data", metavar="FILE", help="Questions to answer; may be repeated, plain or gzip.")
]
Predictions = Annotated[
    Path,
    typer.Option(
        _OPTION,
        parser=options.output_path,
        metavar="FILE",
        help="Where the answers go, in the data's official JSON.",
    ),
]


@takes_groups
def predict(
    data: Questions,
    predictions: Predictions,
    more: options.MoreFiles = None,
    selection: Selection = Selection(),
    dense: options.Dense = False,
    threshold: options.Threshold = None,
    point: options.Point = None,
    max_answer_len: options.MaxAnswerLength = 30,
    no_answer: NoAnswer = False,
    no_answer_threshold: options.NoAnswerThreshold = None,
    max_cost: options.MaxCost = None,
    windowing: Windowing = Windowing(),
    computing: Computing = Computing(),
    backend: options.BackendName = options.Backend.AUTO,
    printing: Printing = Printing(),
) -> None:
    """Answer the questions of data files that need not tell answers.

    What the files say of answers is not looked at. An answer is "" where the confidence of "no answer" is
    above its threshold: in files whose version says SQuAD 2.0, and with --no-answer in all.
    """
    options.set_up(printing.quiet)
    options.check_one_way(dense, threshold, point)
    check_predictions(predictions, [*data, *(more or [])])
    examples = read_selected(data, more, selection, "ignored")
    warn_of_no_use(no_answer_threshold, examples, no_answer)

    from blockskim.evaluation.evaluate import evaluate_windows
    from blockskim.inference.operating_point import choose_thresholds

    loaded = load_backend(computing, backend)
    thresholds = choose_thresholds(loaded.model, dense=dense, threshold=threshold, point=point, name=loaded.name)
    windows = cut_windows(loaded, examples, windowing)
    start = describe("answering", loaded.model, windows, windowing.batch_size)
    with window_progress(printing.quiet, len(windows), start) as bar:
        result = evaluate_windows(
            loaded.model,
            windows,
            windowing.batch_size,
            thresholds,
            max_answer_len,
            progress=bar.advance,
            no_answer_threshold=no_answer_threshold,
            max_cost=max_cost,
        )
    write_predictions(predictions, examples, result, no_answer)
    with printing_beside(predictions):
        if printing.as_json:
            counts = {"examples": len(examples), "windows": result.cost.windows, "seconds": result.seconds}
            print_json({**counts, "predictions": str(predictions)})
        elif not printing.quiet:
            counted = f"{len(examples):,} examples, {result.cost.windows:,} windows, {result.seconds:.1f} s"
            console().print(f"{counted}; the answers are in {predictions}", markup=False)


def check_predictions(path: Path | None, data: Sequence[Path]) -> None:
    """Refuse a file for predictions that can't be written, or that holds the questions.

    Raises:
        BadParameter: it is such a file.
    """
    options.check_writable(path, _OPTION)
    options.check_not_lost(path, data, _OPTION, "the data")


def warn_of_no_use(no_answer_threshold: float | None, examples: "Sequence[Example]", no_answer: bool = False) -> None:
    """Warn of a threshold for "no answer" where there is always an answer.

    Args:
        no_answer_threshold: that was given, None for none.
        examples: of all files.
        no_answer: whether questions of all files may have none.
    """
    from blockskim.evaluation.scoring import has_version_2

    if no_answer_threshold is not None and not no_answer and not has_version_2(examples):
        logger.warning(
            "--no-answer-threshold changes nothing: the data is not of SQuAD 2.0, so there is always an answer"
        )


def write_predictions(path: Path, examples: "Sequence[Example]", result: "Evaluation", no_answer: bool = False) -> None:
    """Write answers as official scripts take them: by question id; HotpotQA's beside the supporting facts.

    A dense run finds no such facts.

    Args:
        path: the file to write.
        examples: that were answered.
        result: their answers.
        no_answer: whether questions of all files may have none.
    """
    from blockskim.evaluation.scoring import format_of, official_predictions

    found: Mapping[str, Any] = official_predictions(examples, result.answers, result.rule, no_answer)
    if any(format_of(example) == "hotpotqa" for example in examples):
        found = {"answer": found, "sp": result.facts or {}}
    write_whole(path, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
