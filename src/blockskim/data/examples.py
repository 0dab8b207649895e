"""One question over one context: the type that every reader makes and everything else consumes."""

from collections.abc import Iterable
from dataclasses import dataclass

from blockskim.errors import DataError


@dataclass(frozen=True, slots=True)
class Answer:
    """An annotated answer: the text and the character offset in the context at which it starts.

    Examples:
        >>> from blockskim import Answer
        >>> Answer("Wales", 22).end
        27
    """

    text: str
    start: int

    @property
    def end(self) -> int:
        """Character offset just behind the answer."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Example:
    """A question, the context that is read to answer it, and what annotators marked in it.

    Attributes:
        id: identifier of the question, unique in its file.
        question: the question as given.
        context: the text that is read; every offset counts characters of it.
        answers: every annotated answer span, in the file's order; empty when the question is unanswerable.
            ``context[answer.start:answer.end] == answer.text`` holds for each.
        references: the answer texts that official scores compare with. They may differ from ``answers`` (a
            HotpotQA "yes" stands nowhere in the context; MRQA lists answers apart from detected spans).
        title: title of the article or document, "" when the file has none. Splits are made by it.
        evidence: character spans of sentences that support the answer (HotpotQA), each (start, end).
        source: name of the file it was read from, "" for none; where several were, scores are told apart by it.
        metadata: whatever else the format's official score needs, as (name, value) pairs; see each reader.
        annotated: whether the file tells the answers, of which there may be none. The questions of a test file are
            not annotated: they can be answered, but neither scored nor learned from.

    Examples:
        >>> from blockskim import Answer, Example
        >>> text = "The red kite nests in Wales."
        >>> answer = Answer("Wales", text.index("Wales"))
        >>> example = Example("1", "Where does it nest?", text, (answer,), (answer.text,))
        >>> example.answerable
        True
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    references: tuple[str, ...] = ()
    title: str = ""
    evidence: tuple[tuple[int, int], ...] = ()
    source: str = ""
    metadata: tuple[tuple[str, object], ...] = ()
    annotated: bool = True

    @property
    def answerable(self) -> bool:
        """Whether there may be an answer: False only where the data says that there is none."""
        return bool(self.references) or not self.annotated


def files_without_answers(examples: Iterable[Example]) -> list[str]:
    """Names of the files that tell no answers to their questions, in the examples' order."""
    return list(dict.fromkeys(example.source for example in examples if not example.annotated))


def check_annotated(examples: Iterable[Example]) -> None:
    """Refuse examples whose files tell no answers, where something is to be measured by answers or learned from them.

    Args:
        examples: of any files.

    Raises:
        DataError: there are such; the message names the first of these files.
    """
    for source in files_without_answers(examples):
        name = source or "the data"
        raise DataError(f"{name}: its questions have no answers, which are needed here; blockskim predict finds some")
