"""Windows that wait to be run, in an order that is fair to short requests and to long ones.

It is start-time fair queueing. Every job has a tag, which grows by the tokens that were run for it, a quantum at a
time, and the job with the lowest tag has the next turn. A new job begins at the virtual time, which is the tag that a
job would have by now whose share was an equal one all along. So a job waits for about one quantum of each of the
others, however much they have to run, and no job waits for ever, however many come after it.
"""

import heapq
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from blockskim.inference.first_stage import Phase

Job = TypeVar("Job", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Turn:
    """Windows of one phase of one job that run together.

    Attributes:
        phase: what they are of.
        number: of the turn among those of the phase, from 0.
        indices: which windows. Shape: (windows,)
        tokens: in all of them.
    """

    phase: Phase
    number: int
    indices: NDArray[np.int64]
    tokens: int


def cut_into_turns(phase: Phase, tokens: int) -> list[Turn]:
    """The windows of a phase in turns of about so many tokens.

    How they are cut depends on the phase alone, so that what comes of it does not depend on who else is there. Windows
    of one text stay together as far as they fit; under a bound of the cost they always do, as each phase of it has to
    run in one batch.

    Args:
        phase: what is to be run.
        tokens: the most in a turn, unless a single window, or a text that has to stay together, has more.
    """
    windows = phase.windows
    numbers = np.arange(len(windows)) if phase.among is None else phase.among
    lengths, examples = windows.lengths[numbers], windows.examples_of(numbers)
    bounds = [0, *(np.flatnonzero(np.diff(examples)) + 1).tolist(), len(numbers)]
    turns: list[Turn] = []
    taken: list[int] = []
    total = 0

    def close() -> None:
        nonlocal taken, total
        if taken:
            turns.append(Turn(phase, len(turns), numbers[taken], total))
        taken, total = [], 0

    for first, end in pairwise(bounds):
        size = int(lengths[first:end].sum())
        if total + size > tokens:
            close()
        if size <= tokens or phase.least_batch > 1:
            taken, total = [*taken, *range(first, end)], total + size
            continue
        for place in range(first, end):
            if total + int(lengths[place]) > tokens:
                close()
            taken, total = [*taken, place], total + int(lengths[place])
        close()
    close()
    return turns


@dataclass(slots=True)
class _Waiting(Generic[Job]):
    """A job with the turns that it waits for."""

    job: Job
    skim: Hashable
    tag: float
    arrival: int
    had_turns: bool = False
    taken: int = 0
    turns: deque[Turn] = field(default_factory=deque)

    def __lt__(self, other: "_Waiting[Job]") -> bool:
        return (self.tag, self.had_turns, self.arrival) < (other.tag, other.had_turns, other.arrival)


class FairQueue(Generic[Job]):
    """Turns of jobs, taken in batches; it is for one thread at a time."""

    def __init__(self, quantum: int = 0) -> None:
        """Begin with nothing.

        Args:
            quantum: tokens that a job may have in turns that follow each other, before others have theirs; a turn of
                more is whole all the same.
        """
        self._quantum = quantum
        self._jobs: dict[Job, _Waiting[Job]] = {}
        self._heap: list[_Waiting[Job]] = []
        self._time = 0.0
        self._arrivals = 0
        self.tokens = 0
        """Tokens that wait."""

    def __len__(self) -> int:
        """Number of jobs that wait for a turn."""
        return len(self._heap)

    def put(self, job: Job, turns: Sequence[Turn], skim: Hashable = None) -> None:
        """Let turns of a job wait; it may have had some before, but has none that waits.

        Args:
            job: whose they are.
            turns: in their order; at least one.
            skim: what its windows are skimmed with; only those that are equal in this run together.
        """
        waiting = self._jobs.get(job)
        if waiting is None:
            self._arrivals += 1
            waiting = self._jobs[job] = _Waiting(job, skim, self._time, self._arrivals)
        waiting.tag = max(waiting.tag, self._time)
        waiting.turns.extend(turns)
        self.tokens += sum(turn.tokens for turn in turns)
        heapq.heappush(self._heap, waiting)

    def drop(self, job: Job) -> None:
        """Forget a job with all that waits of it; nothing happens if it is not known."""
        waiting = self._jobs.pop(job, None)
        if waiting is not None and waiting.turns:
            self.tokens -= sum(turn.tokens for turn in waiting.turns)
            waiting.turns.clear()
            self._heap = [other for other in self._heap if other is not waiting]
            heapq.heapify(self._heap)

    def jobs(self) -> Iterator[Job]:
        """The jobs that wait for a turn, in no order."""
        return (waiting.job for waiting in self._heap)

    def take(self, most_tokens: int, most_later: int) -> list[tuple[Job, Turn]]:
        """The next batch: one turn of each of some jobs, which are skimmed with the same.

        Later turns of jobs fill what is left, and less of it: who has a short question does not wait behind a batch
        that is full of a book.

        Args:
            most_tokens: in the batch, unless a single turn has more.
            most_later: of these, in turns of jobs that have had one before.
        """
        if not self._heap:
            return []
        first, start = self._heap[0], self._heap[0].tag
        batch: list[tuple[Job, Turn]] = []
        passed: list[_Waiting[Job]] = []
        total = later = 0
        sharing = len(self._heap)
        while self._heap and total < most_tokens:
            waiting = heapq.heappop(self._heap)
            passed.append(waiting)
            tokens = waiting.turns[0].tokens
            fits = total + tokens <= most_tokens and (not waiting.had_turns or later + tokens <= most_later)
            if waiting is first or (waiting.skim == first.skim and fits):
                batch.append((waiting.job, waiting.turns.popleft()))
                total += tokens
                later += tokens if waiting.had_turns else 0
                waiting.taken += tokens
                if not waiting.turns or waiting.taken + waiting.turns[0].tokens > self._quantum:
                    waiting.had_turns = True
                    waiting.tag += waiting.taken
                    waiting.taken = 0
        for waiting in passed:
            if waiting.turns:
                heapq.heappush(self._heap, waiting)
        self.tokens -= total
        self._time = max(self._time + total / sharing, start)
        return batch
