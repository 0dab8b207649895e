"""Records of a benchmark as a table and as a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from blockskim.evaluation.figures import save_figure
from blockskim.extras import load_matplotlib
from blockskim.profiling.benchmark import Record


def records_table(records: Sequence[Record]) -> Table:
    """What every contender takes at every batch size; a line per record."""
    first = records[0]
    what = "windows to answers" if first.end_to_end else "model alone"
    device = first.device if first.device != "cpu" else f"cpu, {first.threads} thread{'s' * (first.threads != 1)}"
    table = _table(f"{first.workload} · {what} · {device} · {first.rounds} rounds")
    scored = any(record.f1 is not None for record in records)
    for name in ("ms/batch", "min", "quartiles", "samples/s", "GFLOP", "of matmul", "peak MB", *["F1"] * scored):
        table.add_column(name, justify="right", no_wrap=True)
    for new_section, record in _sections(records):
        if new_section:
            table.add_section()
        table.add_row(
            *_names(record),
            _milliseconds(record.median_seconds),
            _milliseconds(record.min_seconds),
            " – ".join(_milliseconds(value) for value in record.spread),
            f"{record.samples_per_second:.4g}",
            f"{record.flops / 1e9:.4g}",
            _optional(record.matmul_fraction, ".0%"),
            "" if record.peak_bytes is None else f"{record.peak_bytes / 1e6:.4g}",
            *[_optional(record.f1, ".2f")] * scored,
        )
    return table


def speedup_table(records: Sequence[Record], baselines: Sequence[str]) -> Table:
    """How many times as fast every contender is as every baseline: median, and quartiles of the rounds."""
    table = _table("times as fast as")
    for name in baselines:
        table.add_column(name, justify="right", no_wrap=True)
    for new_section, record in _sections(records):
        if new_section:
            table.add_section()
        table.add_row(*_names(record), *(_speedup(record, name) for name in baselines))
    return table


def save_plot(records: Sequence[Record], path: Path) -> None:
    """Draw seconds against F1 where there are scores, and bars of seconds where there are none.

    Raises:
        ConfigError: matplotlib is not installed, or the file can't be written.
        OSError: the disk is full.
    """
    pyplot = load_matplotlib()
    scored = [record for record in records if record.f1 is not None]
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    if scored:
        _draw_scores(axes, scored)
    else:
        _draw_bars(axes, records)
    axes.set_title(records[0].workload)
    save_figure(pyplot, figure, path)


def _draw_scores(axes: Any, records: Sequence[Record]) -> None:
    for batch_size in sorted({record.batch_size for record in records}):
        group = [record for record in records if record.batch_size == batch_size]
        seconds = [record.samples_per_second**-1 * 1e3 for record in group]
        axes.scatter(seconds, [record.f1 for record in group], label=f"batch size {batch_size}")
        for record, place in zip(group, seconds, strict=True):
            text = axes.annotate(_label(record), (place, record.f1), xytext=(3, 3), textcoords="offset points")
            text.set(fontsize=8, rotation=40, rotation_mode="anchor")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds a sample")
    axes.set_ylabel("F1")
    axes.legend()


def _draw_bars(axes: Any, records: Sequence[Record]) -> None:
    labels = [f"{_label(record)}, batch {record.batch_size}" for record in records]
    seconds = [record.median_seconds * 1e3 for record in records]
    lower = [(record.median_seconds - record.spread[0]) * 1e3 for record in records]
    upper = [(record.spread[1] - record.median_seconds) * 1e3 for record in records]
    places = list(range(len(records)))
    axes.barh(places, seconds, xerr=(lower, upper))
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a batch, median and quartiles")


def _label(record: Record) -> str:
    return record.name if record.dtype in ("float32", "int8") else f"{record.name} ({record.dtype})"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("batch", "", ""):
        table.add_column(name, no_wrap=True)
    return table


def _sections(records: Sequence[Record]) -> Iterator[tuple[bool, Record]]:
    """Records, and whether a new batch size begins with them."""
    last = records[0].batch_size
    for record in records:
        yield record.batch_size != last, record
        last = record.batch_size


def _names(record: Record) -> tuple[str, str, str]:
    return str(record.batch_size), record.name, record.dtype


def _speedup(record: Record, baseline: str) -> str:
    if baseline not in record.speedup_over:
        return ""
    lower, upper = record.speedup_spread[baseline]
    return f"{record.speedup_over[baseline]:.2f} ({lower:.2f} – {upper:.2f})"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4g}"


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
