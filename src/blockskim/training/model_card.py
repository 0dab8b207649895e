"""The model card that a training run leaves beside its model."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from blockskim.training.recipe import Recipe


def model_card(
    base: str,
    data: Mapping[str, int],
    recipe: Recipe,
    log: Sequence[Mapping[str, Any]],
    best_step: int | None,
    teacher: str | None = None,
) -> str:
    """Write the card of a trained model in Markdown.

    Args:
        base: name of the encoder it started from.
        data: number of training questions by source.
        recipe: the settings of the run.
        log: the Trainer's log history.
        best_step: the step whose model was kept, if there were evaluations.
        teacher: name of the model whose logits it learned, if there was one.
    """
    header = {
        "library_name": "blockskim",
        "pipeline_tag": "question-answering",
        "tags": ["question-answering", "block-skim", "extractive-qa"],
    }
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False).strip(),
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
        "| source | questions |",
        "| --- | --- |",
        *(f"| {name} | {count:,} |" for name, count in data.items()),
        "",
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


def _scores(log: Sequence[Mapping[str, Any]], best_step: int | None) -> list[str]:
    rows = [entry for entry in log if "eval_f1" in entry]
    if not rows:
        return ["There was no development data."]
    best = next((row for row in rows if row.get("step") == best_step), rows[-1])
    layers = sorted(int(name.rsplit("_", 1)[1]) for name in best if name.startswith("eval_auc_"))
    return [
        f"Exact match {best['eval_exact_match']:.2f}, F1 {best['eval_f1']:.2f} (step {best.get('step')}).",
        "",
        "| layer | area under ROC | share kept for 98 % of answer blocks |",
        "| --- | --- | --- |",
        *(f"| {layer} | {best[f'eval_auc_{layer}']:.3f} | {best[f'eval_kept98_{layer}']:.1%} |" for layer in layers),
    ]
