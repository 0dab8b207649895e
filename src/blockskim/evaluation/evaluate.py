"""Official scores of a model on a data file, and what its answers cost."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSet, WindowSettings, make_windows
from blockskim.errors import DataError
from blockskim.evaluation.block_scores import answer_labels
from blockskim.evaluation.supporting_facts import FACT_THRESHOLD, Fact, FactCollector
from blockskim.inference.answers import AnswerCollector, ExampleAnswers, answer_texts, best_text
from blockskim.inference.runner import Progress, Thresholds, WindowBatch, run_windows
from blockskim.metrics.hotpotqa import score_hotpotqa
from blockskim.metrics.mrqa import score_mrqa
from blockskim.metrics.squad import score_squad, score_squad2
from blockskim.model.flops import dense_flops
from blockskim.model.modeling import BlockSkimForQuestionAnswering


@dataclass(slots=True)
class LayerCount:
    """Decisions of one layer's predictor, added up over windows.

    Attributes:
        droppable: blocks it droppable.
        kept: of these, kept.
        relevant: of these, holding answer tokens.
        right: kept and relevant.
    """

    droppable: int = 0
    kept: int = 0
    relevant: int = 0
    right: int = 0

    def summary(self, layer: int) -> dict[str, float | int | None]:
        """Precision, recall and share kept of what the layer droppable; None where nothing was there to divide by."""
        return {
            "layer": layer,
            "precision": self.right / self.kept if self.kept else None,
            "recall": self.right / self.relevant if self.relevant else None,
            "kept": self.kept / self.droppable if self.droppable else None,
        }


@dataclass(slots=True)
class CostReport:
    """What a run over windows cost and what its predictors did, added up batch by batch."""

    windows: int = 0
    blocks: int = 0
    flops: int = 0
    dense_flops: int = 0
    layers: dict[int, LayerCount] = field(default_factory=dict)
    kept_blocks: dict[int, int] = field(default_factory=dict)

    def add(self, batch: WindowBatch, windows: WindowSet) -> None:
        """Take in the trace of a batch."""
        trace = batch.output.trace
        assert trace is not None
        self.windows += len(batch.indices)
        self.blocks += int(trace.blocks.sum())
        self.flops += int(trace.flops.sum())
        self.dense_flops += int(trace.dense_flops.sum())
        if not trace.layers:
            return
        relevant = answer_labels(batch, windows)
        for index, layer in enumerate(trace.layers):
            droppable = ~trace.probabilities[index].isnan()
            kept = trace.kept[index]
            count = self.layers.setdefault(layer, LayerCount())
            count.droppable += int(droppable.sum())
            count.kept += int(kept.sum())
            count.relevant += int((relevant & droppable).sum())
            count.right += int((relevant & kept).sum())
            self.kept_blocks[layer] = self.kept_blocks.get(layer, 0) + int(kept.sum())

    def kept_by_layer(self, num_layers: int) -> list[float]:
        """Share of all droppable blocks still there after each layer, from the first layer to the last."""
        shares, last = [], 1.0
        for layer in range(1, num_layers + 1):
            if layer in self.kept_blocks:
                last = self.kept_blocks[layer] / max(1, self.blocks)
            shares.append(last)
        return shares


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, cost and answers of one run.

    Attributes:
        scores: what the data's official score gives.
        cost: arithmetic and predictor decisions.
        seconds: wall clock of tokenised windows to answers; loading, tokenisation and the counting of costs left out.
        predictions: answer text by example id.
        answers: candidates of each example.
        facts: supporting facts by example id (HotpotQA); None where there are none to tell.
        files: scores of each data file, where there are several.
    """

    scores: dict[str, float]
    cost: CostReport
    seconds: float
    predictions: dict[str, str]
    answers: list[ExampleAnswers]
    facts: dict[str, tuple[Fact, ...]] | None = None
    files: dict[str, dict[str, float]] = field(default_factory=dict)


def evaluate_windows(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    max_answer_length: int = 30,
    score_all_layers: bool = False,
    n_best: int = 1,
    progress: Progress | None = None,
    fact_threshold: float = FACT_THRESHOLD,
) -> Evaluation:
    """Answer every example of a window set and score the answers.

    Args:
        model: in evaluation mode.
        windows: of the examples to score.
        batch_size: windows a batch.
        thresholds: as ``skim`` takes them; 0 for a dense run.
        max_answer_length: most tokens in an answer.
        score_all_layers: ask predictors of layers whose threshold is 0 too.
        n_best: candidates to keep an example.
        progress: told after each batch.
        fact_threshold: keep probability from which a sentence is taken for a supporting fact (HotpotQA).
    """
    collector = AnswerCollector(windows, max_answer_length, n_best)
    facts = FactCollector(windows, fact_threshold)
    cost = CostReport()
    seconds, started = 0.0, time.perf_counter()
    for batch in run_windows(model, windows, batch_size, thresholds, score_all_layers, progress):
        collector.add(batch)
        seconds += time.perf_counter() - started
        cost.add(batch, windows)
        facts.add(batch)
        started = time.perf_counter()
    answers = collector.results()
    seconds += time.perf_counter() - started
    return scored(windows, answers, cost, seconds, facts.results())


def scored(
    windows: WindowSet,
    answers: list[ExampleAnswers],
    cost: CostReport,
    seconds: float,
    facts: dict[str, tuple[Fact, ...]] | None = None,
) -> Evaluation:
    """An evaluation of answers that were found."""
    files = scores_by_source(windows.examples, answers, facts)
    scores = next(iter(files.values())) if len(files) == 1 else mean_scores(files)
    predictions = answer_texts(windows, answers)
    return Evaluation(scores, cost, seconds, predictions, answers, facts, files if len(files) > 1 else {})


def scores_by_source(
    examples: Sequence[Example],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[str, Sequence[Fact]] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of the examples of each data file, by the official rules of its format; ``total`` is their number."""
    sources: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        sources.setdefault(example.source, []).append(number)
    files = {}
    for source, numbers in sources.items():
        chosen, found = [examples[number] for number in numbers], [answers[number] for number in numbers]
        texts = {example.id: best_text(example, answer) for example, answer in zip(chosen, found, strict=True)}
        files[source] = score(chosen, texts, found, facts)
    return files


def mean_scores(files: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Exact match and F1 over the questions of all files."""
    total = sum(scores["total"] for scores in files.values())
    means = {
        name: sum(scores[name] * scores["total"] for scores in files.values()) / total for name in ("exact_match", "f1")
    }
    return {**means, "total": total, "missing": sum(scores["missing"] for scores in files.values())}


def score(
    examples: Sequence[Example],
    predictions: dict[str, str],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[str, Sequence[Fact]] | None = None,
) -> dict[str, float]:
    """Scores by the official rules of the format that the examples came in."""
    metadata = dict(examples[0].metadata)
    if ("version", "2.0") in (fact for example in examples for fact in example.metadata):
        # The chance of "no answer" as a number that rises with it; its scale makes no difference to the score.
        null = {
            example.id: result.null_score - (result.candidates[0].score if result.candidates else -np.inf)
            for example, result in zip(examples, answers, strict=True)
        }
        chances = {name: float(1 / (1 + np.exp(-np.clip(value, -50, 50)))) for name, value in null.items()}
        return score_squad2(predictions, examples, chances, 0.5)
    if metadata.get("format") == "mrqa":
        return score_mrqa(predictions, examples)
    if metadata.get("format") == "hotpotqa":
        return score_hotpotqa(predictions, examples, facts)
    if metadata.get("format") == "hotpotqa-pseudo":
        return score_hotpotqa(predictions, examples)
    return score_squad(predictions, examples)


def padded_flops(model: BlockSkimForQuestionAnswering, windows: WindowSet) -> int:
    """Arithmetic of the dense model on the same windows, each padded to the longest allowed."""
    lengths = np.full(len(windows), windows.settings.max_length)
    return int(dense_flops(model.cost, lengths).sum())


def report(model: BlockSkimForQuestionAnswering, windows: WindowSet, result: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation as the command line prints them."""
    examples = len(windows.examples)
    padded = padded_flops(model, windows)
    cost = result.cost
    return {
        **result.scores,
        **({"files": result.files} if result.files else {}),
        "examples": examples,
        "windows": cost.windows,
        "flops_per_example": cost.flops / examples,
        "dense_flops_per_example": cost.dense_flops / examples,
        "padded_flops_per_example": padded / examples,
        "flops_speedup": cost.dense_flops / cost.flops,
        "flops_speedup_padded": padded / cost.flops,
        "seconds": result.seconds,
        "kept_by_layer": cost.kept_by_layer(len(model.cost.layers)),
        "predictor": [count.summary(layer) for layer, count in sorted(cost.layers.items())],
    }


def evaluate(
    model: BlockSkimForQuestionAnswering,
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example],
    settings: WindowSettings | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score a model on examples and report what its answers cost.

    Args:
        model: the model; put in evaluation mode.
        tokenizer: its fast tokenizer.
        examples: from ``read_examples``.
        settings: of the windows.
        **options: for ``evaluate_windows``: ``batch_size``, ``thresholds`` and so on.

    Returns:
        Official scores (percent) and cost; see the documentation of ``blockskim evaluate``.

    Raises:
        DataError: there are no examples.
    """
    chosen = list(examples)
    if not chosen:
        raise DataError("there are no examples to evaluate")
    windows = make_windows(chosen, tokenizer, settings)
    return report(model.eval(), windows, evaluate_windows(model.eval(), windows, **options))
