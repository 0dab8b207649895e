"""The dense run that calibration starts from."""

from dataclasses import replace

from blockskim.calibration.record import record
from blockskim.data.windows import make_windows
from blockskim.method.confidence import ConfidenceModel
from tiny_answerers import new_model
from tiny_tokenizers import fixed_tokenizer

VERSION_2 = (("format", "squad"), ("version", "2.0"))


def test_declined_answers_of_a_file_that_has_all_of_them_are_told_of(windows, caplog):
    def told(examples, threshold):
        caplog.clear()
        model = new_model()
        model.confidence = ConfidenceModel((0.0,) * 4, (0.0,) * 4, threshold)
        record(model, make_windows(examples, fixed_tokenizer("wordpiece"), windows.settings), 8, 30)
        return [one.getMessage() for one in caplog.records]

    asked = [replace(one, metadata=VERSION_2, source="a.json") for one in windows.examples[:4]]
    none = replace(asked[0], id="none", answers=(), references=())
    [line] = told(asked, 0.1)
    assert "a.json: all questions have an answer, but by the rules of SQuAD 2.0 the dense model declines 4 of 4" in line
    assert told(asked, 0.9) == []
    assert told([*asked, none], 0.1) == []
    assert told(windows.examples[:4], 0.1) == []
    # Each file by itself.
    assert len(told([*asked, replace(none, source="b.json")], 0.1)) == 1
