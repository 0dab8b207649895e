"""Draw what the shipped model read of a text, as the page of ``--explain`` shows it, for the README.

    python scripts/draw_page.py    # writes docs/figures/skimmed-page.svg

What is drawn is the page's own data, of the model and its default operating point. The drawing names the weights, so
that a test tells one of another model.
"""

import argparse
import html
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from blockskim import QuestionAnswerer
from blockskim.answering.explain_page import Passage, runs_of_blocks
from blockskim.atomic import write_whole
from blockskim.inference.shipped import shipped_model
from blockskim.scaling.model_files import model_digest

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "figures" / "skimmed-page.svg"
TEXT = ROOT / "examples" / "demo.txt"
QUESTION = "Who built the third Eddystone lighthouse?"

COLUMNS, CHARACTER, LINE, MARGIN, TOP = 100, 8.4, 21, 20, 92
"""Characters of a line, pixels of a character and of a line, and of what is around the text."""

READ = -1
"""Stands for a block that was read to the end, where others have the layer that dropped them."""


def main() -> None:
    """Draw the figure."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    write_whole(FIGURE, drawing(read_passage(), shipped_digest()))
    sys.stderr.write(f"{FIGURE.relative_to(ROOT)}\n")


def read_passage() -> Passage:
    """The text, and what the shipped model read of it."""
    answerer = QuestionAnswerer(threads=1)
    (trace,) = answerer.search(QUESTION, {"": TEXT.read_text(encoding="utf-8").strip()}).traces
    return trace.passage()


def shipped_digest() -> str:
    """The first digits of the digest of the shipped model."""
    return model_digest(shipped_model())[:16]


def drawing(passage: Passage, digest: str) -> str:
    """The figure as SVG.

    Args:
        passage: what was read.
        digest: of the weights that read it.
    """
    fates, answer = fates_of(passage)
    dropped = sorted({fate for fate in fates if fate is not None and fate != READ})
    lines = [_line(passage.text, first, last, y, fates, answer) for first, last, y in _places(passage.text)]
    legend = TOP + LINE * len(lines) + MARGIN + LINE // 2
    height = legend + MARGIN
    width = round(2 * MARGIN + COLUMNS * CHARACTER)
    found = html.escape(passage.text[slice(*passage.answers[0][:2])])
    cost = html.escape(passage.cost.rpartition(", ")[0])
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t d">',
            f"<!-- weights {digest} -->",
            f'<title id="t">{html.escape(passage.question)} {found}</title>',
            f'<desc id="d">The text as the model read it: {cost}. What was read to the end is bold on blue; a number '
            "behind each other piece is the layer that dropped it.</desc>",
            f"<style>{_style(passage.layers)}</style>",
            f'<rect class="page" width="{width}" height="{height}"/>',
            f'<text class="question" x="{MARGIN}" y="32">{html.escape(passage.question)}</text>',
            f'<text class="found" x="{MARGIN}" y="56">{found}<tspan class="cost" dx="14">{cost}</tspan></text>',
            *lines,
            _legend(dropped, legend),
            "</svg>\n",
        ]
    )


def fates_of(passage: Passage) -> tuple[list[int | None], range]:
    """What became of each character (READ, the layer that dropped it, or None outside of blocks), and the answer."""
    fates: list[int | None] = [None] * len(passage.text)
    for start, end, block in runs_of_blocks(passage):
        fate = READ if block.dropped_in is None else block.dropped_in
        fates[start:end] = [fate] * (end - start)
    # Blanks between two blocks of the same fate belong to both.
    for place in range(1, len(fates) - 1):
        if fates[place] is None and passage.text[place] == " " and fates[place - 1] == fates[place + 1]:
            fates[place] = fates[place - 1]
    return fates, range(*passage.answers[0][:2])


def _places(text: str) -> Iterator[tuple[int, int, int]]:
    """First character, one past the last, and height of each line."""
    start, y = 0, TOP
    for paragraph in text.split("\n"):
        end = start + len(paragraph)
        first = start
        while first < end:
            last = end if end - first <= COLUMNS else text.rindex(" ", first, first + COLUMNS + 1)
            yield first, last, y
            first, y = last + 1, y + LINE
        start, y = end + 1, y + (0 if paragraph else LINE // 2)


def _line(text: str, first: int, last: int, y: int, fates: list[int | None], answer: range) -> str:
    """A line as pieces of one fate each; a piece that ends here has the number of its layer behind it."""
    parts = []
    for (fate, marked), group in groupby(range(first, last), lambda place: (fates[place], place in answer)):
        places = list(group)
        start, end = places[0], places[-1] + 1
        x = MARGIN + (start - first) * CHARACTER
        wide = (end - start) * CHARACTER
        if marked or fate == READ:
            kind = "answer" if marked else "kept"
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y - 15}" width="{wide:.1f}" height="20"/>')
        name = "read" if fate == READ else "none" if fate is None else f"d{fate}"
        words = html.escape(text[start:end])
        parts.append(
            f'<text class="{name}" x="{x:.1f}" y="{y}" textLength="{wide:.1f}" xml:space="preserve">{words}</text>'
        )
        ends = end == len(text) or fates[end] != fate
        if ends and fate not in (None, READ):
            parts.append(f'<text class="layer" x="{x + wide:.1f}" y="{y - 6}">{fate}</text>')
    return "".join(parts)


def _legend(dropped: list[int], y: int) -> str:
    words = [f"dropped in layer {layer}" if layer else "not read" for layer in dropped]
    text = "".join(
        f'<tspan class="d{layer}" dx="12">{told}</tspan>' for layer, told in zip(dropped, words, strict=True)
    )
    return f'<text class="legend" x="{MARGIN}" y="{y}"><tspan class="read">read to the end</tspan>{text}</text>'


def _style(layers: int) -> str:
    shades = "".join(f".d{layer}{{fill:{_shade(layer, layers)}}}" for layer in range(layers + 1))
    mono = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
    sans = "Helvetica,Arial,sans-serif"
    return (
        f"text{{font:14px {mono};fill:#6b7078}}{shades}.page{{fill:#fff;stroke:#c9ced6}}.kept{{fill:#e3eefb}}"
        ".answer{fill:#ffe34d;stroke:#111}.read{fill:#111;font-weight:bold}.layer{font-size:9px}"
        f".question{{font:bold 18px {sans};fill:#111}}.found{{font:bold 15px {sans};fill:#111}}"
        f".cost{{font-weight:normal;fill:#444}}.legend{{font:12px {sans}}}.legend .read{{fill:#111}}"
    )


def _shade(layer: int, layers: int) -> str:
    """Paler the earlier a block was dropped, and readable on white."""
    return f"hsl(215,8%,{round(58 - 30 * max(0, layer - 1) / max(1, layers - 1))}%)"


if __name__ == "__main__":
    main()
