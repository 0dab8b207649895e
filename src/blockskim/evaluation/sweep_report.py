"""Records of a sweep as a table and as plots, beside published results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from blockskim.evaluation.figures import save_figure
from blockskim.evaluation.published import PEERS
from blockskim.evaluation.sweep_records import OWN, SweepRecord
from blockskim.extras import load_matplotlib

_SERIES = {
    "threshold": ("one threshold in all layers", "o"),
    "front": ("calibrated front", "s"),
    "point": ("operating points", "*"),
    OWN: ("the model's own thresholds", "P"),
}
"""What each kind of record is called in a legend, and its marker."""

_SIZE = (9, 5.5)
"""Of a figure, in inches."""


def sweep_table(records: Sequence[SweepRecord], max_length: int) -> Table:
    """A table with one line per record.

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
        OSError: the disk is full.
    """
    pyplot = load_matplotlib()
    figure, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
    _draw_flops(axes, records, max_length)
    paths = [_save(pyplot, figure, axes, folder / "flops.png")]
    timed = [record for record in records if record.wall_speedup is not None]
    if timed:
        figure, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
        _draw_seconds(axes, timed)
        paths.append(_save(pyplot, figure, axes, folder / "seconds.png"))
    return paths


def _draw_flops(axes: Any, records: Sequence[SweepRecord], max_length: int) -> None:
    """FLOPs speed-up over the dense model without padding (solid) and with it (dashed), beside published peers."""
    for kind, (label, marker) in _SERIES.items():
        series = sorted((record for record in records if record.kind == kind), key=lambda record: record.flops_speedup)
        if not series:
            continue
        speedups = [record.flops_speedup for record in series]
        drawn = _draw_series(axes, series, speedups, marker=marker, label=f"{label}, against dense without padding")
        _draw_series(
            axes,
            series,
            [record.flops_speedup_padded for record in series],
            "--",
            marker=marker,
            color=drawn.get_color(),
            markerfacecolor="none",
            label=f"{label}, against dense padded to {max_length}",
        )
        _annotate_points(axes, series, speedups)
    for peer, marker in zip(PEERS, "^vD", strict=True):
        label = f"{peer.name}, BERT-base: as published, against padded input"
        axes.plot(peer.speedup, peer.f1_loss, marker=marker, linestyle="none", color="0.4", label=label)
    axes.set_xlabel("times fewer FLOPs than the dense model")


def _draw_seconds(axes: Any, records: Sequence[SweepRecord]) -> None:
    """Wall-clock speed-up of records that were timed."""
    for kind, (label, marker) in _SERIES.items():
        series = [(record.wall_speedup or 0.0, record) for record in records if record.kind == kind]
        if series:
            speedups, ordered = zip(*sorted(series, key=lambda pair: pair[0]), strict=True)
            _draw_series(axes, ordered, speedups, marker=marker, label=label)
            _annotate_points(axes, ordered, speedups)
    axes.set_xlabel("times as fast by the clock as the dense model without padding, timed in turns")


def _draw_series(
    axes: Any, records: Sequence[SweepRecord], speedups: Sequence[float], line: str = "-", **style: Any
) -> Any:
    """Draw F1 lost over speed-ups; operating points and a model's own thresholds are no series: no line joins them."""
    linestyle = "none" if records[0].kind in ("point", OWN) else line
    return axes.plot(speedups, [record.f1_loss for record in records], linestyle=linestyle, **style)[0]


def _annotate_points(axes: Any, records: Sequence[SweepRecord], speedups: Sequence[float]) -> None:
    """Write the names of operating points beside them."""
    for record, speedup in zip(records, speedups, strict=True):
        if record.kind == "point":
            offset = {"xytext": (4, 4), "textcoords": "offset points"}
            axes.annotate(record.name, (speedup, record.f1_loss), fontsize=8, **offset)


def _save(pyplot: Any, figure: Any, axes: Any, path: Path) -> Path:
    axes.set_ylabel("F1 lost, % of the own dense model's F1")
    axes.axhline(0.0, color="0.8", linewidth=1, zorder=0)
    axes.legend(fontsize=8)
    save_figure(pyplot, figure, path)
    return path


def _optional(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
