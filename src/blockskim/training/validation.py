"""Development metrics during training: scores of the dense model, and how good its predictors are."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import BlockScores, run_dense
from blockskim.evaluation.scoring import check_files, mean_scores, scores_by_source
from blockskim.inference.answers import ExampleAnswers
from blockskim.inference.runner import batches
from blockskim.method.skim_trace import Asking
from blockskim.metrics.skim import area_under_roc, kept_at_recall, precision_recall
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training.processes import Processes


def development_metrics(
    windows: WindowSet, batch_size: int, max_answer_length: int, team: Processes | None = None
) -> Callable[[BlockSkimForQuestionAnswering], dict[str, float]]:
    """Make the function that evaluates a model on development windows, with nothing dropped.

    Its result has the official scores, with several data files those of each, ``f1/NAME`` and ``exact_match/NAME``, and
    their mean over all questions, and, for each layer N with a predictor, ``precision_N`` and ``recall_N`` at a
    keep probability of 0.5, ``auc_N``, and ``kept98_N``: the share of blocks to keep so that 98 % of those with
    answers stay. ``selection`` is what checkpoints are compared by: F1, and between equals the predictors' mean AUC.
    Of several processes each reads some of the examples, and all have the same result.

    Raises:
        DataError: two examples of a file have the same id, or came in different formats.
    """
    check_files(windows.examples)
    shared = team or Processes()

    def evaluate(model: BlockSkimForQuestionAnswering) -> dict[str, float]:
        answers, layers, probabilities, relevant = _run_shared(model, windows, batch_size, max_answer_length, shared)
        files = scores_by_source(windows.examples, answers)
        pooled = mean_scores(files)
        metrics = {name: pooled[name] for name in ("exact_match", "f1")}
        if len(files) > 1:
            metrics |= {f"{name}/{file}": scores[name] for file, scores in files.items() for name in metrics}
        for layer, of_layer in zip(layers, probabilities, strict=True):
            precision, recall, _ = precision_recall(of_layer, relevant)
            metrics[f"precision_{layer}"] = precision
            metrics[f"recall_{layer}"] = recall
            metrics[f"auc_{layer}"] = area_under_roc(of_layer, relevant)
            metrics[f"kept98_{layer}"] = kept_at_recall(of_layer, relevant)
        areas = [metrics[f"auc_{layer}"] for layer in layers]
        metrics["selection"] = metrics["f1"] + 0.01 * float(np.nanmean([*areas, 0.0]))
        return {name: float(np.round(value, 5)) for name, value in metrics.items()}

    return evaluate


def _run_shared(
    model: BlockSkimForQuestionAnswering, windows: WindowSet, batch_size: int, max_answer_length: int, team: Processes
) -> tuple[list[ExampleAnswers], tuple[int, ...], NDArray[np.float64], NDArray[np.bool_]]:
    """Answers to all examples; numbers of layers, keep probabilities and truth of all blocks, whoever read them.

    Shape of the probabilities: (layers, blocks); of the truth: (blocks,)
    """
    own = np.flatnonzero(windows.examples_of() % team.count == team.rank)
    answers, scores = run_dense(
        model,
        windows,
        batch_size,
        max_answer_length,
        asking=Asking(untrained=True),
        selected=batches(windows, batch_size, own),
    )
    parts: list[tuple[list[ExampleAnswers], BlockScores]] = team.gather((answers[team.rank :: team.count], scores))
    found = [parts[number % team.count][0][number // team.count] for number in range(len(answers))]
    # A process whose contexts have no block that can be dropped has no layers either.
    scored = [part for _, part in parts if part.layers] or [scores]
    probabilities = np.concatenate([part.probabilities for part in scored], axis=1)
    return found, scored[0].layers, probabilities, np.concatenate([part.relevant for part in scored])
