"""What can be done with every row: a job is an entry of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from blockskim.scaling.rows import Row

if TYPE_CHECKING:
    from blockskim.evidence.question_answerer import QuestionAnswerer

DIGITS = 6
"""Decimals of probabilities in the output; another number of threads may change those behind them."""


class Field(NamedTuple):
    """A column of the output.

    Attributes:
        name: its name.
        kind: "text", "number" or "whole"; or the fields of each record, where it holds a list of records.
    """

    name: str
    kind: "str | tuple[Field, ...]"


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with rows.

    Attributes:
        fields: what it makes of a row, as columns of the output, given the options of a run.
        run: makes that of several rows, in their order: values by column. The options of a run are those of the call
            that is made of the answerer.
    """

    fields: Callable[[Mapping[str, Any]], tuple[Field, ...]]
    run: "Callable[[QuestionAnswerer, Sequence[Row], Mapping[str, Any]], list[dict[str, Any]]]"


_ANSWER = (
    Field("answer", "text"),
    Field("score", "number"),
    Field("confidence", "number"),
    Field("start", "whole"),
    Field("end", "whole"),
)


def answer_fields(options: Mapping[str, Any]) -> tuple[Field, ...]:
    """The columns of an answer; of several, a column with a list of them."""
    return _ANSWER if options.get("top_k", 1) == 1 else (Field("answers", _ANSWER),)


def answer_rows(answerer: "QuestionAnswerer", rows: Sequence[Row], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answer the question of each row; ``options`` are those of a call of the answerer."""
    found = answerer([row.question for row in rows], [row.context for row in rows], **options)
    if options.get("top_k", 1) == 1:
        return [_answer(answer) for answer in found]
    return [{"answers": [_answer(answer) for answer in answers]} for answers in found]


def _answer(found: Mapping[str, Any]) -> dict[str, Any]:
    values = {field.name: found.get(field.name) for field in _ANSWER}
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in values.items()}


JOBS = {"answer": Job(answer_fields, answer_rows)}
"""The jobs by name."""
