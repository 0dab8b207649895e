"""``blockskim export``: a model for ONNX Runtime, that answers without PyTorch."""

from pathlib import Path
from typing import Annotated

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Printing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.session import hide_foreign_progress
from blockskim.extras import torch_needed

FORMATS = ("onnx",)


@takes_groups
def export(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            parser=options.output_path,
            metavar="DIR",
            help="New directory for it; or the model's own, which gets the graph beside what is there.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="DIR_OR_HUB_ID", help="What to export.  [default: the shipped model]"),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="What to write; onnx is all there is.")] = "onnx",
    printing: Printing = Printing(),
) -> None:
    """Export a model as one ONNX graph that drops tokens inside.

    The directory holds graph, weights, tokenizer and operating points. blockskim answers with it without PyTorch, and
    anything that runs ONNX can read it; it is a model for PyTorch, too.
    """
    options.set_up(printing.quiet)
    if to not in FORMATS:
        raise typer.BadParameter(f"{to!r} is unknown; there is {', '.join(FORMATS)}", param_hint="--to")
    if model is not None and output.is_dir() and Path(model).is_dir() and output.samefile(model):
        options.check_output_folder(output)
    else:
        options.check_new_output(output)
    with torch_needed():
        from blockskim.exporting.export import export as export_model

    hide_foreign_progress()
    result = export_model(model, output)
    if printing.as_json:
        print_json({"output": str(output), "graph_bytes": result.graph_bytes, "weight_bytes": result.weight_bytes})
    elif not printing.quiet:
        sizes = f"graph {result.graph_bytes / 1e6:.2f} MB, weights {result.weight_bytes / 1e6:.1f} MB"
        console().print(f"exported to {output}: {sizes}", markup=False)
