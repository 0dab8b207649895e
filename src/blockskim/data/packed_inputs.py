"""Inputs of several samples side by side, without padding, and where question and context lie in each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PackedInputs:
    """Token ids of several samples, one sample behind the other.

    All places are counted from the first token of their sample.

    Attributes:
        ids: token ids of all samples. Shape: (tokens,)
        types: token types; None for a model that has none. Shape: (tokens,)
        lengths: tokens of each sample. Shape: (samples,)
        context_starts: place of the first context token of each sample. Shape: (samples,)
        context_lengths: context tokens of each sample. Shape: (samples,)
        questions: places of the question's tokens of each sample. Shape: (samples, question)
        question_exists: False where a question is shorter. Shape: (samples, question)
        documents: the document of each sample, as any number; samples of one document are windows of it.
            Shape: (samples,)
    """

    ids: Ints
    types: Ints | None
    lengths: Ints
    context_starts: Ints
    context_lengths: Ints
    questions: Ints
    question_exists: NDArray[np.bool_]
    documents: Ints

    @property
    def bounds(self) -> Ints:
        """Where each sample begins in ``ids``, and the end of the last one. Shape: (samples + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), self.lengths.cumsum()])

    @property
    def context_mask(self) -> NDArray[np.bool_]:
        """True on context tokens, as wide as the longest sample. Shape: (samples, longest)."""
        places = np.arange(self.lengths.max(initial=0))
        behind = self.context_starts + self.context_lengths
        return (places >= self.context_starts[:, None]) & (places < behind[:, None])


class QuestionMatrix(TypedDict):
    """The questions of several samples, as ``PackedInputs`` has them."""

    questions: Ints
    question_exists: NDArray[np.bool_]


def question_matrix(questions: Sequence[Ints]) -> QuestionMatrix:
    """Places of question tokens of several samples as one matrix, and which of its entries exist.

    Shapes: (tokens,) each to (samples, longest question) both; at least one column.
    """
    width = max([1, *map(len, questions)])
    matrix = np.zeros((len(questions), width), dtype=np.int64)
    exists = np.zeros((len(questions), width), dtype=bool)
    for row, places in enumerate(questions):
        matrix[row, : len(places)] = places
        exists[row, : len(places)] = True
    return {"questions": matrix, "question_exists": exists}


def join_packed(parts: Sequence[PackedInputs]) -> PackedInputs:
    """Inputs side by side that were packed apart; samples of different parts are of different documents.

    Args:
        parts: at least one; all have token types, or none has.
    """
    if len(parts) == 1:
        return parts[0]
    widths = [part.questions.shape[1] for part in parts]
    documents, first = [], 0
    for part in parts:
        _, numbers = np.unique(part.documents, return_inverse=True)
        documents.append(numbers.astype(np.int64) + first)
        first += int(numbers.max(initial=-1)) + 1

    def wide(name: str) -> NDArray[Any]:
        matrices = [getattr(part, name) for part in parts]
        return np.concatenate(
            [np.pad(matrix, ((0, 0), (0, max(widths) - width))) for matrix, width in zip(matrices, widths, strict=True)]
        )

    types = [part.types for part in parts if part.types is not None]
    return PackedInputs(
        ids=np.concatenate([part.ids for part in parts]),
        types=np.concatenate(types) if types else None,
        lengths=np.concatenate([part.lengths for part in parts]),
        context_starts=np.concatenate([part.context_starts for part in parts]),
        context_lengths=np.concatenate([part.context_lengths for part in parts]),
        questions=wide("questions"),
        question_exists=wide("question_exists"),
        documents=np.concatenate(documents),
    )
