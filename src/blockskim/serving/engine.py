"""A model that answers tasks: loaded once, warm before the first question, with the scheduler in front of it."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from blockskim.answering.backend_choice import choose_exported
from blockskim.answering.loading import load_backend
from blockskim.answering.model_choice import ModelChoice
from blockskim.cores import available_cores
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.evidence.scoring import evidence_model
from blockskim.exporting.exported_model import ExportedModel
from blockskim.serving.batch import BatchReport
from blockskim.serving.evidence_tasks import highlight_task, prune_task, rerank_task
from blockskim.serving.scheduler import Capacity, JobReport, Scheduler
from blockskim.serving.tasks import Json, Task, answer_task, search_task

ONE_WINDOW = 1
"""Tokens of a batch that holds one window, however long it is."""

ONNX_TURN = 1_024
"""Most tokens of a request that run, a window to a thread, before others have their turn."""

WARM_TEXTS = ("It is warm.", "The kettle sings on the stove, and it is warm in here. " * 130)
"""What is read before the first question: a window, and a text of which passages are chosen."""

WARM_SECONDS = 600.0
"""For each of these."""

TASKS: dict[str, Callable[..., Task[Any]]] = {
    "answer": answer_task,
    "search": search_task,
    "highlight": highlight_task,
    "prune": prune_task,
    "rerank": rerank_task,
}
"""What a request may be, by its ``kind``."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What every worker loads.

    Attributes:
        choice: which model answers, and on what.
        point: operating point where a request names none.
    """

    choice: ModelChoice = field(default_factory=ModelChoice)
    point: str | None = None

    @property
    def served_name(self) -> str:
        """What the service calls the model: a hub id, or the last part of a path."""
        name = self.choice.name
        if name is None:
            return "default"
        if not Path(name).is_dir():
            return str(name)
        # A link has a name of its own, which stays when it points to another version of the model.
        return Path(os.path.abspath(name)).name  # noqa: PTH100 # resolve() follows links


def load_answerer(settings: ModelSettings) -> QuestionAnswerer:
    """Load a model to serve; what its errors say of it later holds no path.

    Raises:
        ModelError: it can't be loaded.
        ConfigError: a setting does not fit it.
    """
    choice = settings.choice
    if choose_exported(choice) is not None:
        # The scheduler runs as many windows side by side as there are threads, so each takes one of them.
        choice = replace(choice, threads=1)
    loaded = load_backend(choice)
    return QuestionAnswerer(loaded.model, loaded.tokenizer, point=settings.point)


def fitting_capacity(answerer: QuestionAnswerer, capacity: Capacity, threads: int | None = None) -> Capacity:
    """How much a model should do at once.

    ONNX Runtime takes a window to a thread and gains nothing from batches, so each thread takes one window at a time:
    nobody waits for a batch to be done, and the windows of a text run side by side. What is done around a window costs
    less for several at once, so a thread takes a few where many requests wait. A GPU wants large batches, and is
    done with them soon. For PyTorch on a processor a batch of few windows is as fast as one of many.

    Args:
        answerer: with the model.
        capacity: as it was asked for.
        threads: of the processor; as many as the process may use cores when None.
    """
    if isinstance(answerer.model, ExportedModel):
        runners = available_cores() if threads is None else threads
        turn = min(ONNX_TURN, capacity.turn_tokens)
        crowd = min(turn, capacity.batch_tokens)
        return replace(capacity, runners=runners, turn_tokens=turn, batch_tokens=ONE_WINDOW, crowd_tokens=crowd)
    if getattr(getattr(answerer.model, "device", None), "type", "cpu") == "cpu":
        return capacity
    return replace(capacity, turn_tokens=capacity.batch_tokens)


class Engine:
    """Answers tasks; any thread may ask."""

    def __init__(
        self,
        answerer: QuestionAnswerer,
        capacity: Capacity | None = None,
        on_batch: Callable[[BatchReport], None] | None = None,
        on_done: Callable[[JobReport], None] | None = None,
        on_fault: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Start the scheduler of an answerer.

        Args:
            answerer: with the model.
            capacity: how much is done at once.
            on_batch: told of every batch.
            on_done: told where the time of every request went.
            on_fault: told of a failure that is none of the model's.
        """
        self.answerer = answerer
        self.scheduler = Scheduler(answerer.model, capacity, on_batch, on_done, on_fault)

    def ask(self, asked: Mapping[str, Any], seconds: float = 60.0, counted: bool = True) -> "Future[Json]":
        """Take a task; the future is done with its result, and to cancel it drops what waits of it.

        Args:
            asked: its ``kind`` is a name in ``TASKS``; the rest is what the function there takes.
            seconds: after which it is given up.
            counted: whether its time and its batches are told of.

        Raises:
            ConfigError: an option is impossible.
            DataError: a question is empty, or there is no document.
            Busy: as many requests as may wait are there.
            Stopping: the engine was closed.
        """
        given = dict(asked)
        task = TASKS[given.pop("kind")](self.answerer, **given)
        return self.scheduler.submit(task.start, task.finish, seconds, task.characters, counted)

    def warm_up(self) -> None:
        """Answer a short text and a long one, and look for evidence: the first request is no slower than others then.

        Nothing is told of them, as nobody asked for them.

        Raises:
            ModelError: the model computes no numbers.
        """
        question, documents = "Is it warm?", [("warm", WARM_TEXTS[0])]
        tasks = [{"kind": "answer", "pairs": [[question, text]], "options": {}} for text in WARM_TEXTS]
        tasks.append({"kind": "highlight", "question": question, "documents": documents, "options": {}})
        for task in tasks:
            self.ask(task, WARM_SECONDS, counted=False).result(WARM_SECONDS)

    def describe(self) -> Json:
        """What answers, for people and clients."""
        model = self.answerer.model
        skims = model.has_trained_predictors
        return {
            "backend": "onnx" if isinstance(model, ExportedModel) else "torch",
            "device": str(getattr(model, "device", "cpu")),
            "dtype": model.number_format,
            "layers": model.num_layers,
            "max_tokens": model.position_limit,
            "skims": skims,
            "points": sorted(model.skim_config.points) if skims else [],
            "calibrated_confidence": model.confidence is not None,
            "calibrated_evidence": model.skim_config.evidence is not None,
            "evidence_threshold": evidence_model(model.skim_config).threshold,
            "evidence_points": sorted(evidence_model(model.skim_config).points),
        }

    def close(self, grace: float = 30.0) -> bool:
        """Take no more and finish what is there; gives whether all of it was finished within ``grace`` seconds."""
        return self.scheduler.close(grace)
