"""Whether a worker that says nothing still works: what it tells when it is asked, a second at a time.

A worker is asked over its pipe, and the thread that takes its requests answers, with the number of the oldest batch
that runs there. So two faults are found which leave the process alive. One that answers no more was stopped, or is
stuck for good; one that tells the same batch again and again has a model which hangs. However long a request takes, it
is made of many batches, all of a bounded size. One that runs for longer than several times what a request may take is
of requests that were all given up long ago. A text may well be tokenised for longer: all of a request is at once,
however large it is, and it goes on after the request was given up while others are answered.

Seconds are those in which the asking process ran itself: after both were stopped, by Ctrl-Z say, nothing is overdue.
"""

from dataclasses import dataclass

SECONDS = 1.0
"""Between two times that a worker is asked."""

SLOW = 5.0
"""Seconds without an answer after which others are given its work."""

SILENT = 30.0
"""Seconds without an answer after which it is replaced, or as long as a request may take if that is more."""

HANGING = 60.0
HANGING_TIMES = 10.0
"""Seconds that a batch may run, or so many times as long as a request may take if that is more."""


@dataclass
class Pulse:
    """What a worker told of itself when it was asked last.

    Attributes:
        timeout: seconds that a request may take.
        silence: seconds for which an answer is missing.
        running: seconds for which it tells the same batch.
    """

    timeout: float
    silence: float = 0.0
    running: float = 0.0
    _asked: bool = False
    _batch: int | None = None

    def tick(self) -> bool:
        """Another second is over.

        Returns:
            Whether to ask the worker: not while it still has to answer.
        """
        if self._asked:
            self.silence += SECONDS
            return False
        self._asked = True
        return True

    def answered(self, batch: int | None) -> None:
        """The worker answered.

        Args:
            batch: the number of the oldest batch that runs; None if none does.
        """
        same = batch is not None and batch == self._batch
        self.running = self.running + self.silence + SECONDS if same else 0.0
        self.silence, self._asked, self._batch = 0.0, False, batch

    @property
    def well(self) -> bool:
        """Whether a request that it is given now is likely to be answered in time."""
        return self.silence < SLOW and self.running < max(SLOW, self.timeout)

    @property
    def fault(self) -> str:
        """Why the worker has to be replaced; empty if it has not."""
        if self.silence >= max(SILENT, self.timeout):
            return f"it has told nothing for {self.silence:g} s"
        if self.running >= max(HANGING, HANGING_TIMES * self.timeout):
            return f"it works on the same batch for {self.running:g} s"
        return ""
