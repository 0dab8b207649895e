import dataclasses
import importlib
import io

import pytest
from rich.console import Console

from blockskim.errors import ConfigError
from blockskim.profiling.benchmark import Record
from blockskim.profiling.report import records_table, save_plot, speedup_table

RECORD = Record(
    name="blockskim",
    workload="dev.json",
    dtype="float32",
    device="cpu",
    threads=2,
    end_to_end=False,
    batch_size=1,
    batches=3,
    samples=3,
    rounds=7,
    median_seconds=0.0123,
    min_seconds=0.0111,
    spread=(0.012, 0.0131),
    samples_per_second=81.3,
    flops=2_500_000_000,
    tokens=170,
    matmul_fraction=0.5,
    matmul_rate=4e11,
    peak_bytes=3_000_000,
    weight_bytes=90_000_000,
    kept_by_layer=[1.0, 0.5],
    speedup_over={"dense-sdpa": 2.25},
    speedup_spread={"dense-sdpa": (2.0, 2.5)},
    exact_match=80.0,
    f1=88.5,
)
DENSE = dataclasses.replace(
    RECORD, name="dense-sdpa", batch_size=8, speedup_over={}, speedup_spread={}, peak_bytes=None, matmul_fraction=None
)
UNSCORED = dataclasses.replace(RECORD, f1=None, exact_match=None)


def shown(table):
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def test_table_has_every_figure():
    text = shown(records_table([RECORD, DENSE]))
    for part in ("dev.json", "cpu, 2 threads", "blockskim", "12.3", "11.1", "12 – 13.1", "81.3", "2.5", "50%", "88.50"):
        assert part in text
    assert "F1" not in shown(records_table([UNSCORED]))


def test_speedups_have_a_column_a_baseline():
    text = shown(speedup_table([RECORD, DENSE], ["dense-sdpa", "packed"]))
    assert "2.25 (2.00 – 2.50)" in text
    assert "packed" in text


@pytest.mark.parametrize("records", [[RECORD, DENSE], [UNSCORED, UNSCORED]])
def test_plots_are_written(tmp_path, records):
    pytest.importorskip("matplotlib")
    save_plot(records, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="can't be written"):
        save_plot(records, tmp_path / "plot.nothing")


def test_without_matplotlib_a_plot_is_refused(tmp_path, monkeypatch):
    load = importlib.import_module

    def refuse(name, *args):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return load(name, *args)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ConfigError, match=r"blockskim\[plot\]"):
        save_plot([RECORD], tmp_path / "plot.png")
