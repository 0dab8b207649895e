"""A page that shows what a model read and what it skipped: the text, each block marked by the layer that dropped it.

What was read to the end stands out, and what was dropped early recedes. The page is one file without scripts that
loads nothing. It says everything without colour, too: kept text is bold and underlined, dropped text carries the number
of the layer that dropped it.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A block that may be dropped, as characters of its text.

    Attributes:
        start: first character.
        end: one past the last character.
        probabilities: (layer, keep probability) of each layer that scored it, in their order.
        dropped_in: the layer that dropped it, 0 when it was not read at all; None when it was read to the end.
    """

    start: int
    end: int
    probabilities: tuple[tuple[int, float], ...]
    dropped_in: int | None


@dataclass(frozen=True, slots=True)
class Passage:
    """A text, the question that was asked about it, and what was found and skipped in it.

    Attributes:
        question: the question.
        text: the text.
        blocks: its droppable blocks; those of overlapping windows overlap.
        answers: (first character, one past the last, score) of each answer, best first.
        layers: number of layers of the model.
        cost: a line on what was read and saved.
        document: name of the text; "" for none.
        ranks: place of each answer among all that were given, those of other texts included; 1, 2, … when empty.
        beside: (first character, one past the last, what it is called) of what goes with the answers.
    """

    question: str
    text: str
    blocks: Sequence[TextBlock]
    answers: Sequence[tuple[int, int, float]]
    layers: int
    cost: str
    document: str = ""
    ranks: Sequence[int] = ()
    beside: Sequence[tuple[int, int, str]] = ()

    @property
    def ranked(self) -> list[tuple[int, tuple[int, int, float]]]:
        """Each answer behind its rank, best first."""
        return list(zip(self.ranks or range(1, len(self.answers) + 1), self.answers, strict=True))


def to_html(passages: Sequence[Passage], title: str = "What was read", marked: str = "answer") -> str:
    """The page as one self-contained HTML document.

    Args:
        passages: what it shows.
        title: of the page.
        marked: what the spans of the passages are called.
    """
    layers = sorted(
        {block.dropped_in for passage in passages for block in passage.blocks if block.dropped_in is not None}
    )
    depth = max((passage.layers for passage in passages), default=1)
    shades = "\n".join(f".d{layer} {{ color: {_shade(layer, depth)}; }}" for layer in layers)
    sections = "\n".join(_section(passage, marked) for passage in passages)
    beside = dict.fromkeys(name for passage in passages for _, _, name in passage.beside)
    legend = _legend(layers, marked, beside)
    return _PAGE.format(title=_escape(title), shades=shades, legend=legend, sections=sections)


def cost_line(blocks: int, kept: float, flops: int, dense_flops: int, seconds: float) -> str:
    """A run in one line for people: blocks kept, FLOPs saved, time."""
    time = f"{seconds:.2f} s"
    if not blocks:
        return f"nothing to skip, {time}"
    if kept >= 1.0 and flops >= dense_flops:
        return f"read all of {_blocks(blocks)}, {time}"
    ratio = f"{dense_flops / flops:.1f}"
    saved = f"{ratio}× fewer FLOPs than dense" if flops < dense_flops and ratio != "1.0" else "no FLOPs saved"
    return f"kept {kept:.0%} of {_blocks(blocks)}, {saved}, {time}"


def _blocks(count: int) -> str:
    return f"{count:,} block" if count == 1 else f"{count:,} blocks"


def _section(passage: Passage, marked: str) -> str:
    found = "".join(
        f'<li value="{rank}"><b>{_escape(passage.text[start:end] or f"(no {marked})")}</b> '
        f"<small>{score:.3f}</small></li>"
        for rank, (start, end, score) in passage.ranked
    )
    name = f"<h2>{_escape(passage.document)}</h2>\n" if passage.document else ""
    return (
        f"<section>\n<h1>{_escape(passage.question)}</h1>\n{name}<ol>{found}</ol>\n"
        f'<p class="cost">{_escape(passage.cost)}</p>\n'
        f'<div class="text" dir="auto">{_text(passage, marked)}</div>\n</section>'
    )


def _text(passage: Passage, marked: str) -> str:
    """The text with its blocks and answers marked, and what goes with these."""
    found = passage.ranked
    mark = np.zeros(len(passage.text), dtype=np.int64)
    for number, (start, end, _) in enumerate(passage.beside, start=len(found) + 1):
        mark[start:end] = number
    for number, (_, (start, end, _)) in reversed(list(enumerate(found, start=1))):
        mark[start:end] = number
    marks = [_escape, *(_marker(f"{marked} {rank}") for rank, _ in found)]
    marks += [_marker(name, ' class="beside"') for _, _, name in passage.beside]

    def inner(start: int, end: int) -> str:
        pieces = ((a + start, b + start) for a, b in _runs(mark[start:end]))
        return "".join(marks[mark[a]](passage.text[a:b]) for a, b in pieces)

    parts, shown = [], 0
    for start, end, block in runs_of_blocks(passage):
        parts += [inner(shown, start), _span(block, inner(start, end))]
        shown = end
    return "".join([*parts, inner(shown, len(passage.text))])


def runs_of_blocks(passage: Passage) -> list[tuple[int, int, TextBlock]]:
    """First character, one past the last, and block of each run of the text that is shown as of one block, in order.

    Of overlapping blocks a character is shown in the one that was read longest.
    """
    owner = _owners(passage)
    return [
        (start, end, passage.blocks[owner[start]])
        for start, end in _runs(owner)
        # Between a window's last block and the next window's blocks, blanks alone are left: nothing to mark.
        if owner[start] >= 0 and not passage.text[start:end].isspace()
    ]


def _owners(passage: Passage) -> NDArray[np.int64]:
    """The block that each character is shown in: of several, the one that was read longest. -1 for none."""
    owner = np.full(len(passage.text), -1, dtype=np.int64)
    survival = [passage.layers + 1 if block.dropped_in is None else block.dropped_in for block in passage.blocks]
    for index in np.argsort(survival, kind="stable"):
        owner[passage.blocks[index].start : passage.blocks[index].end] = index
    return owner


def _runs(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First index and end of each run of equal values."""
    if len(values):
        bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
        yield from pairwise(bounds)


def _marker(name: str, kind: str = "") -> Callable[[str], str]:
    """What marks pieces of the text, and tells what they are when the pointer rests on them."""
    return lambda text: f'<mark{kind} title="{_escape(name)}">{_escape(text)}</mark>'


def _span(block: TextBlock, inner: str) -> str:
    scores = "; ".join(f"layer {layer}: {probability:.3f}" for layer, probability in block.probabilities)
    if block.dropped_in is None:
        return f'<span class="kept" title="kept. {scores}">{inner}</span>'
    layer = block.dropped_in
    fate = f"dropped in layer {layer}. {scores}" if layer else "not read"
    return f'<span class="gone d{layer}" title="{fate}">{inner}<sup>{layer}</sup></span>'


def _legend(layers: Sequence[int], marked: str, beside: Iterable[str]) -> str:
    gone = " ".join(
        f'<span class="gone d{layer}">{f"dropped in layer {layer}" if layer else "not read"}<sup>{layer}</sup></span>'
        for layer in layers
    )
    others = "".join(f' <mark class="beside">{_escape(name)}</mark>' for name in beside)
    return f'<span class="kept">read to the end</span> {gone} <mark>{marked}</mark>{others}'


def _shade(layer: int, depth: int) -> str:
    """Paler the earlier a block was dropped; the palest is still readable on white."""
    return f"hsl(215 8% {round(45 - 20 * min(1.0, max(0, layer - 1) / max(1, depth - 1)))}%)"


_NOT_IN_HTML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def _escape(text: str) -> str:
    """Text as HTML; characters that HTML can't hold are shown as replaced."""
    return html.escape(_NOT_IN_HTML.sub("\ufffd", text))


_PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.7 Georgia, serif; max-width: 48em; margin: 2em auto; padding: 0 1em; }}
body {{ color: #111; background: #fff; }}
h1 {{ font-size: 1.3em; }}
h2 {{ font-size: 1em; color: #444; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; border-top: 1px solid #999; padding-top: 1em; }}
.kept {{ background: #e3eefb; font-weight: bold; }}
.kept {{ text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 3px; }}
.gone {{ font-size: .95em; }}
sup {{ font: bold .65em/1 sans-serif; padding-left: .15em; }}
mark {{ background: #ffe34d; font-weight: bold; outline: 1px solid #111; }}
mark.beside {{ background: #fff7c9; font-weight: normal; outline: 1px dashed #767676; }}
.cost, .legend {{ font: .9em/1.8 sans-serif; }}
.legend {{ border: 1px solid #999; padding: .4em .8em; }}
span, mark {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
{shades}
</style>
</head>
<body>
<p class="legend">{legend}. A block's keep probabilities show when the pointer rests on it.</p>
{sections}
</body>
</html>
"""
