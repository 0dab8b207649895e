"""The dense run that calibration starts from: what predictors say of all blocks, and which blocks answers lie in."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.calibration.points import Point
from blockskim.calibration.settings import TaskProgress
from blockskim.data.examples import Example, check_annotated
from blockskim.data.tokens import covering_tokens
from blockskim.data.windows import WindowSet
from blockskim.errors import DataError
from blockskim.evaluation.block_scores import BlockScores, run_dense
from blockskim.evaluation.scoring import (
    by_source,
    check_files,
    f1_by_example,
    has_version_2,
    mean_scores,
    scores_by_source,
)
from blockskim.inference.answers import ExampleAnswers, best_text
from blockskim.inference.backend import Backend
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.metrics.squad import token_f1

logger = logging.getLogger(__name__)

RECORDING = "recording"
"""The task that progress is reported of while the dense model runs."""


@dataclass(frozen=True, slots=True)
class AnswerBlocks:
    """The blocks in which the dense model's answers begin or end, and what these answers are worth.

    Attributes:
        blocks: indices of blocks. Shape: (answer_blocks,)
        examples: the example of the answer in each of these blocks. Shape: (answer_blocks,)
        f1: of the words of the dense model's best span for each example, in percent, whether or not it would be given;
            0 where there is no answer. Shape: (examples,)
    """

    blocks: NDArray[np.int64]
    examples: NDArray[np.int64]
    f1: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that is kept of a dense run.

    Attributes:
        dense: the point at which nothing is dropped, with its scores.
        block_scores: what every predictor says of every block.
        answer_blocks: the blocks of the model's answers.
        example_f1: official F1 of each example, in percent; one that is declined counts as answered by nothing.
            Shape: (examples,)
    """

    dense: Point
    block_scores: BlockScores
    answer_blocks: AnswerBlocks
    example_f1: NDArray[np.float64]


def record(
    model: Backend,
    windows: WindowSet,
    batch_size: int,
    max_answer_length: int,
    progress: TaskProgress | None = None,
) -> Recording:
    """Run a model with nothing dropped and every predictor asked.

    Args:
        model: in evaluation mode.
        windows: of the examples to calibrate on.
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        progress: called with ``RECORDING`` and the number of windows after each batch.

    Raises:
        DataError: the data of an example tells no answers, two examples of a file have the same id or came in different
            formats, or there is no block that could be dropped.
    """
    check_annotated(windows.examples)
    check_files(windows.examples)
    report = None if progress is None else lambda windows_done: progress(RECORDING, windows_done)
    answers, block_scores = run_dense(model, windows, batch_size, max_answer_length, report)
    if not block_scores.layers:
        raise DataError(
            "no block of the data could be dropped: its contexts are so short that they lie in blocks with their "
            "questions; calibrate on longer ones"
        )
    rule = NoAnswerRule(model.confidence)
    _warn_of_declined(windows.examples, answers, rule)
    scores = mean_scores(scores_by_source(windows.examples, answers, rule=rule))
    nothing_dropped = (0.0,) * len(block_scores.layers)
    dense = Point(nothing_dropped, 1.0, 0.0, scores["f1"], scores["exact_match"])
    answer_blocks = find_answer_blocks(block_scores, windows, answers)
    return Recording(dense, block_scores, answer_blocks, f1_by_example(windows.examples, answers, rule))


def _warn_of_declined(examples: Sequence[Example], answers: Sequence[ExampleAnswers], rule: NoAnswerRule) -> None:
    """Warn of files all of whose questions have an answer, but are scored by rules by which one may be declined.

    Declined ones count as lost with and without skimming, so that the loss of the others looks smaller.
    """
    for source, pairs in by_source(examples, answers).items():
        asked = [example for example, _ in pairs]
        if has_version_2(asked) and all(example.answerable for example in asked):
            declined = sum(rule.declines(answer) for _, answer in pairs)
            if declined:
                logger.warning(
                    "%s: all questions have an answer, but by the rules of SQuAD 2.0 the dense model declines %d of "
                    "%d, which have nothing to lose; where it is to answer always, calibrate on a copy of version 1.1",
                    source or "the data",
                    declined,
                    len(asked),
                )


def find_answer_blocks(
    block_scores: BlockScores, windows: WindowSet, answers: Sequence[ExampleAnswers]
) -> AnswerBlocks:
    """The blocks in which the best answers begin or end, and the F1 of these answers.

    Args:
        block_scores: of the run that gave the answers.
        windows: that it read.
        answers: to each example.
    """
    blocks_of = _blocks_by_window(block_scores)
    blocks, examples = [], []
    for example, answer in enumerate(answers):
        if not answer.candidates or answer.candidates[0].window not in blocks_of:
            continue
        best = answer.candidates[0]
        in_window = blocks_of[best.window]
        token_spans = windows.contexts.offsets_of(int(windows.context_of[example]))
        for token in set(covering_tokens(token_spans, best.start, best.end)):
            from_start = token - windows.context_offset(best.window) - block_scores.starts[in_window]
            holding = in_window[(from_start >= 0) & (from_start < block_scores.tokens[in_window])]
            blocks += holding.tolist()
            examples += [example] * len(holding)
    f1 = span_f1(windows.examples, answers)
    return AnswerBlocks(np.array(blocks, dtype=np.int64), np.array(examples, dtype=np.int64), f1)


def span_f1(examples: Sequence[Example], answers: Sequence[ExampleAnswers]) -> NDArray[np.float64]:
    """F1 of the words of the best span for each example, in percent. Shape: (examples,).

    Args:
        examples: of any files, whose ids may be the same.
        answers: to each example.
    """
    texts = [best_text(example, answer) for example, answer in zip(examples, answers, strict=True)]
    return np.array(
        [
            100 * max((token_f1(text, known) for known in example.references), default=0.0)
            for example, text in zip(examples, texts, strict=True)
        ]
    )


def _blocks_by_window(block_scores: BlockScores) -> dict[int, NDArray[np.int64]]:
    """Indices of the blocks of each window that has some."""
    order = np.argsort(block_scores.windows, kind="stable")
    bounds = np.flatnonzero(np.diff(block_scores.windows[order])) + 1
    return {int(block_scores.windows[blocks[0]]): blocks for blocks in np.split(order, bounds)}
