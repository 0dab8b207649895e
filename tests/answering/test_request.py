"""What a call takes: texts, numbers, switches, thresholds and points, in the forms that NumPy and torch have, too."""

import numpy as np
import pytest
import torch

from blockskim import QuestionAnswerer
from blockskim.errors import ConfigError
from tiny_answerers import TEXT, answerer

QUESTION = "Where is the nest?"


@pytest.mark.parametrize("form", [tuple, np.array, lambda texts: np.array(texts, dtype=object), iter])
def test_texts_are_taken_in_any_form(form):
    qa, questions, contexts = answerer(), ["Who?", "Where?"], [TEXT, "In Wales."]
    assert qa(form(questions), form(contexts)) == qa(questions, contexts)
    assert qa(form(questions), TEXT) == qa(questions, TEXT)
    assert qa("Who?", form(contexts)) == qa("Who?", contexts)
    searched = [result.answers for result in qa.search(form(questions), {"": TEXT})]
    assert searched == [result.answers for result in qa.search(questions, {"": TEXT})]


def test_one_text_of_numpy_gives_one_answer():
    qa = answerer()
    for question, context in ((np.str_("Who?"), np.array(TEXT)), (np.array("Who?"), np.str_(TEXT))):
        found = qa(question, context, return_trace=True)
        assert found["trace"].question == "Who?"
        assert type(found["answer"]) is type(found["trace"].context) is str
        found.pop("trace")
        assert found == qa("Who?", TEXT)


NUMBERS = {
    "top_k": 3,
    "batch_size": 2,
    "max_seq_len": 60,
    "doc_stride": 8,
    "max_question_len": 4,
    "max_answer_len": 5,
}


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16])
def test_numbers_of_numpy_are_numbers(kind):
    qa, wanted = answerer(), answerer()(QUESTION, TEXT, **NUMBERS)
    assert qa(QUESTION, TEXT, **{name: kind(value) for name, value in NUMBERS.items()}) == wanted
    assert QuestionAnswerer(qa.model, qa.tokenizer, batch_size=kind(2)).batch_size == 2
    switches = {"align_to_words": np.False_, "handle_impossible_answer": np.True_, "dense": np.True_}
    assert qa(QUESTION, TEXT, **switches) == qa(QUESTION, TEXT, **{name: bool(on) for name, on in switches.items()})


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(1), 1.0),
        (np.array(0.5), 0.5),
        (torch.tensor(0.5), 0.5),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (np.array([0.5, 0.25]), [0.5, 0.25]),
        (np.array([0.5, 0.25], dtype=np.float16), [0.5, 0.25]),
        (torch.tensor([0.5, 0.25], requires_grad=True), [0.5, 0.25]),
        ([np.float32(0.5), torch.tensor(0.25)], [0.5, 0.25]),
        ((0.5, 0.25), [0.5, 0.25]),
    ],
    ids=repr,
)
def test_thresholds_of_numpy_and_torch_are_thresholds(given, same):
    qa = answerer()
    for ask in (
        lambda value: qa(QUESTION, TEXT, threshold=value, return_trace=True)["trace"],
        lambda value: qa.search(QUESTION, {"": TEXT}, threshold=value).traces[0],
    ):
        found, wanted = ask(given), ask(same)
        assert (found.windows, found.spans) == (wanted.windows, wanted.spans)


@pytest.mark.parametrize("name", ["top_k", "batch_size", "max_seq_len", "max_question_len", "max_answer_len"])
@pytest.mark.parametrize("value", [0, -1, 1.0, "2", True, np.True_, np.float64(2.0), b"2", [2]])
def test_numbers_that_are_none_are_refused_by_name(name, value):
    with pytest.raises(ConfigError) as error:
        answerer()(QUESTION, TEXT, **{name: value})
    assert str(error.value) == f"{name} is {value!r}; it must be a whole number of at least 1"


@pytest.mark.parametrize("name", ["max_answer_len", "top_k", "batch_size", "max_question_len", "doc_stride"])
def test_no_number_is_too_large(name):
    qa = answerer()
    found, wanted = (qa(QUESTION, "The kite.", **{"top_k": 50, name: value}) for value in (10**30, 10**3))
    assert found == wanted


@pytest.mark.parametrize("name", ["dense", "align_to_words", "handle_impossible_answer", "return_trace"])
@pytest.mark.parametrize("value", ["no", 0, None, [], 1.0])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(ConfigError, match=rf"^{name} is .*; it must be True or False$"):
        answerer()(QUESTION, TEXT, **{name: value})


@pytest.mark.parametrize(
    "value", [b"\x00\x01", bytearray(2), "0.5", object(), {0.1, 0.2}, {0: 0.1}, True, [True, False], float("nan")]
)
def test_thresholds_that_are_none_are_refused(value):
    qa = answerer()
    for ask in (
        lambda: qa(QUESTION, TEXT, threshold=value),
        lambda: qa.search(QUESTION, {"": TEXT}, threshold=value),
        lambda: qa.model.thresholds_by_layer(value),
    ):
        with pytest.raises(ConfigError, match=r"^threshold is .*; it must be a number"):
            ask()


@pytest.mark.parametrize("value", [["fast"], 5, b"fast", {"fast": 1}, object()])
def test_points_are_names(value):
    qa = answerer()
    for ask in (
        lambda: qa(QUESTION, TEXT, point=value),
        lambda: qa.search(QUESTION, {"": TEXT}, point=value),
        lambda: QuestionAnswerer(qa.model, qa.tokenizer, point=value),
    ):
        with pytest.raises(ConfigError, match=r"^point is .*; it must be the name of an operating point$"):
            ask()
