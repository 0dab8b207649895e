"""Draw the figures of the docs from what was measured.

    pip install 'blockskim[plot]'
    python benchmarks/draw_results.py

``results/drawn.json`` keeps the digest of what each figure was drawn from, so that a test tells a figure that is no
longer what was measured.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from result_files import RESULTS, ROOT, read_results

from blockskim.atomic import open_whole, write_whole
from blockskim.extras import load_matplotlib

FIGURES = ROOT / "docs" / "figures"
DRAWN = RESULTS / "drawn.json"
SIZE = (8, 4.5)
COLORS = {"passages": "#0b6e4f", "thresholds": "#4c9be8", "dense": "#8a8a8a", "transformers": "#c0504d"}
NAMES = {
    "blockskim": "skimming graph",
    "onnx-packed": "the same graph, nothing dropped",
    "onnx-fp32": "dense, ONNX Runtime",
    "dense-sdpa": "dense, transformers, SDPA",
}


def main() -> None:
    """Draw every figure whose part was measured."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    results = read_results()
    FIGURES.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for name, (part, draw) in FIGURES_BY_NAME.items():
        if part in results:
            draw(results[part]["result"], FIGURES / f"{name}.png")
            drawn[name] = source_digest(results[part])
            sys.stderr.write(f"docs/figures/{name}.png\n")
    write_whole(DRAWN, json.dumps(drawn, indent=1) + "\n")


def source_digest(part: Mapping[str, Any]) -> str:
    """Of the result that a figure is drawn from."""
    return hashlib.sha256(json.dumps(part["result"], sort_keys=True).encode()).hexdigest()


def draw_operating_points(result: Any, file: Path) -> None:
    """F1 lost against arithmetic saved, beside published results."""
    from blockskim.evaluation.sweep_records import SweepRecord
    from blockskim.evaluation.sweep_report import save_sweep_plots

    records = [SweepRecord.from_dict(record) for record in result["records"]]
    with tempfile.TemporaryDirectory() as folder:
        (drawn, *_) = save_sweep_plots(records, result["max_length"], Path(folder))
        shutil.copyfile(drawn, file)


def draw_document_lengths(result: Any, file: Path) -> None:
    """Seconds and memory over the words of a document."""
    pyplot = load_matplotlib()
    figure, (time, memory) = pyplot.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for way, color in COLORS.items():
        records = [record for record in result if record["way"] == way]
        words = [record["words"] for record in records]
        time.plot(words, [record["seconds"] for record in records], marker="o", color=color, label=way)
        memory.plot(words, [max(record["added_mb"], 1) for record in records], marker="o", color=color, label=way)
    for axes, title in ((time, "seconds"), (memory, "MB beyond a short question")):
        axes.set(xscale="log", yscale="log", xlabel="words in the document", ylabel=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    _save(pyplot, figure, file)


def draw_batch_sizes(result: Any, file: Path) -> None:
    """Windows a second over batch sizes."""
    pyplot = load_matplotlib()
    figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
    for name, title in NAMES.items():
        records = [record for record in result if record["name"] == name]
        rates = [record["samples_per_second"] for record in records]
        axes.plot([record["batch_size"] for record in records], rates, marker="o", label=title)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="windows in a batch", ylabel="windows a second", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(pyplot, figure, file)


FIGURES_BY_NAME: Mapping[str, tuple[str, Callable[[Any, Path], None]]] = {
    "operating-points": ("scores/sweep", draw_operating_points),
    "document-lengths": ("long/document-lengths", draw_document_lengths),
    "batch-sizes": ("speed/batch-sizes", draw_batch_sizes),
}
"""The part that each figure is drawn from, and how."""


def _save(pyplot: Any, figure: Any, file: Path) -> None:
    with open_whole(file) as stream:
        figure.savefig(stream, dpi=130, format="png")
    pyplot.close(figure)


if __name__ == "__main__":
    main()
