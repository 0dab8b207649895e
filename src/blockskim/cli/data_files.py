"""Data files of the commands that train and measure, and the part of them that is held out."""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from blockskim.cli.options import Format

if TYPE_CHECKING:
    from blockskim.data.examples import Example

logger = logging.getLogger(__name__)

Answers: TypeAlias = Literal["needed", "wanted", "ignored"]
"""What a command does with the answers that data tells: it can't do without, it can, or it does not look at them."""


def read_data(
    files: Sequence[Path],
    format: Format | None,
    hold_out: float | None = None,
    limit: int | None = None,
    skip_bad: bool = False,
    answers: Answers = "needed",
) -> "list[Example]":
    """Examples to evaluate on: those of all files, or of the articles held out; the first ``limit`` of them.

    Raises:
        DataError: a file is wrong or lacks the answers that are needed, two have a question id in common, or nothing
            is left.
    """
    from blockskim.data.examples import check_annotated, files_without_answers
    from blockskim.data.reading import read_examples
    from blockskim.errors import DataError

    stream = read_examples(files, None if format is None else format.value, skip_bad, answers != "ignored")
    if hold_out is not None:
        examples = list(split_held_out(list(stream), hold_out)[1][:limit])
    else:
        examples = list(islice(stream, limit))
    if answers == "needed":
        check_annotated(examples)
    elif answers == "wanted":
        for source in files_without_answers(examples):
            logger.warning("%s: its questions have no answers, so there is nothing to score", source)
    ids = set()
    for example in examples:
        if example.id in ids:
            raise DataError(f"question id {example.id!r} is in two of the files; evaluate them one at a time")
        ids.add(example.id)
    return examples


def split_held_out(examples: "Sequence[Example]", fraction: float) -> "tuple[Sequence[Example], Sequence[Example]]":
    """Examples to train on, and those held out.

    Raises:
        DataError: one of the two is empty.
    """
    import numpy as np

    from blockskim.data.example_files import ChosenExamples
    from blockskim.data.splitting import held_out
    from blockskim.errors import DataError

    chosen = held_out(examples, fraction, seed=0)
    if not chosen.any():
        raise DataError(f"none of {len(examples)} examples is held out at {fraction:g}; hold out a larger fraction")
    if chosen.all():
        raise DataError(f"all of {len(examples)} examples are held out at {fraction:g}; hold out a smaller fraction")
    return ChosenExamples(examples, np.flatnonzero(~chosen)), ChosenExamples(examples, np.flatnonzero(chosen))


def warn_of_trained_on(model: str, examples: "Sequence[Example]", hold_out: float | None) -> None:
    """Warn of files of which a model learned from questions that are held out here.

    Args:
        model: directory of the model, in which its training runs left what they learned from.
        examples: that were held out.
        hold_out: the share; None where nothing was held out.
    """
    from blockskim.model.data_record import data_records

    if hold_out is None:
        return
    files = dict.fromkeys(example.source for example in examples)
    for record in data_records(model):
        known = [file for file in files if record.learned_from(file, hold_out)]
        if known:
            then = "nothing" if record.hold_out is None else f"{record.hold_out:g}"
            logger.warning(
                "%s: the model learned from questions of it that --hold-out %g holds out, as its training held out %s",
                ", ".join(known),
                hold_out,
                then,
            )
