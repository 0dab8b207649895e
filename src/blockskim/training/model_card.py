"""The model card that a training run leaves beside its model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from blockskim.model.data_record import DataRecord
from blockskim.training.recipe import Recipe

HEADER = {
    "library_name": "blockskim",
    "pipeline_tag": "question-answering",
    "tags": ["question-answering", "block-skim", "extractive-qa"],
}
"""What stands at the head of a card, for the hub."""


def model_card(
    base: str,
    data: DataRecord,
    recipe: Recipe,
    log: Sequence[Mapping[str, Any]],
    best_step: int | None,
    teacher: str | None = None,
) -> str:
    """Write the card of a trained model in Markdown.

    Args:
        base: name of the encoder it started from.
        data: what it learned from and was measured by.
        recipe: the settings of the run.
        log: the Trainer's log history.
        best_step: the step whose model was kept, if there were evaluations.
        teacher: name of the model whose logits it learned, if there was one.
    """
    lines = [
        "---",
        yaml.safe_dump(HEADER, sort_keys=False).strip(),
        "---",
        "",
        f"# Block-Skim model on {base}",
        "",
        "Extractive question answering that drops irrelevant context blocks layer by layer (Block-Skim, AAAI 2022),",
        "trained with [blockskim](https://arxiv.org/abs/2112.08560).",
        "",
        "```python",
        "from blockskim import QuestionAnswerer",
        "",
        'qa = QuestionAnswerer("path/to/this/directory")',
        'qa(question="…", context="…")',
        "```",
        "",
        "## Training data",
        "",
        *_counted(data.train),
        *([f"| the same, of another text | {data.elsewhere:,} |"] if data.elsewhere else []),
        "",
        *_development(data),
        *([] if teacher is None else ["## Teacher", "", f"It learned from {teacher}, too (`distillation` below).", ""]),
        "## Development scores, nothing dropped",
        "",
        *_scores(log, best_step),
        "",
        "## Recipe",
        "",
        "```yaml",
        yaml.safe_dump(recipe.to_dict(), sort_keys=False).strip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def finite(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the log as JSON knows it: numbers that don't exist are None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in entry.items()
    }


def _counted(questions: Mapping[str, int]) -> list[str]:
    return [
        "| source | questions |",
        "| --- | --- |",
        # Of a file that was held out in part no question may have been drawn.
        *(f"| {name} | {count:,} |" for name, count in questions.items() if count),
    ]


def _development(data: DataRecord) -> list[str]:
    if not data.development:
        return []
    held_out = [] if data.hold_out is None else [f"Of {data.hold_out:.6g} of the articles, which were held out.", ""]
    return ["## Development data", "", *held_out, *_counted(data.development), ""]


def _scores(log: Sequence[Mapping[str, Any]], best_step: int | None) -> list[str]:
    rows = [entry for entry in log if "eval_f1" in entry]
    if not rows:
        return ["There was no development data."]
    best = next((row for row in rows if row.get("step") == best_step), rows[-1])
    layers = sorted(int(name.rsplit("_", 1)[1]) for name in best if name.startswith("eval_auc_"))
    exact, f1 = (_figure(best[f"eval_{name}"], ".2f") for name in ("exact_match", "f1"))
    figures = [
        (layer, _figure(best[f"eval_auc_{layer}"], ".3f"), _figure(best[f"eval_kept98_{layer}"], ".1%"))
        for layer in layers
    ]
    return [
        f"Exact match {exact}, F1 {f1} (step {best.get('step')}).",
        "",
        "| layer | area under ROC | share kept for 98 % of answer blocks |",
        "| --- | --- | --- |",
        *(f"| {layer} | {area} | {kept} |" for layer, area, kept in figures),
    ]


def _figure(value: float, form: str) -> str:
    """A number, or a dash where it doesn't exist: without any answer no block is relevant."""
    return format(value, form) if math.isfinite(value) else "–"
