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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blockskim.data.examples import Answer, Example
from blockskim.data.read_report import ReadReport
from blockskim.data.record_source import Record, read_file
from blockskim.data.records import (
    brief,
    check_no_other_answers,
    check_parallel,
    checked,
    find_id,
    is_missing,
    names_of,
    optional_text,
    question_text,
    required,
    whole_number,
)
from blockskim.errors import DataError

YES_NO_PREFIX = "yes no"


@dataclass(frozen=True, slots=True)
class _Layout:
    """A context and where its sentences are: (span, title, number of the sentence in its paragraph)."""

    context: str
    sentences: tuple[tuple[tuple[int, int], str, int], ...]


def read_hotpotqa(path: Path | str, skip_bad: bool = False, with_answers: bool = True) -> Iterator[Example]:
    """Reads a native HotpotQA file (distractor or full-wiki setting), plain or gzip.

    Records lie in a list or one per line. ``context`` and ``supporting_facts`` are lists of pairs or, as the
    ``datasets`` library writes them, objects of two lists. A record that has neither ``_id`` nor ``id`` gets the id
    "record-N", N counting from 1. One without ``answer``, as in a test file, is not annotated; it may not stand in a
    file with others that are. The same holds for ``supporting_facts``.

    Supporting facts that point at no sentence of the context, which HotpotQA has, are no evidence but stay in the
    metadata: the official score counts them. One warning per file counts them and the questions whose answer occurs
    nowhere.

    Metadata: ``format`` is "hotpotqa"; ``type`` and ``level`` as in the file; ``supporting_facts``, the gold
    (title, sentence number) pairs, if the file has them; ``sentences``, a ((start, end), title, sentence number) for
    every sentence.

    Args:
        path: the file to read.
        skip_bad: leave out records with something wrong and count them, instead of stopping there.
        with_answers: whether to read answers and facts; without, no question is annotated, and nothing is wrong with
            any answer.

    Returns:
        An iterator over the questions in the file's order.

    Raises:
        DataError: the file is not HotpotQA JSON; the message names the file, the record and what would be right.
    """
    have_facts: bool | None = None

    def make(record: Record, read: ReadReport) -> Iterator[Example]:
        nonlocal have_facts
        name, where = _identity(record, read, "context")
        facts = _facts(record.value, where) if read.with_answers else None
        example = _native_example(record.value, name, facts, where, read)
        if have_facts is None:
            have_facts = facts is not None
        if have_facts != (facts is not None):
            raise DataError(_some_have_facts(where, have_facts))
        yield example

    return read_file(path, make, skip_bad, with_answers)


def read_hotpotqa_pseudo(path: Path | str, skip_bad: bool = False, with_answers: bool = True) -> Iterator[Example]:
    """Reads HotpotQA questions over ``paragraphs`` that are marked with ``is_supporting`` as a whole.

    Records: ``_id``, ``question``, ``answer``, ``paragraphs`` (each ``text`` and ``is_supporting``), and perhaps
    ``type`` and ``level``. Evidence is the supporting paragraphs; there are no sentences and no facts to score.

    Metadata: ``format`` is "hotpotqa-pseudo"; ``type`` and ``level`` as in the file.

    Args:
        path: the file to read.
        skip_bad: leave out records with something wrong and count them, instead of stopping there.
        with_answers: whether to read answers; without, no question is annotated, and nothing is wrong with any answer.

    Returns:
        An iterator over the questions in the file's order.

    Raises:
        DataError: the file is not such JSON; the message names the file, the record and what would be right.
    """
    return read_file(path, _pseudo_example, skip_bad, with_answers)


def _some_have_facts(where: str, wanted: bool) -> str:
    if wanted:
        return f"{where}: has no 'supporting_facts', but the records before have; all must have them, or none"
    return f"{where}: has 'supporting_facts', but the records before have none; all must have them, or none"


def _native_example(
    record: dict[str, object], name: str, facts: tuple[tuple[str, int], ...] | None, where: str, read: ReadReport
) -> Example:
    layout = _lay_out(_paragraphs(record, where))
    spans = {(title, index): span for span, title, index in reversed(layout.sentences)}
    wanted = set(facts or ())
    read.outside += sum(fact not in spans for fact in facts or ())
    evidence = tuple(span for span, title, index in layout.sentences if (title, index) in wanted and span[0] < span[1])
    metadata: tuple[tuple[str, object], ...] = (
        ("format", "hotpotqa"),
        *_kind(record, where),
        *((("supporting_facts", facts),) if facts is not None else ()),
        ("sentences", layout.sentences),
    )
    return _example(record, name, layout.context, evidence, metadata, where, read)


def _pseudo_example(record: Record, read: ReadReport) -> Iterator[Example]:
    name, where = _identity(record, read, "paragraphs")
    texts: list[str] = []
    supporting: set[int] = set()
    for index, item in enumerate(_some(record.value, "paragraphs", where)):
        here = f"{where}: paragraph {index + 1}"
        paragraph = checked(item, dict, here)
        texts.append(required(paragraph, "text", str, here))
        if required(paragraph, "is_supporting", bool, here):
            supporting.add(index)
    layout = _lay_out([("", [text]) for text in texts])
    evidence = tuple(
        span for index, (span, _, _) in enumerate(layout.sentences) if index in supporting and span[0] < span[1]
    )
    metadata = (("format", "hotpotqa-pseudo"), *_kind(record.value, where))
    yield _example(record.value, name, layout.context, evidence, metadata, where, read)


def _identity(record: Record, read: ReadReport, texts: str) -> tuple[str, str]:
    """Id of a record, and what messages about it start with; ``texts`` is where the format has what is read."""
    where, value = record.named("record"), record.value
    if not {"question", "answer", "_id", texts} & value.keys():
        raise DataError(
            f"{where}: this is not a HotpotQA file: a list of records with 'question' and {texts!r} is needed; it has "
            f"{names_of(value)}"
        )
    # Collections made from several releases have records whose id is null.
    found = find_id(value, ("_id", "id"), where)
    name = read.new_id(f"record-{record.number}" if found is None else found, where)
    read.where = f"{where} ({brief(name)})"
    return name, read.where


def _some(record: dict[str, object], key: str, where: str) -> list[object]:
    items = required(record, key, list, where)
    if not items:
        raise DataError(f"{where}: {key!r} is empty; a paragraph to find answers in is needed")
    return items


def _kind(record: dict[str, object], where: str) -> tuple[tuple[str, object], ...]:
    return tuple((key, optional_text(record, key, where)) for key in ("type", "level"))


def _paragraphs(record: dict[str, object], where: str) -> list[tuple[str, list[str]]]:
    paragraphs = []
    for index, item in enumerate(_pairs(record, "context", ("title", "sentences"), where), 1):
        here = f"{where}: paragraph {index}"
        pair = checked(_pair(item, ("title", "sentences")), list, here)
        if len(pair) != 2:
            raise DataError(f"{here} must be [title, [sentences]], is a list of {len(pair)}")
        title = checked(pair[0], str, f"{here}: the title")
        sentences = checked(pair[1], list, f"{here}: what follows the title")
        paragraphs.append((title, [checked(sentence, str, f"{here}: each sentence") for sentence in sentences]))
    if not paragraphs:
        raise DataError(f"{where}: 'context' is empty; a paragraph to find answers in is needed")
    return paragraphs


def _facts(record: dict[str, object], where: str) -> tuple[tuple[str, int], ...] | None:
    """The supporting facts; None where the record tells none."""
    if is_missing(record, "supporting_facts"):
        return None
    facts = []
    for item in _pairs(record, "supporting_facts", ("title", "sent_id"), where):
        pair = _pair(item, ("title", "sent_id"))
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) not in (int, float):
            raise DataError(f"{where}: each of 'supporting_facts' must be [title, sentence number], is {brief(item)}")
        number = whole_number(pair[1], f"{where}: the sentence number of a supporting fact")
        facts.append((checked(pair[0], str, f"{where}: the title of a supporting fact"), number))
    return tuple(facts)


def _pairs(record: dict[str, object], key: str, names: tuple[str, str], where: str) -> list[object]:
    """The pairs of a field: a list of them, or an object of two lists."""
    value = record.get(key)
    if not isinstance(value, dict):
        return required(record, key, list, where)
    here = f"{where}: {key!r}"
    lists = {name: required(value, name, list, here) for name in names}
    check_parallel(lists, here)
    return [list(pair) for pair in zip(*lists.values(), strict=True)]


def _pair(item: object, names: tuple[str, str]) -> object:
    """A pair that may be written as an object."""
    return [item[name] for name in names] if isinstance(item, dict) and item.keys() >= set(names) else item


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
    annotated = read.with_answers and not is_missing(record, "answer")
    if read.with_answers and not annotated:
        check_no_other_answers(record, "answer", where)
    reference = required(record, "answer", str, where) if annotated else ""
    return Example(
        id=name,
        question=question_text(record, where),
        context=context,
        answers=_answers(context, reference.strip(), evidence),
        references=(reference,) if annotated else (),
        evidence=evidence,
        metadata=metadata,
        annotated=annotated,
    )


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
