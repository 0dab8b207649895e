"""Options of the commands that look for evidence, and what they have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.cli import options
from blockskim.cli.documents import read_documents
from blockskim.cli.option_groups import Computing
from blockskim.cli.session import load_answerer

if TYPE_CHECKING:
    from blockskim.answering.answerer import Answerer
    from blockskim.answering.request import AnswerOptions

Question = Annotated[
    list[str], typer.Option("--question", "-q", metavar="QUESTION", help="What to look for; may be repeated.")
]
File = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", metavar="FILE", help="A UTF-8 text file, - for standard input; may be repeated."),
]
More = Annotated[
    list[str] | None, typer.Argument(metavar="FILE", help="Files to read, as by --file; - for standard input.")
]
Threshold = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="P",
        help="Least score of evidence, or a point of the model as highlight-98.  [default: the model's; none with "
        "--top-k or --budget]",
    ),
]
TopK = Annotated[int | None, typer.Option("--top-k", "-k", min=1, metavar="N", help="Sentences of evidence at most.")]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget", metavar="AMOUNT", help="The most to keep: a share as 0.3 or 30%, '500 tokens', '2000 characters'."
    ),
]
Context = Annotated[
    int, typer.Option("--context", min=0, metavar="N", help="Neighbouring sentences to keep on either side.")
]
KeepTitles = Annotated[bool, typer.Option("--keep-titles", help="Keep headings of texts that have evidence.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much evidence is wanted, and what beside it."""

    threshold: Threshold = None
    top_k: TopK = None
    budget: Budget = None
    context: Context = 0
    keep_titles: KeepTitles = False

    def settings(self) -> dict[str, Any]:
        """Values as ``EvidenceOptions`` has them."""
        keep = "titles" if self.keep_titles else None
        values = {name: getattr(self, name) for name in ("top_k", "budget", "context")}
        return {**values, "threshold": _score_or_name(self.threshold), "keep": keep}


@dataclass(frozen=True, slots=True)
class Skimming:
    """How texts are read."""

    point: options.Point = None
    dense: options.Dense = False
    max_cost: options.MaxCost = None
    batch_size: options.BatchSize = 32
    max_length: options.MaxLength = 384
    doc_stride: options.DocStride = 128
    max_question_len: options.MaxQuestionLength = 64
    backend: options.BackendName = options.Backend.AUTO

    def call(self) -> dict[str, Any]:
        """Values as calls of the library have them, without those that change no result."""
        return {
            "point": self.point,
            "dense": self.dense,
            "max_cost": self.max_cost,
            "max_seq_len": self.max_length,
            "doc_stride": self.doc_stride,
            "max_question_len": self.max_question_len,
        }

    def settings(self) -> "AnswerOptions":
        """Values as the library has them.

        Raises:
            ConfigError: one is impossible.
        """
        from blockskim.answering.request import AnswerOptions

        return AnswerOptions(**self.call(), batch_size=self.batch_size)


def check_asked(questions: Sequence[str], skimming: Skimming) -> None:
    """Refuse blank questions, and choices that exclude each other.

    Raises:
        BadParameter: there is one.
    """
    options.check_one_way(skimming.dense, None, skimming.point)
    for text in questions:
        if not text.strip():
            raise typer.BadParameter("the question is empty", param_hint="--question")


def named_documents(files: Sequence[str] | None, more: Sequence[str] | None) -> dict[str, str]:
    """The texts by the names of their files.

    Raises:
        BadParameter: there are none.
        DataError: one can't be read, is empty, or is not UTF-8 text.
    """
    names = [*(files or []), *(more or [])]
    if not names:
        raise typer.BadParameter("there is nothing to read; name files, or - for standard input")
    return read_documents(names)


def loaded_answerer(computing: Computing, skimming: Skimming) -> "Answerer":
    """What reads texts as it was asked for; see ``load_answerer``."""
    return load_answerer(computing, skimming.backend, skimming.batch_size, skimming.point)


def share_line(kept: float, characters: int) -> str:
    """How much of the files was kept, for people."""
    return f"kept {kept:.1%} of {characters:,} characters"


def total_length(documents: Mapping[str, str]) -> int:
    """Characters of all documents."""
    return sum(map(len, documents.values()))


def _score_or_name(text: str | None) -> float | str | None:
    """A threshold as it was given: a number, or else the name of a point."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
