"""Train the arms of a grid on the same data and show what each loses and saves on held-out articles.

    python benchmarks/grid.py benchmarks/grids/relevance.yaml --data DATA --base ENCODER --output runs/relevance

Every arm is trained (an interrupted one goes on where it stopped, a finished one is left alone), calibrated on the
held-out articles, and really skims at some points of its front. ``--report`` gets everything as JSON, beside what it
holds of other arms and seeds; ``--plot`` a figure of F1 against FLOPs; the table goes to standard output.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from blockskim.atomic import write_whole
from blockskim.calibration.points import Point
from blockskim.calibration.record import record
from blockskim.calibration.search import Limits, search
from blockskim.calibration.simulator import Simulator
from blockskim.data.examples import Example
from blockskim.data.reading import read_examples
from blockskim.data.splitting import split_by_article
from blockskim.data.windows import make_windows
from blockskim.errors import BlockSkimError, ConfigError
from blockskim.evaluation.block_scores import BlockScores
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.loading import load
from blockskim.metrics.skim import area_under_roc, kept_at_recall
from blockskim.training.recipe import Recipe
from blockskim.training.resume import CHECKPOINTS, RECIPE_FILE
from blockskim.training.train import train

LIMITS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.5)
"""Points of F1 at risk up to which the fronts are searched and at which they are confirmed."""

MOST_LOST = 0.5
"""Points of F1 that may be lost where arms are compared by one number."""


NEEDED = ("train", "evaluate", "hold_out", "recipe", "arms")
"""What every grid file has to say."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What a grid file says.

    Attributes:
        train: files to train on.
        evaluate: files whose held-out articles are evaluated on.
        hold_out: share of the articles that is held out.
        first_stage: recipe of the stage that all arms go on from; None for none.
        arms: recipe of each arm, and which of the training questions it takes.
    """

    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    hold_out: float
    first_stage: Recipe | None
    arms: Mapping[str, tuple[Recipe, slice]]


def main() -> int:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--base", required=True, help="encoder to start from")
    parser.add_argument("--output", type=Path, required=True, help="folder for the trained arms")
    parser.add_argument("--only", nargs="*", metavar="ARM", help="these arms alone")
    parser.add_argument("--seeds", type=int, nargs="*", default=[42])
    parser.add_argument("--report", type=Path, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="figure to write (needs matplotlib)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(stderr=True)
    try:
        grid = read_grid(options.grid)
        names = options.only or list(grid.arms)
        for name in names:
            if name not in grid.arms:
                raise ConfigError(f"{options.grid} has no arm {name}; it has {', '.join(grid.arms)}")
        records = run(grid, names, options.seeds, options.data, options.base, options.output, console)
    except BlockSkimError as error:
        console.print(f"error: {error}", style="red")
        return 1
    if options.report:
        records = merged(options.report, records)
        write(options.report, records)
    sys.stdout.write(table(records))
    if options.plot:
        plot(records, options.plot)
    return 0


def read_grid(path: Path) -> Grid:
    """Read a grid file.

    Raises:
        ConfigError: something in it is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    missing = [name for name in NEEDED if not isinstance(values, Mapping) or not values.get(name)]
    if missing:
        raise ConfigError(f"{path} lacks {missing[0]!r}; a grid needs {', '.join(NEEDED)}")
    base = Recipe.from_dict(values["recipe"])
    first = values.get("first_stage")
    arms = {}
    for name, arm in values["arms"].items():
        unknown = sorted(set(arm) - {"every", "first", "recipe"})
        if unknown:
            raise ConfigError(f"{path}: unknown setting {unknown[0]!r} of arm {name}; known are every, first, recipe")
        questions = slice(int(arm.get("first", 0)), None, int(arm.get("every", 1)))
        arms[name] = (base.replace(**arm.get("recipe", {})), questions)
    return Grid(
        tuple(values["train"]),
        tuple(values["evaluate"]),
        float(values["hold_out"]),
        None if first is None else base.replace(**first),
        arms,
    )


def run(
    grid: Grid, names: Sequence[str], seeds: Sequence[int], data: Path, base: str, output: Path, console: Console
) -> list[dict[str, Any]]:
    """Train and measure the arms; one record each."""
    examples, development = split_by_article(read_examples([data / name for name in grid.train]), grid.hold_out)
    _, held_out = split_by_article(read_examples([data / name for name in grid.evaluate]), grid.hold_out)
    known = {example.context for example in examples}
    held_out = [example for example in held_out if example.context not in known]
    start = base
    if grid.first_stage is not None:
        start = str(output / "first-stage")
        train_once(base, examples, development, Path(start), grid.first_stage, console)
    records = []
    for name in names:
        recipe, questions = grid.arms[name]
        for seed in seeds:
            folder = output / name / f"seed-{seed}"
            part = examples[questions]
            seconds = train_once(start, part, development, folder, recipe.replace(seed=seed), console)
            stored = folder / "front.json"
            if not stored.is_file():
                console.print(f"{name}, seed {seed}: front")
                write(stored, front(folder, held_out))
            figures = json.loads(stored.read_text(encoding="utf-8"))
            records.append({"arm": name, "seed": seed, "examples": len(part), "seconds": seconds, **figures})
    return records


def train_once(
    base: str,
    examples: Sequence[Example],
    development: Sequence[Example],
    folder: Path,
    recipe: Recipe,
    console: Console,
    teacher: str | None = None,
) -> float | None:
    """Train unless that was done; returns the seconds of the run, None for a resumed one.

    Raises:
        ConfigError: the folder holds a run of another recipe.
    """
    seconds = folder / "seconds.json"
    if (folder / "model.safetensors").is_file():
        stored = Recipe.from_dict(json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8")))
        if stored != recipe:
            raise ConfigError(f"{folder} holds a run of another recipe; remove it or name another --output")
        return float(json.loads(seconds.read_text(encoding="utf-8"))) if seconds.is_file() else None
    resume = any((folder / CHECKPOINTS).glob("checkpoint-*"))
    console.print(f"{folder}: training on {len(examples)} questions")
    started = time.perf_counter()
    train(
        base,
        examples,
        development,
        folder,
        recipe,
        resume=resume,
        report=lambda metrics: console.print_json(data=metrics),
        console=console,
        teacher=teacher,
    )
    if resume:
        return None
    taken = time.perf_counter() - started
    write(seconds, taken)
    return taken


def front(folder: Path, held_out: Sequence[Example]) -> dict[str, Any]:
    """What a trained arm loses and saves: simulated, and measured by really skimming."""
    loaded = load(str(folder))
    model = loaded.model
    recipe = Recipe.from_dict(json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8")))
    windows = make_windows(held_out, loaded.tokenizer, recipe.windows)
    recording = record(model, windows, 32, recipe.max_answer_length)
    dense = recording.dense
    assert dense.f1 is not None
    path = search(Simulator(model, windows, recording, overhead=0.0), Limits(max(LIMITS)))
    points = []
    for limit in LIMITS:
        point = best_at(path, limit)
        result = evaluate_windows(model, windows, 32, point.thresholds, recipe.max_answer_length)
        points.append(
            {
                "most_f1_at_risk": limit,
                "f1_at_risk": point.f1_at_risk,
                "simulated": point.flops_speedup,
                "thresholds": point.thresholds,
                "flops_speedup": result.cost.flops_speedup,
                "f1": result.scores["f1"],
                "exact_match": result.scores["exact_match"],
                "f1_lost": dense.f1 - result.scores["f1"],
            }
        )
    return {
        "held_out": len(held_out),
        "dense": {"f1": dense.f1, "exact_match": dense.exact_match},
        "predictors": predictors(recording.block_scores),
        "points": points,
    }


def best_at(path: Sequence[Point], limit: float) -> Point:
    """The cheapest simulated point with at most so much at risk."""
    return max((point for point in path if point.f1_at_risk <= limit), key=lambda point: point.flops_speedup)


def predictors(block_scores: BlockScores) -> list[dict[str, float]]:
    """How well each layer's predictor tells blocks with an answer from others, nothing dropped."""
    return [
        {
            "layer": layer,
            "auc": area_under_roc(probabilities, block_scores.relevant),
            "kept98": kept_at_recall(probabilities, block_scores.relevant),
        }
        for layer, probabilities in zip(block_scores.layers, block_scores.probabilities, strict=True)
    ]


def speedup_at(points: Sequence[Mapping[str, float]], lost: float) -> float:
    """The largest measured saving that loses at most so much F1, interpolated between measured points; 1 for none."""
    line = [(1.0, 0.0), *sorted((point["flops_speedup"], point["f1_lost"]) for point in points)]
    best = 1.0
    for (slow, before), (fast, after) in pairwise(line):
        if after <= lost:
            best = fast
        elif before <= lost:
            best = max(best, slow + (fast - slow) * (lost - before) / (after - before))
    return best


def merged(report: Path, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records, and those that a report holds of other arms and seeds; in the order of arms and seeds."""
    stored = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else []
    known = {(item["arm"], item["seed"]): item for item in [*stored, *records]}
    return [known[key] for key in sorted(known)]


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| arm | seed | dense F1 | AUC by layer | saved at 0.5 / 1.0 F1 at risk | saved at 0.5 F1 lost |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for item in records:
        areas = " ".join(f"{part['auc']:.3f}".lstrip("0") for part in item["predictors"])
        at = {point["most_f1_at_risk"]: point["simulated"] for point in item["points"]}
        lines.append(
            f"| {item['arm']} | {item['seed']} | {item['dense']['f1']:.2f} | {areas} | "
            f"{at[0.5]:.3f}× / {at[1.0]:.3f}× | {speedup_at(item['points'], MOST_LOST):.3f}× |"
        )
    return "\n".join(lines) + "\n"


def plot(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """F1 lost against FLOPs saved."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for item in records:
        points = sorted(item["points"], key=lambda point: point["flops_speedup"])
        speedups = [1.0, *(point["flops_speedup"] for point in points)]
        lost = [0.0, *(-point["f1_lost"] for point in points)]
        axes.plot(speedups, lost, marker="o", markersize=3, label=f"{item['arm']} ({item['seed']})")
    axes.axhline(-MOST_LOST, color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlabel("FLOPs of the dense model over FLOPs spent, unpadded")
    axes.set_ylabel("F1 against the arm's own dense run")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def write(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
