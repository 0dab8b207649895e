"""What ``blockskim train`` reads: examples in a temporary file, as there may be more of them than memory holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from blockskim.cli.data_files import split_held_out
from blockskim.cli.progress import PlainLines, progress_console

if TYPE_CHECKING:
    from blockskim.data.examples import Example


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Examples of a run.

    Attributes:
        train: what to learn from.
        development: what to choose the best checkpoint by.
    """

    train: "Sequence[Example]" = ()
    development: "Sequence[Example]" = ()


@contextmanager
def training_data(
    files: Sequence[Path],
    dev: Path | None,
    hold_out: float | None,
    format: str | None,
    skip_bad: bool,
    folder: Path,
    tell: Callable[[int], None] | None,
) -> Iterator[TrainingData]:
    """Read the data of a run, of which all but the development data is in a file until the block ends.

    Args:
        files: data to learn from.
        dev: data to choose the best checkpoint by; None for a part of the other.
        hold_out: the share of that part.
        format: of the files; None to recognise it.
        skip_bad: leave out wrong records.
        folder: for the temporary file. The next folder above it that exists is taken.
        tell: called with the number of questions that were read, now and then.

    Raises:
        DataError: a file is wrong, lacks the answers, or nothing is left.
        OSError: there is no room for the file.
    """
    from blockskim.data.example_files import StoredExamples
    from blockskim.data.examples import check_annotated
    from blockskim.data.reading import read_examples

    stream = read_examples(files, format, skip_bad)
    while not folder.is_dir():
        folder = folder.absolute().parent
    with StoredExamples(_checked(stream), folder, tell) as examples:
        train: Sequence[Example] = examples
        if hold_out is not None:
            train, development = split_held_out(examples, hold_out)
        else:
            assert dev is not None
            development = list(read_examples(dev, format, skip_bad))
            check_annotated(development)
        yield TrainingData(train, development)


@contextmanager
def reading_progress(quiet: bool, lines: PlainLines | None) -> Iterator[Callable[[int], None] | None]:
    """A function that tells how many questions were read; None if ``quiet``."""
    if quiet:
        yield None
    elif lines is not None:
        lines.begin("questions read")
        yield lines.reach
    else:
        with progress_console().status(Text("reading")) as status:
            yield lambda done: status.update(Text(f"reading: {done:,} questions"))


def _checked(examples: "Iterable[Example]") -> "Iterator[Example]":
    """Examples that can be learned from.

    Raises:
        DataError: a file tells no answers.
    """
    from blockskim.data.examples import check_annotated

    for example in examples:
        check_annotated([example])
        yield example
