"""``blockskim prune-heads``: a copy of a model without the attention heads that matter least."""

from pathlib import Path
from typing import Annotated, Any

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Computing, Printing, Selection, Windowing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import window_progress
from blockskim.cli.session import describe, fit_windows, hide_foreign_progress, load_model, read_selected


@takes_groups
def prune_heads(
    data: Annotated[
        list[Path], typer.Option("--data", metavar="FILE", help="Data on which it is found out which heads matter.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", parser=options.output_path, metavar="DIR", help="New directory for the pruned copy."),
    ],
    more: options.MoreFiles = None,
    per_layer: Annotated[
        int | None, typer.Option("--per-layer", min=1, metavar="K", help="Remove K heads of every layer.")
    ] = None,
    total: Annotated[
        int | None,
        typer.Option("--total", min=1, metavar="K", help="Remove K heads of all layers together, one a layer stays."),
    ] = None,
    selection: Selection = Selection(),
    windowing: Windowing = Windowing(batch_size=16),
    model: options.Model = None,
    device: options.DeviceName = options.Device.AUTO,
    threads: options.Threads = None,
    printing: Printing = Printing(),
) -> None:
    """Remove the attention heads that matter least for the answers.

    How much a head matters is the size of the loss's derivative by a factor on what it gives (Michel et al., 2019).
    The result can be pruned again, and wants some training: blockskim train --base DIR. Its thresholds are those of
    before; calibrate it anew.
    """
    options.set_up(printing.quiet)
    if (per_layer is None) == (total is None):
        raise typer.BadParameter("give either --per-layer or --total")
    options.check_new_output(output)
    examples = read_selected(data, more, selection)

    from blockskim.method.cost import dense_flops
    from blockskim.model.head_removal import check_prunable
    from blockskim.model.stored_weights import provenance
    from blockskim.surgery.head_pruning import answerable_windows, head_importance, least_important, save_pruned

    hide_foreign_progress()
    # Gradients are small numbers, and what is written is read from here: full precision.
    loaded = load_model(Computing(model, device, options.Dtype.FLOAT32, threads))
    network = loaded.model
    settings = fit_windows(loaded, windowing)
    # Impossible numbers, families whose heads can't go and a hub out of reach are told of before the long part.
    papers = provenance(loaded.name, loaded.hub)
    check_prunable(network.adapter, network.backbone.layers)
    numbers = range(1, len(network.cost.layers) + 1)
    least_important({layer: dict.fromkeys(network.heads_of(layer), 0.0) for layer in numbers}, per_layer, total)
    windows = answerable_windows(examples, loaded.tokenizer, settings)
    start = describe("asking which heads matter", network, windows, windowing.batch_size)
    with window_progress(printing.quiet, len(windows), start) as bar:
        importance = head_importance(network, windows, windowing.batch_size, bar.advance)
    removed = least_important(importance, per_layer, total)
    before = int(dense_flops(network.cost, windows.lengths).sum())
    network.prune_heads(removed)
    after = int(dense_flops(network.cost, windows.lengths).sum())
    save_pruned(network, loaded.tokenizer, papers, importance, removed, output)
    figures: dict[str, Any] = {
        "examples": len(windows.examples),
        "windows": len(windows),
        "removed": removed,
        "pruned_heads": network.pruned_heads,
        "importance": importance,
        "dense_flops_per_example": after / len(windows.examples),
        "flops_speedup": before / after,
    }
    if printing.as_json:
        print_json(figures)
    else:
        _show(figures, output)
    if not loaded.skims and not printing.quiet:
        typer.echo("warning: the predictors of the copy are new and know nothing; train it before it skims", err=True)


def _show(figures: dict[str, Any], output: Path) -> None:
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    for name in ("layer", "importance of its heads, from the first", "removed"):
        table.add_column(name)
    for layer, scores in figures["importance"].items():
        gone = ", ".join(map(str, figures["removed"].get(layer, ()))) or "–"
        table.add_row(str(layer), " ".join(f"{head}: {score:.3f}" for head, score in scores.items()), gone)
    out.print(f"{figures['examples']:,} examples, {figures['windows']:,} windows")
    out.print(table)
    out.print(f"FLOPs of a dense run: 1/{figures['flops_speedup']:.3f} of what it was")
    out.print(f"written to {output}", markup=False)
