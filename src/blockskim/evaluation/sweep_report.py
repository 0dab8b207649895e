"""Records of a sweep as a table and as pictures, beside what others have published."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from blockskim.errors import ConfigError
from blockskim.evaluation.published import PEERS
from blockskim.evaluation.sweep import SweepRecord
from blockskim.extras import load_matplotlib

_SERIES = {
    "threshold": ("one threshold in all layers", "o"),
    "front": ("calibrated front", "s"),
    "point": ("operating points", "*"),
}


def sweep_table(records: Sequence[SweepRecord], max_length: int) -> Table:
    """A line a record.

    Args:
        records: of a sweep, the dense run first.
        max_length: what padded input is padded to.
    """
    timed = any(record.wall_speedup is not None for record in records)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", ""):
        table.add_column(name, no_wrap=True)
    names = ["F1", "exact match", "F1 lost, %", "FLOPs, times less", f"against padded to {max_length}"]
    for name in [*names, *["times as fast", "seconds"] * timed]:
        table.add_column(name, justify="right")
    last = records[0].kind
    for record in records:
        if record.kind != last:
            table.add_section()
        last = record.kind
        table.add_row(
            "" if record.kind == record.name else record.kind,
            record.name,
            f"{record.f1:.2f}",
            f"{record.exact_match:.2f}",
            f"{record.f1_loss:.2f}",
            f"{record.flops_speedup:.3f}",
            f"{record.flops_speedup_padded:.3f}",
            *[_optional(record.wall_speedup, ".3f"), _optional(record.seconds, ".1f")] * timed,
        )
    return table


def save_sweep_plots(records: Sequence[SweepRecord], max_length: int, folder: Path) -> list[Path]:
    """Draw relative F1 loss against FLOPs speed-up beside published peers and, where there is time, against seconds.

    Args:
        records: of a sweep.
        max_length: what padded input is padded to.
        folder: where ``flops.png`` and ``seconds.png`` go; each appears whole or not at all.

    Returns:
        The files.

    Raises:
        ConfigError: matplotlib is not installed, or a file can't be written.
    """
    pyplot = load_matplotlib()
    paths = []
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for kind, (label, marker) in _SERIES.items():
        own = sorted((one for one in records if one.kind == kind), key=lambda one: one.flops_speedup)
        if not own:
            continue
        losses = [record.f1_loss for record in own]
        style = "none" if kind == "point" else "-"
        drawn = axes.plot(
            [record.flops_speedup for record in own],
            losses,
            marker=marker,
            linestyle=style,
            label=f"{label}, against dense without padding",
        )[0]
        axes.plot(
            [record.flops_speedup_padded for record in own],
            losses,
            marker=marker,
            linestyle="none" if kind == "point" else "--",
            color=drawn.get_color(),
            markerfacecolor="none",
            label=f"{label}, against dense padded to {max_length}",
        )
        if kind == "point":
            _name(axes, own, [record.flops_speedup for record in own])
    for peer, marker in zip(PEERS, "^vD", strict=True):
        axes.plot(
            peer.speedup,
            peer.f1_loss,
            marker=marker,
            linestyle="none",
            color="0.4",
            label=f"{peer.name}, BERT-base: as published, against padded input",
        )
    axes.set_xlabel("times less arithmetic (FLOPs) than the dense model")
    paths.append(_finish(pyplot, figure, axes, folder / "flops.png"))
    timed = [record for record in records if record.wall_speedup is not None]
    if timed:
        figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
        for kind, (label, marker) in _SERIES.items():
            own = sorted((one for one in timed if one.kind == kind), key=lambda one: one.wall_speedup or 0.0)
            if own:
                speedups = [record.wall_speedup or 0.0 for record in own]
                style = "none" if kind == "point" else "-"
                axes.plot(speedups, [one.f1_loss for one in own], marker=marker, linestyle=style, label=label)
                if kind == "point":
                    _name(axes, own, speedups)
        axes.set_xlabel("times as fast by the clock as the dense model without padding, timed in turns")
        paths.append(_finish(pyplot, figure, axes, folder / "seconds.png"))
    return paths


def _name(axes: Any, records: Sequence[SweepRecord], places: Sequence[float]) -> None:
    for record, place in zip(records, places, strict=True):
        axes.annotate(record.name, (place, record.f1_loss), xytext=(4, 4), textcoords="offset points", fontsize=8)


def _finish(pyplot: Any, figure: Any, axes: Any, path: Path) -> Path:
    axes.set_ylabel("F1 lost, % of the own dense model's F1")
    axes.axhline(0.0, color="0.8", linewidth=1, zorder=0)
    axes.legend(fontsize=8)
    part = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix) as file:
            part = Path(file.name)
        figure.savefig(part, dpi=150)
        part.replace(path)
    except (OSError, ValueError) as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise ConfigError(f"{path} can't be written: {error}") from error
    finally:
        pyplot.close(figure)
    return path


def _optional(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
