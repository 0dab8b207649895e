"""What a reader meets in one file: ids, repairs, records left out; told of once, when no more of it is read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blockskim.data.examples import Example
from blockskim.data.records import brief
from blockskim.errors import DataError, ReadError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ReadReport:
    """What a reader met in one file and reports once, when it has read the file or stops.

    Attributes:
        skip_bad: whether wrong records are left out and counted instead of ending the reading.
        with_answers: whether to read what the file says of answers; without, questions and contexts alone are read.
        where: file and record of the question that was read last.
        ids: question ids so far.
        examples: questions read so far.
        answerable: of these, questions that have an answer.
        impossible: of these, questions that are marked as having none.
        unmarked: of these, questions that are marked as having an answer, but have none.
        repaired: answers moved to the only or the nearest place where their text occurs.
        skipped: answers left out because their offset does not match and no place of their text is the nearest.
        spanless: questions with references but without any span: scored, not trained on.
        outside: supporting facts that point at no sentence of their context.
        bad: records left out because something is wrong with them.
        first_bad: what is wrong with the first of them.
    """

    skip_bad: bool = False
    with_answers: bool = True
    where: str = ""
    ids: set[str] = field(default_factory=set)
    examples: int = 0
    answerable: int = 0
    impossible: int = 0
    unmarked: int = 0
    repaired: int = 0
    skipped: int = 0
    spanless: int = 0
    outside: int = 0
    bad: int = 0
    first_bad: str = ""
    _unfinished: list[str] = field(default_factory=list, repr=False)

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """Read a record; what is wrong with it is counted if wrong ones are to be left out, else it is raised.

        The id of one that is left out is free again: a corrected record may follow.
        """
        self._unfinished.clear()
        try:
            yield
        except DataError as error:
            # What the system failed to read may be as right as the rest.
            if not self.skip_bad or isinstance(error, ReadError):
                raise
            self.ids.difference_update(self._unfinished)
            self.leave_out(1, str(error))
        self._unfinished.clear()

    def leave_out(self, count: int, reason: str) -> None:
        """Count records that are left out, and keep what is wrong with the first of all."""
        self.bad += count
        self.first_bad = self.first_bad or reason

    def new_id(self, name: str, where: str) -> str:
        """Notes a question id and returns it.

        Args:
            name: the id.
            where: file and record for the message.

        Raises:
            DataError: the file has the id twice. Predictions are looked up by id, so one of the two would be lost.
        """
        if name in self.ids:
            raise DataError(f"{where}: question id {brief(name)} occurs twice; ids must be unique in a file")
        self.ids.add(name)
        self._unfinished.append(name)
        return name

    def note(self, example: Example) -> None:
        """Counts an example that was read."""
        self.examples += 1
        self.answerable += example.answerable
        self.spanless += bool(example.references) and not example.answers

    def finish(self, path: Path) -> None:
        """Ends the reading of a file: warns once about what was repaired and left out.

        Args:
            path: the file that was read.

        Raises:
            DataError: the file held no question.
        """
        if not self.examples:
            raise DataError(f"{path}: holds no questions{f'; {self._left_out()}' if self.bad else ''}")
        self._warn(path, all_read=True)

    def stop(self, path: Path) -> None:
        """Ends the reading of a file before its end: warns once about what was repaired and left out so far.

        Args:
            path: the file that was read.
        """
        self._warn(path, all_read=False)

    def _warn(self, path: Path, all_read: bool) -> None:
        parts = list(self._parts(all_read))
        if parts:
            logger.warning("%s: %s", path.name, "; ".join(parts))

    def _left_out(self) -> str:
        return f"{self.bad} wrong {_plural('record', self.bad)} left out, first: {self.first_bad}"

    def _parts(self, all_read: bool) -> Iterator[str]:
        if self.bad:
            yield self._left_out()
        if self.repaired or self.skipped:
            counts = f"{self.repaired} {_plural('answer', self.repaired)} repaired, {self.skipped} skipped"
            yield f"{counts} (offset does not match the text)"
        if self.spanless:
            questions = _plural("question", self.spanless)
            yield f"{self.spanless} {questions} left without an answer span (usable for scores, not for training)"
        if self.outside:
            yield f"{self.outside} {_plural('supporting fact', self.outside)} outside of the context"
        if all_read and not self.answerable and not self.impossible:
            yield "no question has an answer, so all of them count as unanswerable"
        elif self.unmarked:
            questions = _plural("question", self.unmarked)
            yield f"{self.unmarked} {questions} without answers though 'is_impossible' is false; taken as unanswerable"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
