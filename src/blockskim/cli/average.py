"""``blockskim average``: one model of the weights of several."""

from pathlib import Path
from typing import Annotated

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Printing, Processor, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.session import hide_foreign_progress


@takes_groups
def average(
    models: Annotated[
        list[str],
        typer.Option("--model", metavar="DIR_OR_HUB_ID", help="Block-Skim model; twice or more, all from one start."),
    ],
    output: Annotated[
        Path, typer.Option("--output", parser=options.output_path, metavar="DIR", help="New directory for the average.")
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="W,W,…",
            help="Weight of each model, in their order; 1,3 is a quarter and three quarters.  [default: all the same]",
        ),
    ] = None,
    processor: Processor = Processor(),
    printing: Printing = Printing(),
) -> None:
    """Average the weights of models that were trained on from the same one.

    The average reads everything until blockskim calibrate has chosen thresholds for it.
    """
    options.set_up(printing.quiet)
    processor.check()
    options.check_new_output(output)
    given = None if weights is None else parse_weights(weights)

    from blockskim.surgery.averaging import average_models

    processor.set_threads()
    hide_foreign_progress()
    used = average_models(models, output, given)
    if printing.as_json:
        print_json({"models": models, "weights": list(used), "output": str(output)})
    elif not printing.quiet:
        console().print(f"the average of {len(models)} models is in {output}", markup=False)


def parse_weights(text: str) -> list[float]:
    """Numbers from a list with commas.

    Raises:
        BadParameter: one of them is no number.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r:.80} is no list of weights such as 0.5,0.5", param_hint="--weights"
        ) from None
