import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.answering.explain_page import Passage, TextBlock, cost_line, to_html
from tiny_answerers import TEXT, answerer

EMPTY = {"meta", "br"}


class Reader(HTMLParser):
    """Collects the text of ``div.text`` without superscripts, marked text, titles; checks that tags are balanced."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.marked, self.titles, self.tags = [], "", "", [], set()
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in EMPTY:
            self.open.append((tag, dict(attributes)))
        self.titles += [value for name, value in attributes if name == "title"]

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        if any(attributes.get("class") == "text" for _, attributes in self.open) and "sup" not in tags:
            self.text += data
            self.marked += data if "mark" in tags else ""


def passage(text, blocks=(), answers=(), layers=4, **values):
    return Passage("Who?", text, blocks, answers, layers, "a cost", **values)


@st.composite
def passages(draw):
    text = draw(st.text(alphabet="ab<>&\"' \n\tü🪁{}%", max_size=60))
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    dropped = st.none() | st.integers(1, 3)
    blocks = [
        TextBlock(*place, ((1, 0.5),), draw(dropped))
        for place in draw(st.lists(places, max_size=6))
        if place[0] < place[1]
    ]
    answers = [(*place, 0.5) for place in draw(st.lists(places, max_size=4))]
    beside = [(*place, "con<text>") for place in draw(st.lists(places, max_size=2))]
    return passage(text, blocks, answers, beside=beside)


@given(passages())
def test_the_whole_text_is_shown_as_it_is(shown):
    reader = Reader(to_html([shown]))
    assert reader.text == shown.text
    marked = [False] * len(shown.text)
    for start, end, _ in [*shown.answers, *shown.beside]:
        marked[start:end] = [True] * (end - start)
    assert reader.marked == "".join(c for c, is_marked in zip(shown.text, marked, strict=True) if is_marked)


def test_everything_is_escaped():
    evil = "<script>alert('&')</script>\x00\x1b[2J"
    page = to_html([Passage(evil, evil, [TextBlock(0, 8, ((1, 0.5),), 1)], [(0, 8, 0.5)], 2, evil, evil)], title=evil)
    reader = Reader(page)
    assert "script" not in reader.tags
    assert "\x00" not in page and "\x1b" not in page
    assert reader.text.startswith("<script>")


def test_a_name_that_is_no_valid_text_can_be_written():
    """As that of a file whose name is not UTF-8 is given to a program."""
    name = "caf\udce9.txt"
    page = to_html([Passage(name, TEXT, [TextBlock(0, 8, ((1, 0.5),), 1)], [], 2, name, name)], title=name)
    assert "caf\ufffd.txt" in page.encode("utf-8").decode("utf-8")


def test_the_page_needs_nothing_from_elsewhere():
    page = to_html([passage(TEXT, [TextBlock(0, 9, ((1, 0.25),), 1)], [(10, 14, 0.5)])])
    for word in ("http:", "https:", "src=", "href=", "url(", "@import", "<script"):
        assert word not in page
    assert page.startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in page


def test_layers_show_in_the_text_the_legend_and_on_hover():
    blocks = [
        TextBlock(0, 9, ((1, 0.25),), 1),
        TextBlock(10, 20, ((1, 0.75), (2, 0.125)), 2),
        TextBlock(21, 30, ((1, 0.875),), None),
    ]
    page = to_html([passage(TEXT, blocks, [(22, 25, 0.5)])])
    titles = Reader(page).titles
    assert "dropped in layer 1. layer 1: 0.250" in titles
    assert "dropped in layer 2. layer 1: 0.750; layer 2: 0.125" in titles
    assert "kept. layer 1: 0.875" in titles
    assert "answer 1" in titles
    for layer in (1, 2):
        assert f".d{layer} {{" in page
        assert f"dropped in layer {layer}<sup>{layer}</sup>" in page
    assert "d3" not in page


def lightness(page, layer):
    return int(re.search(rf"\.d{layer} {{ color: hsl\(215 8% (\d+)%\)", page).group(1))


def test_what_was_dropped_early_recedes_and_what_was_read_stands_out():
    blocks = [TextBlock(10 * layer, 10 * layer + 9, (), layer) for layer in range(4)]
    page = to_html([passage(TEXT, [*blocks, TextBlock(41, 45, (), None)])])
    shades = [lightness(page, layer) for layer in range(4)]
    assert shades == sorted(shades, reverse=True)
    assert shades[1] > shades[3]
    # On white, whose contrast to it is 4.5 and more.
    assert max(shades) <= 45
    assert ".kept { background: #e3eefb; font-weight: bold; }" in page


def test_of_overlapping_windows_the_longest_reading_is_shown():
    blocks = [TextBlock(0, 10, ((1, 0.5),), 1), TextBlock(5, 15, ((1, 0.9),), None), TextBlock(0, 15, ((1, 0.5),), 2)]
    titles = Reader(to_html([passage(TEXT, blocks)])).titles
    assert len(titles) == 2
    assert titles[0].startswith("dropped in layer 2")
    assert titles[1].startswith("kept")


def test_what_goes_with_answers_is_marked_otherwise_and_not_counted():
    page = to_html([passage(TEXT, [], [(22, 25, 0.5)], ranks=[7], beside=[(0, 9, "context"), (20, 30, "kept")])])
    assert f'<mark class="beside" title="context">{TEXT[:9]}</mark>' in page
    assert f'<mark title="answer 7">{TEXT[22:25]}</mark>' in page
    assert '<mark>answer</mark> <mark class="beside">context</mark> <mark class="beside">kept</mark>' in page
    assert re.findall(r'<li value="(\d+)">', page) == ["7"]
    assert 'class="beside"' not in to_html([passage(TEXT, [], [(22, 25, 0.5)])])


def test_a_trace_makes_a_page():
    answers = answerer()("Where is the nest?", TEXT, top_k=2, return_trace=True)
    page = answers[0]["trace"].to_html()
    reader = Reader(page)
    assert reader.text == TEXT
    for answer in answers:
        assert answer["answer"].split()[0] in reader.marked
    assert "Where is the nest?" in page


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((100, 0.31, 50, 70, 0.084), "kept 31% of 100 blocks, 1.4× fewer FLOPs than dense, 0.08 s"),
        ((1, 1.0, 70, 70, 0.5), "read all of 1 block, 0.50 s"),
        ((1200, 0.99, 71, 70, 0.5), "kept 99% of 1,200 blocks, no FLOPs saved, 0.50 s"),
        ((0, 1.0, 70, 70, 0.5), "nothing to skip, 0.50 s"),
    ],
)
def test_the_cost_in_a_line(arguments, line):
    assert cost_line(*arguments) == line
