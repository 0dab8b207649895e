"""Choosing what of long documents is read at all, and how far reading goes that may cost so much and no more."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_number
from blockskim.data.window_bounds import cut_lengths
from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError
from blockskim.inference.backend import Backend
from blockskim.inference.runner import Thresholds, WindowBatch
from blockskim.method.cost import dense_flops
from blockskim.method.first_stage import block_scores, chosen_blocks
from blockskim.method.skim_trace import AS_NEEDED, Asking
from blockskim.method.thresholds import asked_thresholds

LEAST_TOKENS = 1536
"""Context tokens of a document that are read whatever they score: the best ones. Shorter documents are read whole."""

PHASE_WINDOWS = 16
"""The most windows of a document that a phase reads under a bound. They run in one batch, whatever the batch size, so
that what they cost, and with it what is read next, does not depend on it."""

FEWEST_BLOCKS = 4
"""A phase of less is not worth its question."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What is read at once.

    Attributes:
        windows: of the examples, some perhaps with passages alone.
        among: the windows to run; None for all of them.
        least_batch: windows that run together at least, whatever the batch size.
    """

    windows: WindowSet
    among: NDArray[np.int64] | None = None
    least_batch: int = 1

    def examples(self) -> list[int]:
        """The examples of which something is read."""
        if self.among is None:
            return list(range(len(self.windows.examples)))
        found: list[int] = np.unique(self.windows.examples_of(self.among)).tolist()
        return found


class ReadingPlan:
    """What is read of every document, in phases; what each cost is told before the next is asked for.

    Attributes:
        whole: all windows of all documents.
        unread: tokens of its context that were not read so far, by example, of those of which not all is read.
            Shape: (tokens,) each
        flops: spent on choosing, by example, of those for which there was a choice.
        dense_flops: of the plain model on all windows of these examples.
    """

    def __init__(
        self,
        backend: Backend,
        windows: WindowSet,
        thresholds: Thresholds = None,
        max_cost: float | None = None,
        asking: Asking = AS_NEEDED,
    ) -> None:
        """Decide which documents are read in passages.

        Args:
            backend: whose ``document_threshold`` says what of a long document is read, if it has trained predictors.
            windows: of the whole documents.
            thresholds: of the run, as ``run_windows`` takes them; where they are all 0, all is read unless there is a
                bound.
            max_cost: bound of the FLOPs for reading a document, as a share of the plain model's, above 0 and up to 1.
                It then is what decides.
            asking: which predictors are asked; they count to the bound.

        Raises:
            ConfigError: the bound is impossible, or blocks are cut as in the paper, which passages can't hold.
        """
        self.whole = windows
        self.unread: dict[int, NDArray[np.bool_]] = {}
        self.flops: dict[int, int] = {}
        self.dense_flops: dict[int, int] = {}
        self._backend = backend
        self._size = backend.skim_config.block_size
        self._max_cost = None if max_cost is None else check_max_cost(max_cost)
        self._spent: dict[int, int] = {}
        own, layers = backend.skim_config.thresholds, backend.skim_layers
        dropping = asked_thresholds(thresholds, own, layers)
        self._asked = tuple(asked_thresholds(thresholds, own, layers, asking.all_layers))
        # Blocks that are cut from the start of the input would lie across passages.
        possible = backend.skim_config.alignment == "context"
        if self._max_cost is not None and not possible:
            raise ConfigError("max_cost needs a model whose blocks are cut from the context (alignment 'context')")
        skims = possible and bool(dropping) and backend.has_trained_predictors
        self._threshold = backend.skim_config.document_threshold if skims else 0.0

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound, under which an example may be read in several phases."""
        return self._max_cost is not None

    def phases(self) -> Iterator[Phase]:
        """What to read, one after the other; ``spend`` is to be called with every batch of a phase before the next."""
        if self._max_cost is not None:
            yield from self._phases_within(self._max_cost)
            return
        chosen = {} if not self._threshold else self._passages()
        if not chosen:
            yield Phase(self.whole)
            return
        self.unread = {example: ~tokens for example, tokens in chosen.items()}
        yield Phase(self.whole.selected(chosen, self._size))

    def spend(self, batch: WindowBatch, phase: Phase) -> None:
        """Take in what a batch of a phase cost."""
        for example, flops in zip(
            phase.windows.examples_of(batch.indices).tolist(), batch.scores.trace.flops.tolist(), strict=True
        ):
            self._spent[example] = self._spent.get(example, 0) + int(flops)

    def _passages(self) -> dict[int, NDArray[np.bool_]]:
        """The tokens that are worth reading, of documents of which not all are."""
        sizes = np.diff(self.whole.contexts.bounds)[self.whole.context_of]
        chosen = {}
        for example in np.flatnonzero(sizes > LEAST_TOKENS).tolist():
            blocks = chosen_blocks(self._scores(example), self._threshold, LEAST_TOKENS // self._size)
            if not blocks.all():
                chosen[example] = self._tokens(example, blocks)
        self._count_dense(list(self.flops))
        return chosen

    def _phases_within(self, max_cost: float) -> Iterator[Phase]:
        """Phases whose cost, were nothing dropped in them, fits into what is left of the bound."""
        examples = list(range(len(self.whole.examples)))
        self._count_dense(examples)
        orders = {example: np.argsort(-self._scores(example), kind="stable") for example in examples}
        self.unread = {
            example: np.ones(self._context_size(example), dtype=np.bool_)
            for example in examples
            if len(orders[example])
        }
        first = True
        while orders:
            chosen = {}
            for example, order in orders.items():
                left = max_cost * self.dense_flops[example] - self._spent.get(example, self.flops[example])
                count = self._affordable(example, len(order), left)
                if first or count >= min(FEWEST_BLOCKS, len(order)):
                    blocks = np.zeros(-(-self._context_size(example) // self._size), dtype=np.bool_)
                    blocks[order[: max(count, 1)]] = True
                    chosen[example] = self._tokens(example, blocks)
                    orders[example] = order[max(count, 1) :]
            if not chosen:
                return
            nothing = {example: np.zeros(len(tokens), np.bool_) for example, tokens in self.unread.items()}
            windows = self.whole.selected({**nothing, **chosen}, self._size)
            for example, tokens in chosen.items():
                if example in self.unread:
                    self.unread[example] &= ~tokens
            self._spent = {example: self._spent.get(example, self.flops[example]) for example in examples}
            among = np.flatnonzero(np.isin(windows.examples_of(), list(chosen)))
            yield Phase(windows, among, PHASE_WINDOWS)
            orders = {example: orders[example] for example in chosen if len(orders[example])}
            self.unread = {example: tokens for example, tokens in self.unread.items() if tokens.any()}
            first = False

    def _affordable(self, example: int, blocks: int, flops: float) -> int:
        """How many more blocks of a document may be read, whatever is dropped of them."""
        low, high = 0, blocks
        while low < high:
            middle = (low + high + 1) // 2
            lengths = self._lengths(example, middle * self._size)
            if len(lengths) <= PHASE_WINDOWS and self._most_flops(example, lengths) <= flops:
                low = middle
            else:
                high = middle - 1
        return low

    def _lengths(self, example: int, tokens: int) -> NDArray[np.int64]:
        """Lengths of the windows that so many context tokens make."""
        question, template = len(self.whole.question_ids(example)), self.whole.template
        around = question + template.special_tokens
        inside = cut_lengths(
            tokens, self.whole.settings.max_length - around, self.whole.settings.doc_stride, self._size
        )
        return np.array(inside, dtype=np.int64) + around

    def _most_flops(self, example: int, lengths: NDArray[np.int64]) -> int:
        """What windows cost if every predictor is asked for every block and nothing is dropped."""
        asked = len(self.whole.question_ids(example))
        blocks = -(-lengths // self._size)
        scoring = sum(int(self._backend.predictor_cost(layer, asked).of(blocks).sum()) for layer in self._asked)
        return int(dense_flops(self._backend.cost, lengths).sum()) + scoring

    def _scores(self, example: int) -> NDArray[np.float64]:
        """Of the blocks of a document; what they took is noted."""
        context = self.whole.contexts.ids_of(int(self.whole.context_of[example]))
        question = self.whole.question_ids(example)
        embed = self._backend.word_embeddings if self._backend.has_word_embeddings else None
        scores, self.flops[example] = block_scores(context, question, self._size, embed)
        return scores

    def _tokens(self, example: int, blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        tokens: NDArray[np.bool_] = np.repeat(blocks, self._size)[: self._context_size(example)]
        return tokens

    def _context_size(self, example: int) -> int:
        return len(self.whole.contexts.ids_of(int(self.whole.context_of[example])))

    def _count_dense(self, examples: Sequence[int]) -> None:
        each = dense_flops(self._backend.cost, self.whole.lengths)
        sums = np.bincount(self.whole.examples_of(), each, len(self.whole.examples))
        self.dense_flops = {example: int(sums[example]) for example in examples}


def check_max_cost(value: object) -> float:
    """A bound of what reading may cost as a number of Python.

    Raises:
        ConfigError: it is no number above 0 and up to 1.
    """
    number = float(check_number("max_cost", value))
    if not 0 < number <= 1:
        raise ConfigError(f"max_cost is {number}; it is a share of the dense FLOPs, above 0 and up to 1")
    return number
