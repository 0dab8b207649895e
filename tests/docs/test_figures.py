"""Figures of the docs are drawn from what ships, and the front page keeps its size."""

import re
import tomllib
from html import unescape
from pathlib import Path

import draw_front
import draw_page

from blockskim.answering.explain_page import Passage, TextBlock

ROOT = Path(__file__).parents[2]
AGAIN = "run make reference"


def test_the_page_in_the_readme_is_what_the_shipped_model_read():
    drawn = draw_page.FIGURE.read_text(encoding="utf-8")
    assert f"weights {draw_page.shipped_digest()}" in drawn, AGAIN
    assert "docs/figures/skimmed-page.svg" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_front_is_what_calibration_found():
    assert draw_front.FIGURE.read_text(encoding="utf-8") == draw_front.drawing(draw_front.read_calibration()), AGAIN


def test_a_page_holds_the_whole_text_and_says_what_became_of_it():
    text = "The kite & the nest. " * 12 + "It is in Wales.\n\nA last line"
    found = text.index("Wales")
    blocks = [
        TextBlock(0, 100, ((2, 0.01),), 2),
        TextBlock(101, found - 9, ((2, 0.3), (3, 0.01)), 3),
        TextBlock(found - 9, len(text), ((2, 0.9), (3, 0.9)), None),
    ]
    passage = Passage("Where?", text, blocks, [(found, found + 5, 0.9)], 4, "kept 1 of 3, 0.1 s")
    drawn = draw_page.drawing(passage, "0123")
    pieces = re.findall(r'textLength="[^"]+" xml:space="preserve">([^<]*)</text>', drawn)
    assert unescape("".join(pieces)).replace(" ", "") == re.sub(r"\s", "", text)
    assert drawn.count('class="answer"') == 1
    assert list(re.findall(r'class="layer"[^>]*>(\d)<', drawn)) == ["2", "3"]
    # Seconds are of the machine that drew it.
    assert "0.1 s" not in drawn


def test_the_front_page_names_all_that_can_be_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"'\.\[([\w-]+)\]'", (ROOT / "README.md").read_text(encoding="utf-8")))
    # Another name of export, and what the checks need.
    assert named == set(project["optional-dependencies"]) - {"onnx", "dev"}


def test_the_front_page_stays_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
