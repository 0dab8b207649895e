"""The model card of a calibrated copy."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from blockskim.calibration.points import Point
from blockskim.calibration.result import Calibration
from blockskim.calibration.targets import Target
from blockskim.errors import ConfigError
from blockskim.training.model_card import HEADER

KEPT = ("library_name", "pipeline_tag", "tags", "license", "license_name", "license_link", "language")
"""What the head of the model's card tells of the copy, too; scores do not."""


def calibration_card(
    name: str,
    result: Calibration,
    points: Mapping[str, Calibration],
    before: Mapping[str, Any],
    card: str = "",
    trained_on: Sequence[str] = (),
    own_int8: bool = False,
) -> str:
    """The card of a calibrated copy, in Markdown.

    Args:
        name: of the model that was calibrated.
        result: the calibration that the copy's own thresholds come from.
        points: those of its operating points, by name.
        before: what ``calibration.json`` of the model says of the other points of the copy, by name; None where it says
            nothing.
        card: that of the model.
        trained_on: names of the files that the model learned from, as far as they are known.
        own_int8: whether the copy has an int8 graph that keeps thresholds of its own.
    """
    rows = [
        _row(point, one.target, one.satisfied, one.chosen)
        for point, one in {"default, where no point is named": result, **points}.items()
    ]
    trained = f"Its weights were trained on {', '.join(trained_on)}." if trained_on else ""
    lines = [
        "---",
        _header(card),
        "---",
        "",
        f"# {name}, calibrated",
        "",
        f"A Block-Skim model with the weights of {name} and thresholds that `blockskim calibrate` chose on "
        f"{result.examples:,} question{'s' * (result.examples != 1)}:",
        "",
        "| operating point | target | F1 | exact match | dense FLOPs over FLOPs spent |",
        "| --- | --- | --- | --- | --- |",
        f"| nothing dropped | | {_figures(result.dense)} |",
        *rows,
        *(_kept_row(point, values) for point, values in before.items()),
        "",
        *(["The int8 graph keeps thresholds of its own, for which this table does not hold.", ""] if own_int8 else []),
        f"`calibration.json` has more of it. {trained or f'What {name} was trained on stands in its own card.'}",
        "",
    ]
    # Names of data files need not be UTF-8.
    return "\n".join(lines).encode("utf-8", "replace").decode("utf-8")


def _header(card: str) -> str:
    """The head of the copy's card, by that of the model's."""
    head = re.match(r"\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", card, re.DOTALL)
    try:
        # Texts and nothing else, as they are written: "no" is a language, and no version is a number.
        found = yaml.load(head[1], yaml.BaseLoader) if head else None
    except (yaml.YAMLError, RecursionError):
        found = None
    kept = {key: found[key] for key in KEPT if found.get(key)} if isinstance(found, dict) else {}
    return yaml.safe_dump({**HEADER, **kept}, sort_keys=False, allow_unicode=True).strip()


def _row(point: str, target: Target, satisfied: bool, chosen: Point, more: str = "") -> str:
    return f"| {point} | {target}{'' if satisfied else ', not reached'}{more} | {_figures(chosen)} |"


def _kept_row(point: str, values: Any) -> str:
    """The row of a point that was there before."""
    kept = "of before"
    try:
        target, chosen = Target(**values["target"]), Point(**values["chosen"])
        return _row(point, target, bool(values["satisfied"]), chosen, f"; {kept}")
    except (ConfigError, KeyError, TypeError, ValueError):
        return f"| {point} | {kept} | – | – | – |"


def _figures(point: Point) -> str:
    scores = ["–" if value is None else f"{value:.2f}" for value in (point.f1, point.exact_match)]
    return " | ".join([*scores, f"{point.flops_speedup:.3f}"])
