"""Does skimming go together with other ways to make a model small? The paper's comparison, on any data.

    python benchmarks/smaller_models.py --data DATA --train train.json --base MODEL --output runs/smaller-models

Four models are made: the base, a student of every second layer that learns from it, an ALBERT whose layers share one
layer's weights (or, with ``--groups``, those of a few), and the base without a third of its attention heads. Each is
trained, calibrated at the same target on one half of the held-out articles, and scored on the other half (or a file,
``--dev``), reading everything and skimming. Steps that are done are not done again. Results go to
``OUTPUT/results.json``, a table to ``OUTPUT/results.md`` and standard output, a figure to ``--plot``.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from grid import train_once, write
from rich.console import Console
from shared_layers import LeftOut, share_layers

from blockskim.atomic import new_directory
from blockskim.calibration.calibrate import calibrate
from blockskim.calibration.calibrated_copy import save_calibrated
from blockskim.data.examples import Example
from blockskim.data.reading import read_examples
from blockskim.data.splitting import split_by_article
from blockskim.data.windows import make_windows
from blockskim.encoders import supported_types
from blockskim.errors import BlockSkimError, ConfigError, DataError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.loading import load
from blockskim.model.checkpoints import is_block_skim
from blockskim.model.stored_weights import provenance
from blockskim.surgery.head_pruning import answerable_windows, head_importance, least_important, save_pruned
from blockskim.surgery.students import make_student
from blockskim.training.recipe import Recipe

VARIANTS = ("base", "student", "shared", "pruned")

PRUNED_SHARE = 3
"""One head in so many is removed."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the data is divided into.

    Attributes:
        train: to train on.
        calibration: to choose checkpoints and thresholds by, and the heads to remove.
        evaluation: to report on.
    """

    train: Sequence[Example]
    calibration: Sequence[Example]
    evaluation: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Target:
    """What thresholds are chosen for: one of the two."""

    max_f1_drop: float | None
    target_speedup: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that the variants have in common.

    Attributes:
        base: directory of the model that all are made from.
        output: folder with one folder a variant.
        parts: the data.
        recipe: of every training.
        target: of every calibration.
        groups: how many sets of weights the model with shared layers has.
        console: where progress goes.
    """

    base: str
    output: Path
    parts: Parts
    recipe: Recipe
    target: Target
    groups: int
    console: Console


def main() -> int:
    """Make, train and compare the variants."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--train", nargs="+", required=True, metavar="FILE", help="files in it to train on")
    parser.add_argument("--dev", nargs="*", default=[], metavar="FILE", help="files in it to report on")
    parser.add_argument("--hold-out", type=float, default=0.1, help="share of the articles that is held out")
    parser.add_argument("--base", required=True, help="directory of a trained Block-Skim or QA model")
    parser.add_argument("--output", type=Path, required=True, help="folder for the variants and results")
    parser.add_argument("--recipe", default="skim", help="name or file, for every training")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS), help="these variants alone")
    parser.add_argument("--every", type=int, default=1, help="train on every nth question")
    parser.add_argument("--groups", type=int, default=1, help="sets of weights of the model that shares them")
    parser.add_argument("--limit", type=int, help="report on the first so many questions")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--max-f1-drop", type=float, help="most points of F1 to lose by skimming (default: 1)")
    target.add_argument("--target-speedup", type=float, help="arithmetic to save by skimming, dense over spent")
    parser.add_argument("--plot", type=Path, help="figure to write (needs matplotlib)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(stderr=True)
    drop = 1.0 if options.max_f1_drop is None and options.target_speedup is None else options.max_f1_drop
    try:
        comparison = Comparison(
            options.base,
            options.output,
            divide(options.data, options.train, options.dev, options.hold_out, options.limit, options.every),
            Recipe.load(options.recipe),
            Target(drop, options.target_speedup),
            options.groups,
            console,
        )
        results = run(comparison, [name for name in VARIANTS if name in options.only])
    except BlockSkimError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    write(options.output / "results.json", results)
    text = table(results)
    (options.output / "results.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    if options.plot:
        plot(results, options.plot)
    return 0


def divide(
    data: Path, train: Sequence[str], dev: Sequence[str], hold_out: float, limit: int | None, every: int = 1
) -> Parts:
    """Read the data and hold out articles, half of them to calibrate on and half to report on.

    All of the held-out articles are to calibrate on when there is a file to report on. Of the rest every nth question
    is trained on.

    Raises:
        DataError: a file is wrong, or a part is empty.
    """
    training, held_out = split_by_article(read_examples([data / name for name in train]), hold_out)
    known = {example.context for example in training}
    if dev:
        evaluation = [item for item in read_examples([data / name for name in dev]) if item.context not in known]
        calibration = held_out
    else:
        # Another seed, or all that was held out would fall into the same half.
        calibration, evaluation = split_by_article(held_out, 0.5, seed=1)
    parts = Parts(training[::every], calibration, evaluation[:limit])
    for name in ("train", "calibration", "evaluation"):
        if not getattr(parts, name):
            raise DataError(f"nothing is left for {name}; give more data, or another --hold-out than {hold_out:g}")
    return parts


def run(comparison: Comparison, names: Sequence[str]) -> dict[str, Any]:
    """Make, train, calibrate and score variants; what can't be made is noted with its reason."""
    base = comparison.output / "base"
    make_base(comparison, base)
    records, notes = [], {}
    for name in names:
        folder = comparison.output / name
        try:
            MAKERS[name](comparison, folder)
        except LeftOut as reason:
            comparison.console.print(f"{name}: left out: {reason}", markup=False)
            notes[name] = str(reason)
            continue
        records.append({"variant": name, **score_once(comparison, folder)})
    return {"target": asdict(comparison.target), "records": records, "left_out": notes}


def make_base(comparison: Comparison, folder: Path) -> None:
    """The base itself; a QA model is trained to skim first."""
    if is_block_skim(comparison.base):
        if not folder.exists():
            loaded = load(comparison.base, "cpu", "float32")
            with new_directory(folder) as part:
                loaded.model.save_pretrained(part)
                loaded.tokenizer.save_pretrained(part)
        return
    train_variant(comparison, comparison.base, folder)


def make_distilled(comparison: Comparison, folder: Path) -> None:
    """A student of every second layer, distilled from the base."""
    start = folder.with_name(f"{folder.name}-start")
    base = comparison.output / "base"
    if not start.exists():
        make_student(base, start, every=2)
    train_variant(comparison, str(start), folder, str(base))


def make_shared(comparison: Comparison, folder: Path) -> None:
    """A model with as many layers as the base whose layers share weights, distilled from the base.

    Raises:
        ConfigError: its layers can't be divided into so many groups.
        LeftOut: this version of the library runs no such models, or the base is of another family than BERT.
    """
    if "albert" not in supported_types():
        raise LeftOut("this version of blockskim has no adapter for ALBERT, whose layers share their weights")
    loaded = load(comparison.output / "base", "cpu", "float32")
    start = folder.with_name(f"{folder.name}-start")
    if not start.exists():
        shared = share_layers(loaded.model, comparison.groups)
        with new_directory(start) as part:
            shared.save_pretrained(part)
            loaded.tokenizer.save_pretrained(part)
    train_variant(comparison, str(start), folder, str(comparison.output / "base"))


def make_pruned(comparison: Comparison, folder: Path) -> None:
    """The base without the third of its heads that matters least, trained on."""
    start = folder.with_name(f"{folder.name}-start")
    if not start.exists():
        base = comparison.output / "base"
        loaded = load(base, dtype="float32")
        windows = answerable_windows(comparison.parts.calibration, loaded.tokenizer, comparison.recipe.windows)
        importance = head_importance(loaded.model, windows)
        heads = sum(map(len, importance.values()))
        removed = least_important(importance, total=max(1, heads // PRUNED_SHARE))
        loaded.model.prune_heads(removed)
        save_pruned(loaded.model, loaded.tokenizer, provenance(base, {}), importance, removed, start)
    train_variant(comparison, str(start), folder)


MAKERS: Mapping[str, Callable[[Comparison, Path], None]] = {
    "base": make_base,
    "student": make_distilled,
    "shared": make_shared,
    "pruned": make_pruned,
}


def train_variant(comparison: Comparison, start: str, folder: Path, teacher: str | None = None) -> None:
    """Train a variant unless that was done."""
    recipe = comparison.recipe
    if teacher is None:
        # Without a teacher there are no states of its layers to distil.
        settings = replace(recipe.distillation, hidden_weight=0.0, attention_weight=0.0, layers=None)
        recipe = replace(recipe, distillation=settings)
    parts = comparison.parts
    train_once(start, parts.train, parts.calibration, folder, recipe, comparison.console, teacher)


def score_once(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """Calibrate and score a variant unless that was done.

    Raises:
        ConfigError: that was done for another target or on other questions.
    """
    stored = folder / "result.json"
    task = {**asdict(comparison.target), "questions": len(comparison.parts.evaluation)}
    if stored.is_file():
        earlier: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8"))
        if earlier["asked"] != task:
            raise ConfigError(f"{stored} is of another target or other data; remove it or name another --output")
        return earlier
    comparison.console.print(f"{folder.name}: calibrating and scoring")
    result = {"asked": task, **score(comparison, folder)}
    write(stored, result)
    return result


def score(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """What a variant answers and costs, dense and skimming at thresholds chosen on other articles."""
    recipe, target = comparison.recipe, comparison.target
    loaded = load(folder)
    model = loaded.model
    held_out, evaluation = (
        make_windows(part, loaded.tokenizer, recipe.windows)
        for part in (comparison.parts.calibration, comparison.parts.evaluation)
    )
    calibration = calibrate(
        model, held_out, target.max_f1_drop, target.target_speedup, max_answer_length=recipe.max_answer_length
    )
    if not (folder / "calibrated").exists():
        save_calibrated(loaded, calibration, folder / "calibrated")
    runs = {}
    for name, thresholds in (("dense", 0.0), ("skimming", calibration.chosen.thresholds)):
        result = evaluate_windows(model, evaluation, 32, thresholds, recipe.max_answer_length)
        runs[name] = {
            "f1": result.scores["f1"],
            "exact_match": result.scores["exact_match"],
            "flops_per_example": result.cost.flops / len(evaluation.examples),
            "seconds": result.seconds,
        }
    layers = len(model.cost.layers)
    return {
        "layers": layers,
        "heads": sum(len(model.heads_of(layer)) for layer in range(1, layers + 1)),
        "parameters": sum(value.numel() for value in model.parameters()),
        "thresholds": calibration.chosen.thresholds,
        "satisfied": calibration.satisfied,
        **runs,
    }


def speedups(results: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """FLOPs of the base's dense run over those of each variant's dense and skimming run.

    Without a base it is the first variant's dense run that all are compared with.
    """
    records = results["records"]
    bases = [item for item in records if item["variant"] == "base"] or list(records[:1])
    return {
        item["variant"]: (
            base["dense"]["flops_per_example"] / item["dense"]["flops_per_example"],
            base["dense"]["flops_per_example"] / item["skimming"]["flops_per_example"],
        )
        for base in bases[:1]
        for item in records
    }


def table(results: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| model | layers | heads | M parameters | dense F1 | skimming F1 | GFLOPs dense | skimming | "
        "saved by skimming | saved against the dense base |",
        "| --- " * 10 + "|",
    ]
    ratios = speedups(results)
    for item in results["records"]:
        dense, skimming = item["dense"], item["skimming"]
        slow, fast = ratios[item["variant"]]
        lines.append(
            f"| {item['variant']} | {item['layers']} | {item['heads']} | {item['parameters'] / 1e6:.1f} | "
            f"{dense['f1']:.2f} | {skimming['f1']:.2f} | {dense['flops_per_example'] / 1e9:.3f} | "
            f"{skimming['flops_per_example'] / 1e9:.3f} | {fast / slow:.2f}× | {fast:.2f}× |"
        )
    for name, reason in results["left_out"].items():
        lines.append(f"\nLeft out: {name}: {reason}.")
    return "\n".join(lines) + "\n"


def plot(results: Mapping[str, Any], path: Path) -> None:
    """F1 against FLOPs saved: a line from each variant's dense run to its skimming run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    ratios = speedups(results)
    for item in results["records"]:
        scores = (item["dense"]["f1"], item["skimming"]["f1"])
        (line,) = axes.plot(ratios[item["variant"]], scores, label=item["variant"])
        axes.plot(ratios[item["variant"]][0], scores[0], "o", color=line.get_color(), fillstyle="none")
        axes.plot(ratios[item["variant"]][1], scores[1], "o", color=line.get_color())
    axes.set_xlabel("FLOPs of the dense base over FLOPs spent, unpadded (hollow: dense, filled: skimming)")
    axes.set_ylabel("F1")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
