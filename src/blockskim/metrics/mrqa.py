"""The official score of the MRQA 2019 shared task.

Reference: Fisch et al., MRQA 2019, with mrqa_official_eval.py (https://github.com/mrqa/MRQA-Shared-Task-2019). It is
the SQuAD 1.1 score over the ``answers`` of every question id; the code is ours.
"""

from collections.abc import Iterable, Mapping

from blockskim.data.examples import Example
from blockskim.errors import DataError
from blockskim.metrics.squad import score_squad


def score_mrqa(
    predictions: Mapping[str, str], examples: Iterable[Example], skip_missing: bool = False
) -> dict[str, float]:
    """The official MRQA score.

    Where an id occurs twice, the later question alone counts, as in the official script.

    Args:
        predictions: an answer text for each question id; others are ignored.
        examples: the questions, all of them with references.
        skip_missing: leave questions without a prediction out of the average (the official ``--skip-no-answer``)
            instead of scoring them 0.

    Returns:
        ``exact_match`` and ``f1`` (0 to 100), ``total`` and ``missing`` (numbers of questions).

    Raises:
        DataError: there are no questions to score, or one has no reference.
    """
    by_id = {example.id: example for example in examples}
    if skip_missing:
        missing = [name for name in by_id if name not in predictions]
        for name in missing:
            del by_id[name]
        if missing and not by_id:
            raise DataError("there are no questions to score: none of them has a prediction")
        return {**score_squad(predictions, by_id.values()), "missing": len(missing)}
    return score_squad(predictions, by_id.values())
