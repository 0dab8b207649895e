"""What an actor adds to a table, without Ray: ``test_ray.py`` runs whole datasets."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from blockskim.answering.model_choice import ModelChoice
from blockskim.scaling import ray_data
from bulk_runs import TEXT, hashing_answerer

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def actor(monkeypatch):
    monkeypatch.setattr(ray_data, "load_answerer", lambda *_: hashing_answerer())
    monkeypatch.setattr(ray_data, "set_tokenizer_threads", lambda _: None)
    options = {"max_seq_len": 60, "doc_stride": 10, "max_question_len": 20}
    task = ray_data.DatasetTask("answer", "Where is it?", "question", "context", options, ModelChoice())
    return ray_data.DatasetActor(task, SimpleNamespace(directory=nullcontext), 1)


def test_a_text_that_can_not_be_read_is_an_error_of_its_row(actor, caplog):
    content = [TEXT.encode(), b"\xff", "\u200b".encode(), TEXT.encode()]
    ends = [sum(map(len, content[:number])) for number in range(5)]
    offsets = pa.array(ends, pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 4, [None, offsets, pa.py_buffer(b"".join(content))])
    found = actor(pa.table({"context": column, "id": [1, 2, 3, 4]}))
    assert found["id"].to_pylist() == [1, 2, 3, 4]
    errors = found["error"].to_pylist()
    assert (errors[0], errors[3]) == (None, None)
    assert errors[1].startswith("'context' can't be read: 'utf-8' codec can't decode byte 0xff")
    assert errors[2] == "the text has no character that the model can read"
    assert [answer is None for answer in found["answer"].to_pylist()] == [False, True, True, False]
    assert caplog.messages == []
