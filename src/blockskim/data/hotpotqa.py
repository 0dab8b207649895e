"""Readers for HotpotQA: the native JSON and the one with whole paragraphs marked as supporting.

Format: Yang et al., "HotpotQA: A Dataset for Diverse, Explainable Multi-hop Question Answering", EMNLP 2018.

HotpotQA gives an answer as text only, over several paragraphs, and "yes" and "no" stand in none of them. Both readers
make one context of it::

    yes no Title of the first. Its first sentence. Its second sentence. Title of the second. ...

- It starts with ``yes no``, so that these two are spans like any other answer (as in the Block-Skim paper).
- Then come the paragraphs, each its title, ``". "`` and its sentences as they are. A space is put between two parts
  only where neither has one. The other JSON has no titles.
- A span is an occurrence of the answer's text, at word boundaries if there is any such: in the supporting sentences
  if there is one, otherwise in any title or sentence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blockskim.data.examples import Answer, Example
from blockskim.data.files import check_file
from blockskim.data.json_stream import stream
from blockskim.data.records import ReadReport, checked, new_id, note_example, report, required
from blockskim.errors import DataError

YES_NO_PREFIX = "yes no"


@dataclass(frozen=True, slots=True)
class _Layout:
    """A context and where its sentences are: (span, title, number of the sentence in its paragraph)."""

    context: str
    sentences: tuple[tuple[tuple[int, int], str, int], ...]


def read_hotpotqa(path: Path | str, skip_bad: bool = False) -> Iterator[Example]:
    """Reads a native HotpotQA file (distractor or full-wiki setting, with answers), plain or gzip.

    A record whose ``_id`` is missing or null gets the id "record-N", N counting from 1. Supporting facts that point at
    no sentence of the context, which HotpotQA has, are no evidence but stay in the metadata: the official score counts
    them. One warning a file counts them and the questions whose answer occurs nowhere.

    Metadata: ``format`` is "hotpotqa"; ``type`` and ``level`` as in the file; ``supporting_facts``, the gold
    (title, sentence number) pairs; ``sentences``, a ((start, end), title, sentence number) for every sentence.

    Args:
        path: the file to read.
        skip_bad: leave out records with something wrong and count them, instead of stopping there.

    Returns:
        An iterator over the questions in the file's order.

    Raises:
        DataError: the file is not HotpotQA JSON; the message names the file, the record and what would be right.
    """
    return _read(path, skip_bad, _native_example)


def read_hotpotqa_pseudo(path: Path | str, skip_bad: bool = False) -> Iterator[Example]:
    """Reads HotpotQA questions over ``paragraphs`` that are marked with ``is_supporting`` as a whole.

    Records: ``_id``, ``question``, ``answer``, ``paragraphs`` (each ``text`` and ``is_supporting``), and perhaps
    ``type`` and ``level``. Evidence is the supporting paragraphs; there are no sentences and no facts to score.

    Metadata: ``format`` is "hotpotqa-pseudo"; ``type`` and ``level`` as in the file.

    Args:
        path: the file to read.
        skip_bad: leave out records with something wrong and count them, instead of stopping there.

    Returns:
        An iterator over the questions in the file's order.

    Raises:
        DataError: the file is not such JSON; the message names the file, the record and what would be right.
    """
    return _read(path, skip_bad, _pseudo_example)


def _read(
    path: Path | str, skip_bad: bool, make: Callable[[dict[str, object], str, str, ReadReport], Example]
) -> Iterator[Example]:
    """Reads records one at a time and makes an example of each, given its id and what error messages start with."""
    path = check_file(path)
    read = ReadReport(skip_bad)
    with read.forgiving():
        for number, part in enumerate(stream(path), 1):
            if not part.is_item and part.value != []:
                raise DataError(f"{path}: is not a HotpotQA file: a list of records is needed")
            with read.forgiving():
                if part.is_item:
                    record = checked(part.value, dict, f"{path}: line {part.line}, record {number}")
                    name, where = _identity(record, f"{path}: line {part.line}, record {number}", number, read)
                    yield make(record, name, where, read)
    report(path, read)


def _native_example(record: dict[str, object], name: str, where: str, read: ReadReport) -> Example:
    layout = _lay_out(_paragraphs(record, where))
    facts = _facts(record, where)
    spans = {(title, index): span for span, title, index in reversed(layout.sentences)}
    read.outside += sum(fact not in spans for fact in facts)
    wanted = set(facts)
    evidence = tuple(span for span, title, index in layout.sentences if (title, index) in wanted and span[0] < span[1])
    metadata: tuple[tuple[str, object], ...] = (
        ("format", "hotpotqa"),
        *_kind(record, where),
        ("supporting_facts", facts),
        ("sentences", layout.sentences),
    )
    return _example(record, name, layout.context, evidence, metadata, where, read)


def _pseudo_example(record: dict[str, object], name: str, where: str, read: ReadReport) -> Example:
    texts: list[str] = []
    supporting: set[int] = set()
    for index, item in enumerate(_some(record, "paragraphs", where)):
        here = f"{where}: paragraph {index + 1}"
        paragraph = checked(item, dict, here)
        texts.append(required(paragraph, "text", str, here))
        if required(paragraph, "is_supporting", bool, here):
            supporting.add(index)
    layout = _lay_out([("", [text]) for text in texts])
    evidence = tuple(
        span for index, (span, _, _) in enumerate(layout.sentences) if index in supporting and span[0] < span[1]
    )
    metadata = (("format", "hotpotqa-pseudo"), *_kind(record, where))
    return _example(record, name, layout.context, evidence, metadata, where, read)


def _identity(record: dict[str, object], where: str, number: int, read: ReadReport) -> tuple[str, str]:
    # Collections made from several releases have records whose id is null.
    name = f"record-{number}" if record.get("_id") is None else required(record, "_id", str, where)
    new_id(name, read, where)
    return name, f"{where} ({name!r})"


def _some(record: dict[str, object], key: str, where: str) -> list[object]:
    items = required(record, key, list, where)
    if not items:
        raise DataError(f"{where}: {key!r} is empty; a paragraph to find answers in is needed")
    return items


def _kind(record: dict[str, object], where: str) -> tuple[tuple[str, object], ...]:
    return tuple((key, required(record, key, str, where) if key in record else "") for key in ("type", "level"))


def _paragraphs(record: dict[str, object], where: str) -> list[tuple[str, list[str]]]:
    paragraphs = []
    for index, item in enumerate(_some(record, "context", where), 1):
        here = f"{where}: paragraph {index}"
        pair = checked(item, list, here)
        if len(pair) != 2:
            raise DataError(f"{here} must be [title, [sentences]], is a list of {len(pair)}")
        title = checked(pair[0], str, f"{here}: the title")
        sentences = checked(pair[1], list, f"{here}: what follows the title")
        paragraphs.append((title, [checked(sentence, str, f"{here}: each sentence") for sentence in sentences]))
    return paragraphs


def _facts(record: dict[str, object], where: str) -> tuple[tuple[str, int], ...]:
    facts = []
    for item in required(record, "supporting_facts", list, where):
        if not isinstance(item, list) or len(item) != 2 or type(item[1]) is not int:
            raise DataError(f"{where}: each of 'supporting_facts' must be [title, sentence number], is {item!r}")
        facts.append((checked(item[0], str, f"{where}: the title of a supporting fact"), item[1]))
    return tuple(facts)


def _lay_out(paragraphs: Sequence[tuple[str, Sequence[str]]]) -> _Layout:
    parts = [YES_NO_PREFIX]
    length = len(YES_NO_PREFIX)

    def append(part: str) -> int:
        nonlocal length
        if part and not parts[-1][-1].isspace() and not part[0].isspace():
            parts.append(" ")
            length += 1
        start = length
        if part:
            parts.append(part)
            length += len(part)
        return start

    table = []
    for title, sentences in paragraphs:
        append(f"{title}." if title else "")
        for index, sentence in enumerate(sentences):
            start = append(sentence)
            # The span is the sentence without the space around it; an empty sentence keeps its number.
            text = sentence.strip()
            first = start + len(sentence) - len(sentence.lstrip()) if text else start
            table.append(((first, first + len(text)), title, index))
    return _Layout("".join(parts), tuple(table))


def _example(
    record: dict[str, object],
    name: str,
    context: str,
    evidence: tuple[tuple[int, int], ...],
    metadata: tuple[tuple[str, object], ...],
    where: str,
    read: ReadReport,
) -> Example:
    reference = required(record, "answer", str, where)
    answers = _answers(context, reference.strip(), evidence)
    example = Example(
        id=name,
        question=required(record, "question", str, where),
        context=context,
        answers=answers,
        references=(reference,),
        evidence=evidence,
        metadata=metadata,
    )
    note_example(example, read)
    return example


def _answers(context: str, text: str, evidence: Sequence[tuple[int, int]]) -> tuple[Answer, ...]:
    if text.lower() in ("yes", "no"):
        return (Answer(text.lower(), YES_NO_PREFIX.index(text.lower())),)
    if not text:
        return ()
    starts = list(_occurrences(context, text))
    # "art" in "party" is hardly what the annotator meant, but "Spaniard" for "Spaniards" may be.
    starts = [start for start in starts if _at_word_boundaries(context, start, start + len(text))] or starts
    within = [start for start in starts if any(low <= start and start + len(text) <= high for low, high in evidence)]
    return tuple(Answer(text, start) for start in within or starts)


def _occurrences(context: str, text: str) -> Iterator[int]:
    start = context.find(text, len(YES_NO_PREFIX))
    while start >= 0:
        yield start
        start = context.find(text, start + 1)


def _at_word_boundaries(context: str, start: int, end: int) -> bool:
    joins_left = context[start - 1 : start].isalnum() and context[start].isalnum()
    joins_right = context[end : end + 1].isalnum() and context[end - 1].isalnum()
    return not joins_left and not joins_right
