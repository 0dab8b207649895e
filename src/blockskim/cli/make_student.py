"""``blockskim make-student``: a smaller model of some layers of a larger one."""

from pathlib import Path
from typing import Annotated

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Printing, Processor, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.session import hide_foreign_progress

LONGEST_NUMBER = 9
"""Digits of a layer's number; Python itself refuses to read some thousands."""


@takes_groups
def make_student(
    base: Annotated[
        str, typer.Option("--base", "--model", metavar="DIR_OR_HUB_ID", help="Encoder, QA model or Block-Skim model.")
    ],
    output: Annotated[
        Path, typer.Option("--output", parser=options.output_path, metavar="DIR", help="New directory for the student.")
    ],
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="N,N,…", help="Layers that it gets, from 1, as in 2,4,6.")
    ] = None,
    every: Annotated[
        int | None, typer.Option("--every", min=1, metavar="K", help="Every K-th layer, the last one included.")
    ] = None,
    processor: Processor = Processor(),
    printing: Printing = Printing(),
) -> None:
    """Make a smaller model of some layers of a larger one.

    It gets the embeddings, these layers and the QA head, without predictors, as a checkpoint of transformers. Teach it
    with blockskim train --base STUDENT --teacher BASE.
    """
    options.set_up(printing.quiet)
    processor.check()
    if (layers is None) == (every is None):
        raise typer.BadParameter("give either --layers or --every")
    options.check_new_output(output)
    numbers = None if layers is None else parse_layers(layers)

    from blockskim.surgery.students import make_student as make

    processor.set_threads()
    hide_foreign_progress()
    chosen = make(base, output, numbers, every)
    if printing.as_json:
        print_json({"base": base, "layers": chosen, "output": str(output)})
    elif not printing.quiet:
        console().print(f"layers {', '.join(map(str, chosen))} of {base} are in {output}", markup=False)


def parse_layers(text: str) -> list[int]:
    """Numbers from a list with commas.

    Raises:
        BadParameter: one of them is no number.
    """
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) <= LONGEST_NUMBER):
            raise typer.BadParameter(f"{text!r:.80} is no list of layers such as 2,4,6", param_hint="--layers")
    return [int(word) for word in words]
