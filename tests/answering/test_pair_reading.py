"""Reading apart from running: whoever runs the windows, and in whatever batches, the answers are those of a call."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.answering.ranking import answers_in_text
from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.errors import ConfigError, DataError
from blockskim.inference.runner import batches, run_windows
from served import QUESTION, TEXT, plain_answerer

QA = plain_answerer()


def read(reading, size):
    """Run all windows in batches of some size, and take each phase at once."""
    for phase in reading.phases():
        selected = batches(phase.windows, max(size, phase.least_batch), phase.among)
        running = run_windows(QA.model, phase.windows, thresholds=reading.thresholds, selected=selected)
        reading.take(list(running), phase)
    return reading.answers()


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.integers(1, 9),
    st.sampled_from([{}, {"dense": True}, {"threshold": 0.8}, {"max_cost": 0.3}, {"handle_impossible_answer": True}]),
)
def test_any_batches_give_the_answers_and_traces_of_a_call(repeats, size, more):
    texts = [TEXT * count for count in repeats]
    options = AnswerOptions(top_k=2, **more)
    reading = QA.start([TextPair(QUESTION, text) for text in texts], options, trace=True)
    answers = read(reading, size)
    found = [answers_in_text(each, text, options) for each, text in zip(answers, texts, strict=True)]
    expected = QA([QUESTION] * len(texts), texts, top_k=2, return_trace=True, **more)
    traces = reading.traces(seconds=1.0)
    assert sum(trace.seconds for trace in traces) == pytest.approx(1.0)
    for own, wanted, trace in zip(found, expected, traces, strict=True):
        assert own == [{name: value for name, value in answer.items() if name != "trace"} for answer in wanted]
        theirs = wanted[0]["trace"]
        assert [block.dropped_in for block in trace.text_blocks] == [block.dropped_in for block in theirs.text_blocks]


def test_what_is_wrong_is_found_before_anything_runs():
    with pytest.raises(DataError, match="the context is empty"):
        QA.start([TextPair(QUESTION, " ")], AnswerOptions())
    with pytest.raises(ConfigError, match="at most 60"):
        QA.start([TextPair(QUESTION, TEXT)], AnswerOptions(max_seq_len=100))
