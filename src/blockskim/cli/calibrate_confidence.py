"""``blockskim calibrate-confidence``: scores that mean something, written into a copy of the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockskim.cli import options
from blockskim.cli.data_files import warn_of_trained_on
from blockskim.cli.option_groups import Computing, Printing, Selection, Windowing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import window_progress
from blockskim.cli.session import cut_windows, describe, load_backend, read_selected

if TYPE_CHECKING:
    from blockskim.calibration.confidence import ConfidenceFit

Data = Annotated[
    list[Path],
    typer.Option("--data", metavar="FILE", help="Data that was not trained on, with questions that have no answer."),
]
Output = Annotated[
    Path, typer.Option("--output", parser=options.output_path, metavar="DIR", help="New directory for the copy.")
]
Elsewhere = Annotated[
    float,
    typer.Option(
        "--elsewhere",
        min=0.0,
        max=1.0,
        metavar="SHARE",
        help="Share of the questions to ask once more of another text of their article or file, without their answer.",
    ),
]

NoAnswerShare = Annotated[
    float | None,
    typer.Option(
        "--no-answer-share",
        metavar="SHARE",
        help="Share of the questions in use that have no answer, where it is another than in the data.",
    ),
]


@takes_groups
def calibrate_confidence(
    data: Data,
    output: Output,
    more: options.MoreFiles = None,
    elsewhere: Elsewhere = 0.0,
    no_answer_share: NoAnswerShare = None,
    selection: Selection = Selection(),
    point: options.Point = None,
    windowing: Windowing = Windowing(),
    max_answer_len: options.MaxAnswerLength = 30,
    computing: Computing = Computing(),
    backend: options.BackendName = options.Backend.AUTO,
    printing: Printing = Printing(),
) -> None:
    """Learn how likely an answer of a score is right, and when to say that there is none.

    The copy gives each answer a confidence, the probability that it is right, on one scale for one text, for several
    and for "no answer". The threshold for "no answer" is the highest whose F1 on the data is at most one standard error
    below the best, and keeps half of what "no answer" gains.
    """
    options.set_up(printing.quiet)
    options.check_new_output(output)
    examples = read_selected(data, more, selection)

    from blockskim.calibration.confidence import calibrate_confidence as fit
    from blockskim.calibration.confidence import check_outcomes, save_with_confidence
    from blockskim.data.other_contexts import asked_elsewhere
    from blockskim.inference.operating_point import choose_thresholds
    from blockskim.surgery.settings_copy import check_has_settings

    loaded = load_backend(computing, backend)
    check_has_settings(loaded)
    examples = [*examples, *asked_elsewhere(examples, elsewhere)]
    check_outcomes(examples)
    warn_of_trained_on(loaded.name, examples, selection.hold_out)
    thresholds = choose_thresholds(loaded.model, point=point, name=loaded.name)
    windows = cut_windows(loaded, examples, windowing)
    start = describe("calibrating", loaded.model, windows, windowing.batch_size)
    with window_progress(printing.quiet, len(windows), start) as bar:
        fitted = fit(
            loaded.model, windows, windowing.batch_size, thresholds, max_answer_len, bar.advance, no_answer_share
        )
    save_with_confidence(loaded, fitted.model, output)
    if printing.as_json:
        print_json({**fitted.summary(), "output": str(output)})
    elif not printing.quiet:
        _show(fitted, output)


def _show(fitted: "ConfidenceFit", output: Path) -> None:
    out = console()
    out.print(
        f"{fitted.right:,} right answers, {fitted.wrong:,} wrong ones, {fitted.none:,} questions without an answer; "
        f"expected calibration error {fitted.error:.3f} on these data"
    )
    out.print(f'"no answer" is given from a confidence of {fitted.model.no_answer_threshold:.3f}')
    out.print(f"written to {output}", markup=False)
