"""Node, to run what ``examples/browser`` is written in."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blockskim.answering.trace import AnswerTrace

SCORE = 1e-3
"""By how much probabilities may differ: runtimes add up in another order."""

PAGE = Path(__file__).parents[2] / "examples" / "browser"
LIBRARY = PAGE / "node_modules" / "onnxruntime-web"

# What every script of a test begins with.
_READY = """
import { readFileSync } from "node:fs";
import { answer, loadModel } from "./blockskim.js";
import { blockScores, chosenBlocks, readEmbeddings } from "./passages.js";
import { readTokenizer } from "./wordpiece.js";
import { alignToWords, trimBlanks } from "./words.js";
const given = JSON.parse(readFileSync(0, "utf8"));
const print = (value) => console.log(JSON.stringify(value));
"""

ANSWER_ALL = """
const ort = await import("onnxruntime-web");
const model = await loadModel(ort, (name) => readFileSync(`${given.model}/${name}`), given.graph);
const found = [];
for (const [question, text, options] of given.asked) found.push(await answer(model, question, text, options));
print(found);
"""
"""Answers each of ``asked``, a question with a text and options, with the exported ``model``."""


class Node:
    """Runs JavaScript."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *arguments: str, given: str = "", folder: Path = PAGE) -> str:
        """What Node prints when it is called in a folder."""
        done = subprocess.run(
            [self.path, *arguments],
            input=given,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=folder,
            check=False,
        )
        # Of an error in a library the whole line is shown, which may be all of the library.
        assert done.returncode == 0, "\n".join(line[:300] for line in done.stderr.splitlines())
        return done.stdout

    def run(self, script: str, given: Any) -> Any:
        """What a script prints that has the example's functions and ``given``."""
        return json.loads(self("--input-type=module", "--eval", _READY + script, given=json.dumps(given)))


def units(text: str) -> list[int]:
    """Place in UTF-16 units of each character of a text, and of its end."""
    places = [0]
    for character in text:
        places.append(places[-1] + (2 if ord(character) > 0xFFFF else 1))
    return places


def assert_same_reading(found: dict[str, Any], trace: AnswerTrace, text: str) -> None:
    """The same blocks of the same windows, each dropped in the same layer or not read."""
    place = units(text)
    assert found["windows"] == len(trace.windows)
    assert [(block["start"], block["end"], block["droppedIn"]) for block in found["blocks"]] == [
        (place[block.start], place[block.end], block.dropped_in) for block in trace.text_blocks
    ]
    assert found["kept"] == pytest.approx(trace.kept_by_layer[-1])


def assert_same(found: dict[str, Any], wanted: dict[str, Any], text: str) -> None:
    """The same answer at the same place, as likely."""
    place = units(text)
    assert (found["start"], found["end"]) == (place[wanted["start"]], place[wanted["end"]])
    assert found["answer"] == wanted["answer"]
    assert found["score"] == pytest.approx(wanted["score"], rel=SCORE)
