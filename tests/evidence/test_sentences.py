import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blockskim.errors import ConfigError
from blockskim.evidence.sentences import LONGEST, checked_spans, split_sentences

PIECES = [
    "word ",
    "Dr. ",
    "e.g. ",
    ". ",
    ".",
    "! ",
    "? ",
    "…",
    "。",
    "！",
    "\n",
    "\r\n",
    "\n\n",
    "* ",
    "1. ",
    "    x",
    "\t",
]
PIECES += [
    "東京",
    "é",
    "e\u0301",
    "🪁",
    "\u200d",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\x85",
    "\x0b",
    '"',
    "’ ",
    ")",
    "# ",
    "```",
    "а",
    "X",
]
texts = st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def sentences(text):
    return [text[start:end] for start, end in split_sentences(text)]


@given(texts)
@example("a" * 3 * LONGEST)
@example("\x1c\n.\x1f. ")
def test_sentences_are_disjoint_in_order_and_hold_all_that_is_no_white_space(text):
    spans = split_sentences(text)
    before, left_out = 0, []
    for start, end in spans:
        assert before <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        assert end - start <= LONGEST
        left_out.append(text[before:start])
        before = end
    assert "".join([*left_out, text[before:]]).strip() == ""


@given(texts)
def test_a_text_and_its_sentences_are_split_alike_twice(text):
    assert split_sentences(text) == split_sentences(text)
    assert checked_spans(split_sentences, text) == split_sentences(text)


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mr. J. R. Jones on Jan. 5. | They left.",
        "The U.S. Army moved at 3 p.m. and won. | It rained.",
        "They live in the U.S. | The house is red.",
        "See Fig. 3, e.g. the left part. | It is small.",
        "Apples, pears etc. are fruit. | Apples etc. | The rest is not.",
        "She paid 3.50 at example.com. | Was it 1990? | Yes!",
        'He said: "Go." | Then he went.',
        '"Go!" she said. | (It was late.) | She slept.',
        "Wait... what? | Yes… | No.",
        "Er kam am 3. Oktober, d.h. zu spät. | Frl. Meier ging usw. zu Fuß.",
        "Mme. Curie est née à Varsovie. | Elle a gagné. | Où ça ?",
        "It was in 1990. | Then came 2024.",
        "ask them. | is it there? | no, it is not.".lower(),
        # One name is no sign that sentences begin with capitals, nor is one small letter that they don't.
        "we met Ann at nine. | the bus was late. | then it rained.",
        "The cable is approxim. five metres long, and NASA made it. | It held.",
        "“The cable is approxim. five metres long”, NASA wrote.",
        "Serbo-Croatian it is the 122. eskadrila, later the 123. eskadrila, then the 124. eskadrila. | It flew.",
        "He came.[1] | She left.[2][13] | They met.² | It cost 5 dollars.”¹⁰ | See list.[12b] Nothing more.",
    ],
)
def test_abbreviations_numbers_and_quotes(text):
    assert sentences(text.replace(" | ", " ")) == text.split(" | ")


@pytest.mark.parametrize(
    "text",
    [
        "# The pump | It costs approxim. five euros.",
        "it is small. | - The cable is approxim. five metres long | - It costs approxim. five euros",
        "The cable is approxim. five metres long. | ```\nopen. read\nread. write\nwrite. close\n``` | It held.",
    ],
)
def test_what_shows_that_sentences_begin_with_capitals(text):
    paragraphs = text.split(" | ")
    found = sentences("\n\n".join(paragraphs))
    assert [sentence for sentence in paragraphs if "\n" not in sentence and sentence not in found] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京は首都です。大阪は？「はい。」第二句！", ["東京は首都です。", "大阪は？", "「はい。」", "第二句！"]),
        ("यह एक है। यह दो है।", ["यह एक है।", "यह दो है।"]),
        ("ما هذا؟ هذا كتاب.", ["ما هذا؟", "هذا كتاب."]),
        ("Это кит. А это кот.", ["Это кит.", "А это кот."]),
        ("ეს ვეშაპია. ეს NASA. ეს კატაა.", ["ეს ვეშაპია.", "ეს NASA.", "ეს კატაა."]),
        ("これは試験である．値は３．１４と1．5だ．", ["これは試験である．", "値は３．１４と1．5だ．"]),
        ("１．はじめに。Ｊ．次に。[1]終わり。", ["１．はじめに。", "Ｊ．次に。[1]", "終わり。"]),
    ],
)
def test_scripts(text, expected):
    assert sentences(text) == expected


def test_lists_headings_tables_and_wrapped_lines():
    text = (
        "# The kite\nIt is a bird of prey that nests in trees and is often seen\nover open fields.\n\n"
        "- one thing\n- another, which is\n  longer\n1. First. Of all.\n2. Second\n\n| a | b |\n| 1 | 2 |\n"
        "Name: Kite\nColour: red"
    )
    assert sentences(text) == [
        "# The kite",
        "It is a bird of prey that nests in trees and is often seen\nover open fields.",
        "- one thing",
        "- another, which is\n  longer",
        "1. First.",
        "Of all.",
        "2. Second",
        "| a | b |",
        "| 1 | 2 |",
        "Name: Kite",
        "Colour: red",
    ]


def test_code_is_split_into_lines():
    text = "Call it so:\n\n    x = f(a.b, 1.5)\n    y = x.z\n\n```\nfor i in y:\n    print(i)\n```\nDone."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert sentences(text) == lines


def test_lines_of_a_fenced_block_are_sentences_each():
    code = "import os\nfrom shutil import rmtree as remove_everything_in\nbudget = 3. if os else 4\nos.remove('x')"
    for fence, info in (("```", "python"), ("~~~~", ""), ("  ```", " c++")):
        text = f"Call it so, and\nmind this:\n{fence}{info}\n{code}\n{fence}\nDone with\nit."
        lines = [f"{fence}{info}".strip(), *code.split("\n"), fence.strip()]
        assert sentences(text) == ["Call it so, and\nmind this:", *lines, "Done with\nit."]


def test_a_fence_that_nothing_closes_begins_no_code():
    wrapped = "This line is long enough to have been wrapped by\nan editor, and ends here."
    assert sentences(f"```\n{wrapped}") == ["```", wrapped]
    # Nor does a shorter one close it.
    assert sentences(f"````\n{wrapped}\n```\n{wrapped}")[1] == wrapped


def test_a_text_that_begins_inside_of_a_block_of_code_is_no_code_behind_it():
    prose = ["This is said here.", "And that.", "It goes on for long enough to have been\nwrapped."]
    text = f"x = f(y)\n```\n{' '.join(prose)}\n```python\ny = g(x)\nz = 1. if y else 2\n```\nDone."
    assert sentences(text)[2:5] == prose
    assert sentences(text)[-4:-1] == ["y = g(x)", "z = 1. if y else 2", "```"]


def test_a_text_without_punctuation_is_cut_between_words():
    text = "kite " * 1000
    found = sentences(text)
    assert all(set(part.split()) == {"kite"} and len(part) <= LONGEST for part in found)
    assert sum(len(part.split()) for part in found) == 1000
    assert len(found) < 12


def test_a_long_text_without_blanks_is_cut():
    assert "".join(sentences("鳶" * 5000)) == "鳶" * 5000


def test_line_ends_of_every_system():
    for end in ("\n", "\r\n", "\r"):
        text = f"One thing is said here and goes on for a while, so that{end}the line is wrapped. Two.{end}{end}Three"
        assert len(sentences(text)) == 3


def test_short_lines_are_sentences_whatever_ends_them():
    lines = [f"{name}: of the kite" for name in ("Nest", "Food", "Size", "Flight", "Colour")]
    for end in ("\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028"):
        assert sentences(end.join(lines)) == lines


def test_sentences_of_wikipedia(shared_data):
    """Against the sentences that HotpotQA was published with, which another tool made."""
    found = known = more = 0
    for question in json.loads((shared_data / "hotpotqa" / "hotpot_train100.json").read_text()):
        for _, parts in question["context"]:
            text = "".join(parts)
            ends = {len("".join(parts[: count + 1]).rstrip()) for count in range(len(parts))} - {0}
            own = {end for _, end in split_sentences(text)}
            found, known, more = found + len(ends & own), known + len(ends), more + len(own - ends)
    assert found / known > 0.985
    assert more / known < 0.01


@pytest.mark.parametrize("stop", [".", "!?", "…"])
def test_a_long_run_of_stops_takes_no_longer_than_other_text(stop):
    """A time that grew with its square would let this test run for an hour."""
    run = stop * 400_000
    ends = [end for _, end in split_sentences(f"One. {run}x Two! Three")]
    assert ends[0] == 4 and ends[-2:] == [len(run) + 11, len(run) + 17]


@pytest.mark.parametrize("mark", ["~", "`"])
def test_a_long_fence_takes_no_longer_than_other_text(mark):
    """A time that grew with its square would let this test run for minutes."""
    other = "~`".replace(mark, "")
    assert "".join(sentences(mark * 400_000 + other)) == mark * 400_000 + other


def test_short_lines_of_a_script_without_capitals_are_sentences():
    assert sentences("ბუდე\nსაკვები\nფრენა") == ["ბუდე", "საკვები", "ფრენა"]


def test_another_splitter_is_checked_and_stripped():
    assert checked_spans(lambda text: [(0, 3), (3, 4), (4, 9)], "ab   cd  ") == [(0, 2), (5, 7)]
    assert checked_spans(lambda text: iter(()), "ab") == []


@pytest.mark.parametrize(
    "spans",
    [
        [(0.9, 2.9)],
        [(0, 9)],
        [(-1, 2)],
        [(2, 1)],
        [(0, 3), (2, 4)],
        [(3, 4), (0, 2)],
        [3],
        ["ab", "cd"],
        7,
        [(None, 1)],
        [(1, 2, 3)],
    ],
)
def test_wrong_splitters_are_refused(spans):
    with pytest.raises(ConfigError, match=r"^sentences "):
        checked_spans(lambda text: spans, "abcd")


def test_what_goes_wrong_in_a_splitter_is_not_taken_for_what_it_gave():
    def refuse(text):
        raise ValueError("too long for me")

    def refuse_later(text):
        yield 0, 1
        raise TypeError("not that")

    with pytest.raises(ValueError, match="too long for me"):
        checked_spans(refuse, "abcd")
    with pytest.raises(TypeError, match="not that"):
        checked_spans(refuse_later, "abcd")
