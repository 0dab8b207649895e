"""Official scores of a model on a data file, and what its answers cost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from blockskim.checks import check_count, check_range
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSet
from blockskim.errors import DataError
from blockskim.evaluation.cost import CostReport, padded_flops
from blockskim.evaluation.reliability import Reliability, measured_reliability
from blockskim.evaluation.scoring import WITHOUT_CONFIDENCE, check_files, check_ids, mean_scores, scores_by_source
from blockskim.evaluation.supporting_facts import FACT_THRESHOLD, Fact, FactCollector
from blockskim.inference.answers import AnswerCollector, ExampleAnswers, PartialAnswers, answer_texts, merge_answers
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import ReadingPlan
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.inference.runner import Progress, Thresholds, batches, run_windows
from blockskim.method.skim_trace import Asking


# Without slots, which have no place for what is made once.
@dataclass(frozen=True)
class Evaluation:
    """Scores, cost and answers of one run.

    Attributes:
        scores: what the data's official score gives; NaN where the data tells no answers.
        cost: FLOPs and predictor decisions.
        seconds: wall clock of tokenised windows to answers; loading, tokenisation and the counting of costs left out.
        examples: that were answered, of one or several files.
        answers: candidates of each example.
        facts_by_place: supporting facts by the example's place (HotpotQA); None where no predictor was asked.
        files: scores of each data file, where there are several.
        reliability: of the answers' confidence; None where the model has none, or the data tells no answers.
        rule: when a question of SQuAD 2.0 counts as "no answer".
    """

    scores: dict[str, float]
    cost: CostReport
    seconds: float
    examples: Sequence[Example]
    answers: list[ExampleAnswers]
    facts_by_place: dict[int, tuple[Fact, ...]] | None = None
    files: dict[str, dict[str, float]] = field(default_factory=dict)
    reliability: Reliability | None = None
    rule: NoAnswerRule = WITHOUT_CONFIDENCE

    @cached_property
    def predictions(self) -> dict[str, str]:
        """The best answer's text by example id, also where "no answer" is likelier.

        ``official_predictions`` gives what official scripts take.

        Raises:
            DataError: two examples have the same id, as those of several files may.
        """
        check_ids(self.examples)
        return answer_texts(self.examples, self.answers)

    @cached_property
    def facts(self) -> dict[str, tuple[Fact, ...]] | None:
        """Supporting facts by example id (HotpotQA); None where no predictor was asked.

        Raises:
            DataError: two examples have the same id, as those of several files may.
        """
        if self.facts_by_place is None:
            return None
        check_ids(self.examples)
        return {self.examples[place].id: facts for place, facts in self.facts_by_place.items()}


def evaluate_windows(
    model: Backend,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    max_answer_length: int = 30,
    score_all_layers: bool = False,
    n_best: int = 1,
    progress: Progress | None = None,
    fact_threshold: float = FACT_THRESHOLD,
    no_answer_threshold: float | None = None,
    max_cost: float | None = None,
) -> Evaluation:
    """Answer every example of a window set and score the answers.

    Args:
        model: in evaluation mode.
        windows: of the examples to score.
        batch_size: windows per batch.
        thresholds: as ``skim`` takes them; 0 for a dense run.
        max_answer_length: most tokens in an answer.
        score_all_layers: ask predictors of layers whose threshold is 0 too.
        n_best: candidates to keep per example.
        progress: called with the number of windows after each batch.
        fact_threshold: keep probability from which a sentence is taken for a supporting fact (HotpotQA).
        no_answer_threshold: chance of "no answer" above which a question of SQuAD 2.0 counts as having none; None for
            the one that was calibrated, or where its score is above the best answer's. 1 always answers.
        max_cost: bound of the FLOPs for reading an example's context, as a share of the dense model's; see
            ``ReadingPlan``.

    Raises:
        ConfigError: one of the numbers is impossible.
        DataError: there are no examples, or two of a file have the same id or came in different formats.

    Examples:
        >>> from blockskim import evaluate_windows, load, make_windows, read_examples
        >>> loaded = load("my-model", device="cpu")
        >>> examples = list(read_examples("dev.json"))
        >>> found = evaluate_windows(loaded.model, make_windows(examples, loaded.tokenizer), thresholds=0.3)
        >>> set(found.predictions) == {example.id for example in examples}
        True
    """
    check_examples(windows)
    max_answer_length, n_best = check_count("max_answer_length", max_answer_length), check_count("n_best", n_best)
    check_range("fact_threshold", fact_threshold, 0.0, 1.0)
    rule = NoAnswerRule(model.confidence, no_answer_threshold)
    started = time.perf_counter()
    asking = Asking(all_layers=score_all_layers)
    reading = ReadingPlan(model, windows, thresholds, max_cost, asking)
    facts = FactCollector(windows, fact_threshold)
    cost = CostReport()
    parts: list[list[PartialAnswers]] = [[] for _ in windows.examples]
    counting = 0.0
    for phase in reading.phases():
        read = phase.windows
        collector = AnswerCollector(read, max_answer_length, n_best)
        selected = batches(read, max(check_count("batch_size", batch_size), phase.least_batch), phase.among)
        for batch in run_windows(
            model, read, thresholds=thresholds, asking=asking, progress=progress, selected=selected
        ):
            collector.add(batch)
            reading.spend(batch, phase)
            counted = time.perf_counter()
            cost.add(batch, read, reading)
            facts.add(batch, read)
            counting += time.perf_counter() - counted
        for example in phase.examples():
            parts[example].append(collector.part(example))
    answers = [merge_answers(part, n_best) for part in parts]
    seconds = time.perf_counter() - started - counting
    if progress is not None:
        # What is not read of long documents is done, too.
        progress(max(0, len(windows) - cost.windows))
    cost.add_reading(reading, model.skim_config.block_size)
    return evaluation_of(windows, answers, cost, seconds, facts.results(), rule)


def check_examples(windows: WindowSet) -> None:
    """Refuse what can't be scored, before it is read.

    Raises:
        DataError: there are no examples, or two of a file have the same id or came in different formats.
    """
    if not windows.examples:
        raise DataError("there are no examples to evaluate")
    check_files(windows.examples)


def evaluation_of(
    windows: WindowSet,
    answers: list[ExampleAnswers],
    cost: CostReport,
    seconds: float,
    facts: dict[int, tuple[Fact, ...]] | None = None,
    rule: NoAnswerRule = WITHOUT_CONFIDENCE,
) -> Evaluation:
    """Score the answers of a run.

    Args:
        windows: that it read.
        answers: to each example.
        cost: of the run.
        seconds: that it took.
        facts: supporting facts by the example's place (HotpotQA); None where no predictor was asked.
        rule: when a question of SQuAD 2.0 counts as "no answer".
    """
    files = scores_by_source(windows.examples, answers, facts, rule)
    scores = next(iter(files.values())) if len(files) == 1 else mean_scores(files)
    reliability = measured_reliability(windows.examples, answers, rule)
    several = files if len(files) > 1 else {}
    return Evaluation(scores, cost, seconds, windows.examples, answers, facts, several, reliability, rule)


def report(model: Backend, windows: WindowSet, result: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation as the command line prints them."""
    examples = len(windows.examples)
    padded = padded_flops(model, windows)
    cost = result.cost
    # Without answers in the data nobody knows which blocks hold them.
    unknown = {} if all(example.annotated for example in windows.examples) else {"precision": None, "recall": None}
    return {
        **result.scores,
        **({"files": result.files} if result.files else {}),
        **({} if result.reliability is None else {"confidence": result.reliability.summary()}),
        "examples": examples,
        "windows": cost.windows,
        "flops_per_example": cost.flops / examples,
        "dense_flops_per_example": cost.dense_flops / examples,
        "padded_flops_per_example": padded / examples,
        "flops_speedup": cost.flops_speedup,
        "flops_speedup_padded": padded / cost.flops,
        "seconds": result.seconds,
        "kept_by_layer": cost.kept_by_layer(model.num_layers),
        "predictor": [count.summary(layer) | unknown for layer, count in sorted(cost.layers.items())],
    }


def evaluate(model: Backend, windows: WindowSet, **options: Any) -> dict[str, Any]:
    """Score a model on windows and report what its answers cost.

    Args:
        model: the model, of PyTorch or exported; one of PyTorch is put in evaluation mode.
        windows: from ``make_windows``, as ``calibrate`` takes them.
        **options: for ``evaluate_windows``: ``batch_size``, ``thresholds`` and so on.

    Returns:
        Official scores (percent) and cost, by the keys of ``blockskim evaluate --json``;
        ``docs/reference/json-output.md`` says what each is.

    Raises:
        DataError: there are no examples.

    Examples:
        >>> from blockskim import evaluate, load, make_windows, read_examples
        >>> loaded = load("my-model", device="cpu")
        >>> windows = make_windows(list(read_examples("dev.json")), loaded.tokenizer)
        >>> figures = evaluate(loaded.model, windows, thresholds=0.3)
        >>> 0 <= figures["f1"] <= 100 and figures["flops_speedup"] > 0
        True
    """
    # Modules of PyTorch alone have modes.
    getattr(model, "eval", lambda: None)()
    return report(model, windows, evaluate_windows(model, windows, **options))
