"""A whole benchmark: one model and its baselines, measured against each other at several batch sizes."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from blockskim.exporting.exported_model import ExportedModel
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.inference.runner import Thresholds
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.profiling.baselines import make_baseline
from blockskim.profiling.benchmark import Progress, Record, run_benchmark
from blockskim.profiling.contenders import Contender, exported_contender, skim_contender
from blockskim.profiling.matmul_rate import matmul_rate
from blockskim.profiling.random_models import random_skim
from blockskim.profiling.schedule import THRESHOLD, install_schedule
from blockskim.profiling.settings import BenchmarkSettings, RandomModelSettings
from blockskim.profiling.workloads import Workload, random_workload

OWN = "blockskim"
"""Name of the model itself among the contenders."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        model: in float32, on the device of the benchmark.
        workload: what it runs on.
        thresholds: what it skims with, as ``skim`` takes them.
        trained: whether its answers mean anything.
        exported: what is measured in place of the model, which baselines then have alone.
    """

    model: BlockSkimForQuestionAnswering
    workload: Workload
    thresholds: Thresholds = None
    trained: bool = True
    exported: ExportedModel | None = None


def random_subject(settings: RandomModelSettings, seed: int, device: torch.device) -> Subject:
    """A random model on a schedule, and random samples for it.

    Raises:
        ConfigError: the skim settings or the schedule don't fit the model, or the input leaves no room for a context.
    """
    model = random_skim(settings.shape, settings.length, SkimConfig.paper(**settings.skim), seed)
    workload = random_workload(settings.shape, model, settings.length, seed)
    install_schedule(model, settings.keep, workload.blocks, settings.keep_full, seed)
    nn.Module.to(model, device)
    return Subject(model, workload, THRESHOLD, trained=False)


def run_suite(
    subject: Subject, settings: BenchmarkSettings, dtype: torch.dtype, progress: Progress | None = None
) -> list[Record]:
    """Measure a model and its baselines at every batch size.

    Args:
        subject: the model, and what it runs on.
        settings: baselines, batch sizes and rounds.
        dtype: the number format that skimming computes in; baselines take float32 unless their name says otherwise.
        progress: called with what is going on, and the rounds that were just done.

    Raises:
        ConfigError: a baseline is not possible with this model or this installation, or its input is too long for it.
    """
    device = subject.model.device
    if progress is not None:
        progress("making the contenders", 0)
    contenders = make_contenders(subject, settings, dtype)
    if progress is not None:
        progress("measuring how fast matrices are multiplied", 0)
    formats = {contender.dtype for contender in contenders} - {"int8"}
    rates = {name: matmul_rate(device, getattr(torch, name)) for name in sorted(formats)}
    # An exported model has the confidence of the one that it was made of.
    rule = NoAnswerRule(subject.model.confidence)
    return [
        record
        for size in settings.batch_sizes
        for record in run_benchmark(contenders, subject.workload, size, device, rates, settings, progress, rule)
    ]


def make_contenders(subject: Subject, settings: BenchmarkSettings, dtype: torch.dtype) -> list[Contender]:
    """The model itself in a number format, and its baselines.

    Raises:
        ConfigError: a baseline is not possible with this model or this installation.
    """
    model, thresholds, trained = subject.model, subject.thresholds, subject.trained
    own = model
    if dtype != model.dtype:
        own = copy.deepcopy(model)
        nn.Module.to(own, dtype=dtype)
    if subject.exported is None:
        measured = skim_contender(OWN, own, thresholds, trained)
    else:
        measured = exported_contender(OWN, subject.exported, thresholds, trained)
    baselines = (
        make_baseline(name, model, own, thresholds, trained, settings.seed, subject.exported)
        for name in settings.baselines
    )
    return [measured, *baselines]
