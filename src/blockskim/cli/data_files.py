"""Data files of the commands that train and measure, and the part of them that is held out."""

import logging
from collections.abc import Sequence
from contextlib import closing
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

    # Closed, it tells what it met in a file of which the rest is not read.
    with closing(
        read_examples(files, None if format is None else format.value, skip_bad, answers != "ignored")
    ) as stream:
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
    """Warn of files of which a model may have learned from the questions that it is calibrated on.

    Args:
        model: directory or hub id of the model, beside which its training runs left what they learned from.
        examples: to calibrate on.
        hold_out: the share of the files' articles that they are of; None for all of them.
    """
    from blockskim.model.data_record import data_records

    records = data_records(model)
    held: dict[float, list[str]] = {}
    for file in dict.fromkeys(example.source for example in examples):
        shares = [record.hold_out or 0.0 for record in records if record.learned_from(file, hold_out)]
        if shares:
            held.setdefault(min(shares), []).append(file)
    for share, files in held.items():
        logger.warning(
            "%s: the model learned from %s; calibrate on other data%s",
            ", ".join(files),
            "a file of this name" if len(files) == 1 else "files of these names",
            f" or with --hold-out {share:g}, as its training held that out" if share else "",
        )
