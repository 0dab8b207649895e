"""Running a benchmark: contenders on a workload, measured against each other, to one record per measurement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from blockskim.data.windows import WindowSet
from blockskim.evaluation.scoring import WITHOUT_CONFIDENCE, mean_scores, scores_by_source
from blockskim.inference.answers import AnswerCollector, ExampleAnswers
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.inference.runner import batches
from blockskim.inference.survival import ALWAYS
from blockskim.profiling.contenders import Batch, Contender, Inputs, Work
from blockskim.profiling.memory import peak_bytes
from blockskim.profiling.settings import BenchmarkSettings
from blockskim.profiling.timing import Spread, paired_speedup, spread_of, time_rounds
from blockskim.profiling.workloads import Workload, padded_batch

MAX_ANSWER_LENGTH = 30
Progress = Callable[[str, int], None]
"""Called with a line that says what is going on, and how many rounds were just done: 0 before one, 1 after it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One contender at one batch size. Figures are of one batch: the mean over the batches of the workload.

    Attributes:
        name: of the contender.
        workload: what it ran on.
        dtype: the number format that it computed in; "int8" for quantised weights.
        device: where.
        threads: processor threads.
        end_to_end: whether seconds are from tokenised windows to answers, instead of those of the model alone.
        batch_size: samples per batch, at most.
        batches: batches in the workload.
        samples: samples in the workload.
        rounds: how often the workload was timed.
        median_seconds: median over the rounds.
        min_seconds: the fastest round.
        spread: lower and upper quartile of the seconds.
        samples_per_second: throughput at the median.
        flops: operations, padding and predictors included.
        tokens: tokens that enter the first layer, padding included.
        matmul_fraction: operations per second as a share of ``matmul_rate``; None where there is no such rate (int8).
        matmul_rate: measured operations per second of products of large matrices, on the same device and threads and in
            the same number format.
        peak_bytes: most memory held at once by the workload's largest batch, beyond weights and inputs; None where it
            can't be seen (ONNX Runtime).
        weight_bytes: size of the weights.
        kept_by_layer: share of the context blocks that is there after each layer; None for models that don't skim.
        speedup_over: by baseline, the median over the rounds of its seconds over this one's.
        speedup_spread: lower and upper quartile of the same.
        exact_match: official score in percent, where the data tell answers; of several files, the mean over all
            questions. Documents are read whole, however long.
        f1: likewise.
    """

    name: str
    workload: str
    dtype: str
    device: str
    threads: int
    end_to_end: bool
    batch_size: int
    batches: int
    samples: int
    rounds: int
    median_seconds: float
    min_seconds: float
    spread: tuple[float, float]
    samples_per_second: float
    flops: int
    tokens: int
    matmul_fraction: float | None
    matmul_rate: float | None
    peak_bytes: int | None
    weight_bytes: int
    kept_by_layer: list[float] | None = None
    speedup_over: dict[str, float] = field(default_factory=dict)
    speedup_spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    exact_match: float | None = None
    f1: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Result:
    """What a contender did on a workload, apart from the time it took."""

    work: Work
    peak: int | None
    scores: Mapping[str, float]


def run_benchmark(
    contenders: Sequence[Contender],
    workload: Workload,
    batch_size: int,
    device: torch.device,
    rates: Mapping[str, float],
    settings: BenchmarkSettings,
    progress: Progress | None = None,
    rule: NoAnswerRule = WITHOUT_CONFIDENCE,
) -> list[Record]:
    """Measure contenders against each other at one batch size.

    Every contender first runs the workload once without a clock, to count its work, take its peak memory and score its
    answers; then come the timed rounds, in which all of them take turns.

    Args:
        contenders: with distinct names.
        workload: what they run on.
        batch_size: samples per batch, at most.
        device: where they run.
        rates: measured operations per second of matrix products, by number format.
        settings: baselines, rounds, and whether all of inference is timed.
        progress: called with what is going on, and the rounds that were just done.
        rule: when a question of SQuAD 2.0 counts as "no answer".
    """
    progress = progress or _ignore
    samples = workload.batches(batch_size, device)
    passes: dict[str, Callable[[], object]] = {}
    results: dict[str, _Result] = {}
    for contender in contenders:
        progress(f"batch size {batch_size}: {contender.name}", 0)
        prepared = [contender.prepare(batch) for batch in samples]
        results[contender.name] = _Result(
            _count(contender, prepared),
            _peak(contender, samples, device),
            _scores(contender, workload, batch_size, device, rule),
        )
        passes[contender.name] = (
            _answer_pass(contender, workload, batch_size, device)
            if settings.end_to_end
            else _model_pass(contender, prepared)
        )
    done = 0

    def after_round() -> None:
        nonlocal done
        done += 1
        progress(f"batch size {batch_size}: round {done} of {settings.warmup + settings.repeats}", 1)

    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else None
    seconds = time_rounds(passes, settings.repeats, settings.warmup, synchronize=wait, progress=after_round)
    run = _Run(workload, batch_size, samples, device, settings)
    records = []
    for contender in contenders:
        taken = seconds[contender.name]
        ratios = {name: paired_speedup(seconds[name], taken) for name in settings.baselines if name != contender.name}
        rate = rates.get(contender.dtype)
        records.append(_record(run, contender, results[contender.name], spread_of(taken), ratios, rate))
    return records


@dataclass(frozen=True, slots=True)
class _Run:
    """What all records of a run have in common."""

    workload: Workload
    batch_size: int
    batches: Sequence[Batch]
    device: torch.device
    settings: BenchmarkSettings


def _record(
    run: _Run, contender: Contender, result: _Result, seconds: Spread, ratios: Mapping[str, Spread], rate: float | None
) -> Record:
    """Put together what was measured; ``seconds`` are of the whole workload."""
    count = len(run.batches)
    samples = sum(len(batch.indices) for batch in run.batches)
    work = result.work
    return Record(
        name=contender.name,
        workload=run.workload.name,
        dtype=contender.dtype,
        device=run.device.type,
        threads=torch.get_num_threads(),
        end_to_end=run.settings.end_to_end,
        batch_size=run.batch_size,
        batches=count,
        samples=samples,
        rounds=run.settings.repeats,
        median_seconds=seconds.median / count,
        min_seconds=seconds.minimum / count,
        spread=(seconds.lower / count, seconds.upper / count),
        samples_per_second=samples / seconds.median,
        flops=round(work.flops / count),
        tokens=round(work.tokens / count),
        matmul_fraction=None if rate is None else work.flops / seconds.median / rate,
        matmul_rate=rate,
        peak_bytes=result.peak,
        weight_bytes=contender.weight_bytes,
        kept_by_layer=work.kept_by_layer(contender.layers) if contender.layers else None,
        speedup_over={name: ratio.median for name, ratio in ratios.items()},
        speedup_spread={name: (ratio.lower, ratio.upper) for name, ratio in ratios.items()},
        exact_match=result.scores.get("exact_match"),
        f1=result.scores.get("f1"),
    )


def _count(contender: Contender, prepared: Sequence[Inputs]) -> Work:
    total = Work()
    for inputs in prepared:
        total.add(contender.work(inputs))
    return total


def _peak(contender: Contender, batches: Sequence[Batch], device: torch.device) -> int | None:
    """Peak memory of the largest batch."""
    if not contender.memory_seen:
        return None
    inputs = contender.prepare(max(batches, key=lambda batch: batch.inputs["input_ids"].numel()))
    return peak_bytes(lambda: contender.run(inputs), device)


def _scores(
    contender: Contender, workload: Workload, batch_size: int, device: torch.device, rule: NoAnswerRule
) -> Mapping[str, float]:
    """Official scores of a contender's answers; none where answers or scores would mean nothing."""
    if workload.windows is None or not workload.has_answers or not contender.trained:
        return {}
    answers = _answers(contender, workload.windows, batch_size, device)
    return mean_scores(scores_by_source(workload.windows.examples, answers, rule=rule))


def _answers(contender: Contender, windows: WindowSet, batch_size: int, device: torch.device) -> list[ExampleAnswers]:
    """The best answer of every example: padding, model and span search."""
    collector = AnswerCollector(windows, MAX_ANSWER_LENGTH)
    if contender.over_windows is not None:
        for run in contender.over_windows(windows, batch_size):
            collector.add(run)
        return collector.results()
    for indices in batches(windows, batch_size):
        batch = padded_batch(windows, indices, device)
        padding = ~batch.inputs["attention_mask"].bool()
        logits = contender.run(contender.prepare(batch))
        # Without what the contender padded, and without answers in the padding of the batch.
        start, end = (
            part[:, : padding.shape[1]].masked_fill(padding, -torch.inf).float().cpu().numpy() for part in logits
        )
        context_mask = batch.inputs["context_mask"].bool().cpu().numpy()
        # All windows of a contender without traces count.
        collector.add_logits(indices, start, end, context_mask, [ALWAYS] * len(indices))
    return collector.results()


def _model_pass(contender: Contender, prepared: Sequence[Inputs]) -> Callable[[], object]:
    def run() -> None:
        for inputs in prepared:
            contender.run(inputs)

    return run


def _answer_pass(
    contender: Contender, workload: Workload, batch_size: int, device: torch.device
) -> Callable[[], object]:
    assert workload.windows is not None
    return partial(_answers, contender, workload.windows, batch_size, device)


def _ignore(_message: str, _rounds: int) -> None:
    pass
