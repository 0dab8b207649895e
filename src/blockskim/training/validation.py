"""Development metrics during training: scores of the dense model, and how good its predictors are."""

from collections.abc import Callable

import numpy as np

from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import run_dense
from blockskim.evaluation.scoring import mean_scores, scores_by_source
from blockskim.metrics.skim import area_under_roc, kept_at_recall, precision_recall
from blockskim.model.modeling import BlockSkimForQuestionAnswering


def development_metrics(
    windows: WindowSet, batch_size: int, max_answer_length: int
) -> Callable[[BlockSkimForQuestionAnswering], dict[str, float]]:
    """Make the function that evaluates a model on development windows, with nothing dropped.

    Its result has the official scores, with several data files those of each, ``f1/NAME`` and ``exact_match/NAME``, and
    their mean over all questions, and, for each layer N with a predictor, ``precision_N`` and ``recall_N`` at a
    keep probability of 0.5, ``auc_N``, and ``kept98_N``: the share of blocks to keep so that 98 % of those with
    answers stay. ``selection`` is what checkpoints are compared by: F1, and between equals the predictors' mean AUC.
    """

    def evaluate(model: BlockSkimForQuestionAnswering) -> dict[str, float]:
        answers, block_scores = run_dense(model, windows, batch_size, max_answer_length, allow_untrained=True)
        files = scores_by_source(windows.examples, answers)
        pooled = mean_scores(files)
        metrics = {name: pooled[name] for name in ("exact_match", "f1")}
        if len(files) > 1:
            metrics |= {f"{name}/{file}": scores[name] for file, scores in files.items() for name in metrics}
        for layer, probabilities in zip(block_scores.layers, block_scores.probabilities, strict=True):
            precision, recall, _ = precision_recall(probabilities, block_scores.relevant)
            metrics[f"precision_{layer}"] = precision
            metrics[f"recall_{layer}"] = recall
            metrics[f"auc_{layer}"] = area_under_roc(probabilities, block_scores.relevant)
            metrics[f"kept98_{layer}"] = kept_at_recall(probabilities, block_scores.relevant)
        areas = [metrics[f"auc_{layer}"] for layer in block_scores.layers]
        metrics["selection"] = metrics["f1"] + 0.01 * float(np.nanmean([*areas, 0.0]))
        return {name: float(np.round(value, 5)) for name, value in metrics.items()}

    return evaluate
