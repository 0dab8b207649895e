"""What can be done with every row: a job is an entry of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from blockskim.answering.request import Unread
from blockskim.errors import DataError
from blockskim.evidence.finding import Query
from blockskim.evidence.highlight import highlight
from blockskim.evidence.options import evidence_and_reading
from blockskim.evidence.prune import GAP, prune
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.scaling.rows import Row

DIGITS = 6
"""Decimals of probabilities in the output; another number of threads may change those behind them."""

TEXT = ""
"""The name of a row's text, which has none."""


class Field(NamedTuple):
    """A column of the output, or a part of a record in one.

    Attributes:
        name: its name.
        kind: "text", "number" or "whole"; or the fields of a record.
        many: whether it holds a list of these.
    """

    name: str
    kind: "str | tuple[Field, ...]"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with rows.

    Attributes:
        fields: what it makes of a row, as columns of the output, given the options of a run.
        run: makes that of several rows, in their order: values by column. The options of a run are those of the call
            that is made of the answerer.
    """

    fields: Callable[[Mapping[str, Any]], tuple[Field, ...]]
    run: Callable[[QuestionAnswerer, Sequence[Row], Mapping[str, Any]], list[dict[str, Any]]]


_ANSWER = (
    Field("answer", "text"),
    Field("score", "number"),
    Field("confidence", "number"),
    Field("start", "whole"),
    Field("end", "whole"),
)


def answer_fields(options: Mapping[str, Any]) -> tuple[Field, ...]:
    """The columns of an answer; of several, a column with a list of them."""
    return _ANSWER if options.get("top_k", 1) == 1 else (Field("answers", _ANSWER, many=True),)


def answer_rows(answerer: QuestionAnswerer, rows: Sequence[Row], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answer the question of each row; ``options`` are those of a call of the answerer."""
    found = answerer([row.question for row in rows], [row.context for row in rows], **options)
    fields = answer_fields(options)
    return [_record(each if options.get("top_k", 1) == 1 else {"answers": each}, fields) for each in found]


_SENTENCE = (
    Field("text", "text"),
    Field("start", "whole"),
    Field("end", "whole"),
    Field("score", "number"),
    Field("role", "text"),
    Field(
        "answer",
        (Field("text", "text"), Field("start", "whole"), Field("end", "whole"), Field("confidence", "number")),
    ),
)
_HIGHLIGHTS = (Field("sentences", _SENTENCE, many=True), Field("kept", "number"))


def highlight_rows(answerer: QuestionAnswerer, rows: Sequence[Row], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the sentences of each row's text that matter; ``options`` are those of ``QuestionAnswerer.highlight``."""
    found = highlight(answerer.reader, _queries(rows), *evidence_and_reading(options), trace=False)
    return [_record({"sentences": each.sentences, "kept": each.kept}, _HIGHLIGHTS) for each in found]


_PIECE = (Field("start", "whole"), Field("end", "whole"), Field("original", "whole"))
_PRUNED = (Field("pruned", "text"), Field("kept", "number"), Field("pieces", _PIECE, many=True))


def prune_rows(answerer: QuestionAnswerer, rows: Sequence[Row], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cut each row's text to what matters; ``options`` are those of ``QuestionAnswerer.prune``."""
    given = dict(options)
    gap = given.pop("gap", GAP)
    found = prune(answerer.reader, _queries(rows), *evidence_and_reading(given), gap, trace=False)
    return [
        _record(
            {
                "pruned": each.documents.get(TEXT, ""),
                "kept": each.kept,
                "pieces": [asdict(piece) for piece in each.pieces.get(TEXT, ())],
            },
            _PRUNED,
        )
        for each in found
    ]


def _queries(rows: Sequence[Row]) -> list[Query]:
    """Each row's question, about its text alone."""
    return [Query(row.question, {TEXT: row.context}) for row in rows]


def _record(found: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    return {field.name: _value(found.get(field.name), field) for field in fields}


def _value(value: Any, field: Field) -> Any:
    if value is None:
        return None
    if field.many:
        return [_value(item, field._replace(many=False)) for item in value]
    if isinstance(field.kind, tuple):
        return _record(value, field.kind)
    return round(value, DIGITS) if isinstance(value, float) else value


def results_of(
    job: str, answerer: QuestionAnswerer, rows: Sequence[Row], options: Mapping[str, Any]
) -> tuple[list[dict[str, Any] | DataError], int]:
    """What a job makes of rows, and how many of their questions were not read to their end.

    A row in whose text or question there is nothing that the model can read is wrong, as one with a blank one is.

    Args:
        job: its name.
        answerer: what does it.
        rows: the rows.
        options: of the job.
    """
    unread: list[Unread] = []
    answerer.tell_unread = lambda found, _: unread.append(found)
    values: list[dict[str, Any] | DataError] = list(JOBS[job].run(answerer, rows, options))
    # Each row is a pair of a question and a text, and all of them are read at once.
    for part, numbers in (
        ("text", [number for found in unread for number in found.texts]),
        ("question", [number for found in unread for number in found.empty_questions]),
    ):
        for number in numbers:
            values[number] = DataError(f"the {part} has no character that the model can read")
    return values, sum(isinstance(values[number], dict) for found in unread for number in found.questions)


JOBS = {
    "answer": Job(answer_fields, answer_rows),
    "highlight": Job(lambda options: _HIGHLIGHTS, highlight_rows),
    "prune": Job(lambda options: _PRUNED, prune_rows),
}
"""The jobs by name."""
