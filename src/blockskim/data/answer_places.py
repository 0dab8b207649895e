"""Where an annotated answer stands when its offset is not where its text is."""

from collections.abc import Iterator

from blockskim.data.examples import Answer
from blockskim.data.read_report import ReadReport

# What a byte-order mark or a blank at the beginning moves an offset by.
_SLIP = 2


def place_answer(context: str, text: str, start: int, read: ReadReport) -> Answer | None:
    """Returns the answer at its offset, or at the place of its text that the offset must mean, else None.

    An offset that is off means the only place where the text occurs. Where there are several, it means the nearest, if
    the next is at least twice as far off and the offset lies in the context. First, however, it is taken as counted in
    another way: a CR LF as one character or a line feed as two, UTF-16 units, bytes of UTF-8. If it hits the text so,
    it means that place; if it hits several, or another one is very near, it means none.

    An answer over several lines is found, too, where its line ends are written otherwise than the context's; its text
    is then as in the context.

    Args:
        context: the context.
        text: text of the answer.
        start: offset that the file gives.
        read: counts the repaired and the skipped ones.
    """
    # Blanks alone are no answer, wherever they stand.
    if not text.strip():
        read.skipped += 1
        return None
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    if "\n" in text and text not in context:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n" if "\r\n" in context else "\n")
    place = _meant_place(context, text, start)
    if place is None:
        read.skipped += 1
        return None
    read.repaired += 1
    return Answer(text, place)


def _meant_place(context: str, text: str, start: int) -> int | None:
    first = context.find(text)
    # Searching on from the next character finds overlapping occurrences, too: "ana" is twice in "banana".
    if first < 0 or context.find(text, first + 1) < 0:
        return first if first >= 0 else None
    if start < 0:
        return None
    nearest = _nearest(context, text, start)
    hits = {place for place in _counted_otherwise(context, start) if context.startswith(text, place)}
    if nearest is not None and (not hits or abs(nearest - start) <= _SLIP):
        hits.add(nearest)
    return hits.pop() if len(hits) == 1 else None


def _nearest(context: str, text: str, start: int) -> int | None:
    """The occurrence nearest to an offset, of at least two, if the next one is at least twice as far off."""
    if start > len(context):
        return None
    before = context.rfind(text, 0, start + len(text) - 1)
    after = context.find(text, start)
    further_before = context.rfind(text, 0, before + len(text) - 1) if before > 0 else -1
    further_after = context.find(text, after + 1) if after >= 0 else -1
    places = [place for place in (before, after, further_before, further_after) if place >= 0]
    first, second, *_ = sorted(places, key=lambda place: abs(place - start))
    return first if 2 * abs(first - start) <= abs(second - start) else None


def _counted_otherwise(context: str, start: int) -> Iterator[int]:
    """Offsets in characters that ``start`` would be if it counted something else."""
    if "\r\n" in context:
        place = start
        while (moved := start + context.count("\r\n", 0, place)) != place:
            place = moved
        yield place
    elif "\n" in context:
        yield start - context.replace("\n", "\r\n").count("\r\n", 0, start)
    if not context.isascii():
        for encoding, width in (("utf-16-le", 2), ("utf-8", 1)):
            yield len(context.encode(encoding)[: start * width].decode(encoding, errors="ignore"))
