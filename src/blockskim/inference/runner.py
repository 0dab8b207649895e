"""Running windows through a model and gathering, for each example, its best answers over all its windows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blockskim.data.collate import pad_windows
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSet
from blockskim.inference.spans import best_spans
from blockskim.method.thresholds import layer_thresholds
from blockskim.model.modeling import BlockSkimForQuestionAnswering, SkimOutput

Thresholds = float | Sequence[float] | None
Progress = Callable[[int], None]
"""Called with the number of windows that were just done."""


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows that ran together.

    Attributes:
        indices: which windows. Shape: (batch,)
        inputs: padded inputs by name. Shape: (batch, tokens) each
        output: logits and trace.
        standings: how the example of each window fared, as far as this batch shows: the first layer in which none of
            its blocks passed the threshold, the keep probability of the block that was kept there nevertheless, and
            its window, negative; all infinite where blocks always passed. Higher is better. Shape: (batch, 3)
    """

    indices: NDArray[np.int64]
    inputs: dict[str, Tensor]
    output: SkimOutput
    standings: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer.

    Attributes:
        score: start logit plus end logit.
        start: first character in the context.
        end: one past the last character.
        window: the window it was found in.
    """

    score: float
    start: int
    end: int
    window: int

    def text(self, context: str) -> str:
        """The answer as it stands in the example's context."""
        return context[self.start : self.end]


@dataclass(frozen=True, slots=True)
class ExampleAnswers:
    """The best answers to one example, over all its windows.

    Attributes:
        candidates: best first, no span twice.
        null_score: score of "no answer": the smallest over the windows that were not dropped whole, as the official
            SQuAD 2.0 evaluation takes it.
        log_normalizer: what turns scores into probabilities, ``exp(score - log_normalizer)``: every token that could
            begin or end an answer in any of the windows, and one "no answer", share one scale.
    """

    candidates: tuple[Candidate, ...]
    null_score: float
    log_normalizer: float

    def probability(self, score: float) -> float:
        """Probability of a candidate's or the null score."""
        return float(np.exp(min(0.0, score - self.log_normalizer)))


def run_windows(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    score_all_layers: bool = False,
    progress: Progress | None = None,
    selected: Iterable[NDArray[np.int64]] | None = None,
) -> Iterator[WindowBatch]:
    """Run all windows, those of similar length and of the same example together.

    Args:
        model: in evaluation mode.
        windows: what to run.
        batch_size: windows a batch.
        thresholds: as ``skim`` takes them; 0 for a dense run.
        score_all_layers: ask predictors of layers whose threshold is 0 too.
        progress: told after each batch.
        selected: the batches to run, of those that ``batches`` makes; all when None.

    Yields:
        Batches, not in the order of the windows.
    """
    device = model.device
    for indices in batches(windows, batch_size) if selected is None else selected:
        items = [windows[int(index)] for index in indices]
        inputs = {name: value.to(device) for name, value in pad_windows(items, windows.template.pad_id).items()}
        examples = windows.windows[indices, 0]
        documents = torch.from_numpy(np.unique(examples, return_inverse=True)[1]).to(device)
        output = model.skim(**inputs, thresholds=thresholds, documents=documents, score_all_layers=score_all_layers)
        standings = _standings(output, _by_layer(model, thresholds), indices, examples)
        yield WindowBatch(indices, inputs, output, standings)
        if progress is not None:
            progress(len(indices))


def batches(windows: WindowSet, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Indices of windows that run together: longest examples first, the windows of an example side by side.

    Only an example of more than ``batch_size`` windows is spread over several batches.
    """
    examples = windows.windows[:, 0]
    lengths = windows.lengths
    longest = np.zeros(len(windows.examples), dtype=np.int64)
    np.maximum.at(longest, examples, lengths)
    order = np.lexsort((np.arange(len(windows)), examples, -longest[examples]))
    batch: list[int] = []
    bounds = [*(np.flatnonzero(np.diff(examples[order])) + 1).tolist(), len(order)]
    first = 0
    for end in bounds:
        group = order[first:end].tolist()
        first = end
        if batch and len(batch) + len(group) > batch_size:
            yield np.array(batch)
            batch = []
        while len(group) > batch_size:
            yield np.array(group[:batch_size])
            group = group[batch_size:]
        batch += group
    if batch:
        yield np.array(batch)


def whole_examples(
    batches: Iterable[WindowBatch], windows: WindowSet, least: int = 1024
) -> Iterator[list[WindowBatch]]:
    """Batches in groups of at least so many windows, each with all windows of its examples."""
    group: list[WindowBatch] = []
    held: set[int] = set()
    count = 0
    for batch in batches:
        examples = set(windows.windows[batch.indices, 0].tolist())
        if count >= least and not examples & held:
            yield group
            group, count = [], 0
        # Windows of an example run in consecutive batches, so the last batch tells whether it goes on.
        held = examples
        group.append(batch)
        count += len(batch.indices)
    if group:
        yield group


def _by_layer(model: BlockSkimForQuestionAnswering, thresholds: Thresholds) -> dict[int, float]:
    values = model.thresholds if thresholds is None else layer_thresholds(thresholds, model.skim_layers)
    return dict(zip(model.skim_layers, values, strict=True))


def _standings(
    output: SkimOutput, thresholds: dict[int, float], indices: NDArray[np.int64], examples: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Where each window's example kept a block only because one has to stay; see WindowBatch. Shape: (batch, 3)."""
    standings = np.full((len(examples), 3), np.inf)
    trace = output.trace
    assert trace is not None
    for index in range(len(trace.layers) - 1, -1, -1):
        probabilities = trace.probabilities[index]
        spared = trace.kept[index] & ~(probabilities >= thresholds[trace.layers[index]])
        if bool(spared.any()):
            for row in spared.any(-1).nonzero().flatten().tolist():
                probability = float(probabilities[row][spared[row]].max())
                standings[examples == examples[row]] = trace.layers[index], probability, -indices[row]
    return standings


class AnswerCollector:
    """Gathers the answers of batches by example; order and grouping of the batches make no difference.

    Of an example that is spread over several batches, each batch keeps a block. As if all its windows had run
    together, only the batches count in which blocks passed the thresholds, or, when there is none, the one in which
    the likeliest block was left last.
    """

    def __init__(self, windows: WindowSet, max_answer_length: int = 30, n_best: int = 1) -> None:
        """Collect the ``n_best`` best spans of at most ``max_answer_length`` tokens of each example."""
        self.windows = windows
        self.max_answer_length = max_answer_length
        self.n_best = n_best
        size = len(windows.examples)
        self._candidates: list[list[Candidate]] = [[] for _ in range(size)]
        self._null = np.full((size, 2), np.inf)
        self._sums = np.full((size, 2), -np.inf)
        self._standings: list[tuple[float, ...]] = [(-np.inf,)] * size

    def add(self, batch: WindowBatch) -> None:
        """Take in the logits of a batch."""
        start_logits, end_logits = batch.output.start_logits, batch.output.end_logits
        assert start_logits is not None and end_logits is not None
        context = batch.inputs["context_mask"]
        # A few more than asked, as the same span may turn up in the overlap of two windows.
        wanted = self.n_best if len(batch.indices) == 1 else self.n_best + (self.n_best > 1) * self.n_best
        spans = best_spans(start_logits, end_logits, context, self.max_answer_length, wanted)
        scores, starts, ends = (values.cpu().numpy() for values in (spans.scores, spans.starts, spans.ends))
        both = torch.stack([start_logits, end_logits], -1).float()
        sums = both.masked_fill(~context.bool()[..., None], -torch.inf).logsumexp(1).cpu().numpy()
        nulls = both[:, 0].cpu().numpy()
        for row, index in enumerate(batch.indices):
            example, first, _ = (int(value) for value in self.windows.windows[index])
            shift = first - self.windows.context_start(int(index))
            if not self._counts(example, tuple(batch.standings[row].tolist())):
                continue
            self._sums[example] = np.logaddexp(self._sums[example], sums[row])
            if nulls[row].sum() < self._null[example].sum() and np.isfinite(nulls[row]).all():
                self._null[example] = nulls[row]
            for score, start, end in zip(scores[row], starts[row], ends[row], strict=True):
                if not np.isfinite(score):
                    break
                span = self.windows.character_span(example, int(start) + shift, int(end) + shift)
                self._candidates[example].append(Candidate(float(score), *span, int(index)))

    def _counts(self, example: int, standing: tuple[float, ...]) -> bool:
        """Whether a window of a batch with this standing counts; what counted before may no longer do so."""
        if standing > self._standings[example]:
            self._standings[example] = standing
            self._candidates[example] = []
            self._null[example] = np.inf
            self._sums[example] = -np.inf
        return standing == self._standings[example]

    def results(self) -> list[ExampleAnswers]:
        """Answers of every example, in the order of the examples."""
        return [self.result(example) for example in range(len(self.windows.examples))]

    def result(self, example: int) -> ExampleAnswers:
        """Answers of one example."""
        ranked = sorted(self._candidates[example], key=lambda item: (-item.score, item.start, item.end))
        distinct: dict[tuple[int, int], Candidate] = {}
        for candidate in ranked:
            distinct.setdefault((candidate.start, candidate.end), candidate)
        null = self._null[example]
        sums = np.logaddexp(self._sums[example], null) if np.isfinite(null).all() else self._sums[example]
        return ExampleAnswers(tuple(list(distinct.values())[: self.n_best]), float(null.sum()), float(sums.sum()))


def answer_texts(windows: WindowSet, answers: Sequence[ExampleAnswers]) -> dict[str, str]:
    """The best answer of each example by its id; "" where there is none."""
    return {example.id: best_text(example, answer) for example, answer in zip(windows.examples, answers, strict=True)}


def best_text(example: Example, answer: ExampleAnswers) -> str:
    """The best answer to an example; "" where there is none."""
    return answer.candidates[0].text(example.context) if answer.candidates else ""
