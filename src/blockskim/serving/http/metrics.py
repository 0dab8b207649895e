"""What a service counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from blockskim.serving.batch import BatchReport
from blockskim.serving.scheduler import JobReport

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_TOKENS = tuple(float(2**power) for power in range(6, 16))
_WINDOWS = tuple(float(2**power) for power in range(8))


class Metrics:
    """The counters of one service; an ``Observer`` of its workers."""

    def __init__(self, waiting: Callable[[], int], ready: Callable[[], bool]) -> None:
        """Begin with zeros.

        Args:
            waiting: number of requests that are there and have no answer.
            ready: whether a question would be answered at once.
        """
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests by route and status.", "route", "status")
        self.errors = self._counter("errors", "Requests without an answer, by kind of problem.", "kind")
        self.durations = self._histogram(
            "request_seconds", "Seconds from a request's first byte to its answer's last.", _SECONDS, "route"
        )
        self._stages = self._histogram(
            "stage_seconds",
            "Seconds of a request by stage: plan (texts are tokenised), wait, model, finish (answers are made).",
            _SECONDS,
            "stage",
        )
        self._batch_tokens = self._histogram("batch_tokens", "Tokens in a batch.", _TOKENS)
        self._batch_windows = self._histogram("batch_windows", "Windows in a batch.", _WINDOWS)
        self._batch_requests = self._histogram("batch_requests", "Requests that share a batch.", _WINDOWS)
        self._batch_seconds = self._histogram("batch_seconds", "Seconds that the model takes for a batch.", _SECONDS)
        self._dropped = self._counter(
            "context_tokens_dropped", "Context tokens that a layer dropped, by layer.", "layer"
        )
        self._kept = self._counter("context_tokens_kept", "Context tokens that were read to the end.")
        self._lost = self._counter("workers_lost", "Worker processes that died.")
        self._gauge("requests_waiting", "Requests that are there and have no answer.", waiting)
        self._gauge("ready", "Whether a question would be answered at once.", ready)

    def batch_done(self, worker: int, report: BatchReport) -> None:
        """Count a batch."""
        self._batch_tokens.observe(report.tokens)
        self._batch_windows.observe(report.windows)
        self._batch_requests.observe(report.jobs)
        self._batch_seconds.observe(report.seconds)
        for layer, tokens in report.dropped.items():
            self._dropped.labels(layer=str(layer)).inc(tokens)
        self._kept.inc(report.kept)

    def request_done(self, worker: int, report: JobReport) -> None:
        """Count where the time of a request went, of one that was given up as far as it came."""
        for stage in ("plan", "wait", "model", "finish"):
            if (seconds := getattr(report, stage)) is not None:
                self._stages.labels(stage=stage).observe(seconds)

    def worker_lost(self, worker: int) -> None:
        """Count a worker that died."""
        self._lost.inc()

    def exposition(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"blockskim_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"blockskim_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(f"blockskim_{name}", text, registry=self._registry).set_function(lambda: float(value()))
