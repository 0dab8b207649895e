"""The engine of ``examples/browser`` in Node, with tiny models and however it reads: Python's answers and blocks."""

import itertools
from pathlib import Path

import pytest

from blockskim import QuestionAnswerer
from javascript import ANSWER_ALL, Node, assert_same, assert_same_reading
from tiny_answerers import TEXT, new_model, save_plain
from tiny_tokenizers import fixed_tokenizer

pytestmark = pytest.mark.slow

# What the page calls it, and what Python does.
LENGTHS = {
    "maxLength": "max_seq_len",
    "stride": "doc_stride",
    "maxQuestion": "max_question_len",
    "maxAnswer": "max_answer_len",
}
READINGS = ((384, 128, 64, 15), (40, 128, 5, 30), (23, 2, 64, 1))

# For models of three layers, two of which have a predictor.
THRESHOLDS = (None, 0, 0.5, 1, [0.3, 0.7], [0.0, 0.6], [1.0, 0.0])

# A question of special tokens alone, and texts of which no token is left.
QUESTIONS = ("Where does the red kite nest?", "Who?", "[SEP]", "\u200b")
TEXTS = ("kite", "\u200b", TEXT, 2 * TEXT)


@pytest.fixture(scope="module", params=["context", "sequence", "plain"])
def tiny_export(request: pytest.FixtureRequest, node_with_onnx: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, exported: with blocks cut either way, and without predictors."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    from blockskim.exporting.export import export

    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "plain":
        return export(save_plain(folder / "checkpoint"), folder / "exported").directory
    tokenizer = fixed_tokenizer("wordpiece")
    return export(new_model(alignment=request.param), folder / "exported", tokenizer).directory


def test_it_answers_as_python_does(node_with_onnx: Node, tiny_export: Path) -> None:
    answerer = QuestionAnswerer(tiny_export, backend="onnx", threads=1)
    thresholds = THRESHOLDS if answerer.model.has_trained_predictors else (None, 0)
    cases = list(itertools.product(QUESTIONS, TEXTS, READINGS, thresholds))
    asked = [
        (question, text, dict(zip(LENGTHS, lengths, strict=True)) | ({} if each is None else {"thresholds": each}))
        for question, text, lengths, each in cases
    ]
    found = node_with_onnx.run(ANSWER_ALL, {"model": str(tiny_export), "asked": asked})
    for (question, text, lengths, threshold), each in zip(cases, found, strict=True):
        reading = dict(zip(LENGTHS.values(), lengths, strict=True))
        wanted = answerer(question, text, threshold=threshold, return_trace=True, **reading)
        assert_same(each, wanted, text)
        assert_same_reading(each, wanted["trace"], text)


@pytest.mark.parametrize(
    ("question", "text", "options", "told"),
    [
        ("Who?", " \n", {}, "a question and a text"),
        ("", "kite", {}, "a question and a text"),
        ("Who?", "kite \ud83e", {}, "surrogate"),
        ("Who?", "kite", {"thresholds": [0.5]}, "1 thresholds for 2 layers"),
        ("Who?", "kite", {"maxLength": 4}, "no room"),
    ],
)
@pytest.mark.parametrize("tiny_export", ["context"], indirect=True)
def test_what_is_impossible_is_refused(
    node_with_onnx: Node, tiny_export: Path, question: str, text: str, options: dict, told: str
) -> None:
    given = {"model": str(tiny_export), "asked": [(question, text, options)]}
    found = node_with_onnx.run(f"try {{ {ANSWER_ALL} }} catch (error) {{ print(error.message); }}", given)
    assert told in found
