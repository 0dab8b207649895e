"""Where the graph looks for the question: it moves when blocks before it are dropped."""

import pytest

from blockskim import QuestionAnswerer

TEXT = (
    "The ferry to Holm leaves Norvik harbour at a quarter past seven every morning except Sunday. In winter the crew "
    "tows passengers across the ice on a sledge that the harbour master, Ingrid Solberg, had built in 1961."
)


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_a_question_of_special_tokens_alone_is_read_at_both_ends_of_the_window(threshold: float) -> None:
    pytest.importorskip("torch")
    # Then all tokens outside of the context stand for the question, those behind it too.
    found = QuestionAnswerer(backend="onnx", threads=1)("[SEP]", TEXT, threshold=threshold, return_trace=True)
    wanted = QuestionAnswerer(backend="torch", dtype="float32", device="cpu")(
        "[SEP]", TEXT, threshold=threshold, return_trace=True
    )
    trace, reference = found.pop("trace"), wanted.pop("trace")
    assert trace.kept_by_layer == reference.kept_by_layer
    assert trace.kept_by_layer[-1] < 1
    probabilities = {name: pytest.approx(wanted[name], rel=1e-3) for name in ("score", "confidence")}
    assert found == {**wanted, **probabilities}
