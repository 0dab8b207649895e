"""Loading a component's model once, in a component of our own: no framework is needed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from blockskim.integrations import first_use
from blockskim.integrations.first_use import loaded


class Reader:
    """A component that has loaded nothing."""

    def __init__(self):
        self._loaded = None


def test_of_many_threads_one_loads_the_model(monkeypatch):
    made = []

    def make(model, **settings):
        time.sleep(0.05)
        made.append((model, settings))
        return object()

    monkeypatch.setattr(first_use, "QuestionAnswerer", make)
    reader, together = Reader(), threading.Barrier(6)

    def use(_):
        together.wait()
        return loaded(reader, "a-model", backend="onnx")

    with ThreadPoolExecutor(6) as threads:
        found = set(threads.map(use, range(6)))
    assert made == [("a-model", {"backend": "onnx"})]
    assert found == {reader._loaded[1]}


def test_other_settings_load_another_model_and_the_same_none(monkeypatch):
    made = []
    monkeypatch.setattr(first_use, "QuestionAnswerer", lambda model, **settings: made.append((model, settings)) or made)
    reader = Reader()
    for point in ("fast", "fast", None, "fast"):
        loaded(reader, "a-model", point=point)
    loaded(reader, "another", point="fast")
    points = [("a-model", {"point": "fast"}), ("a-model", {"point": None}), ("a-model", {"point": "fast"})]
    assert made == [*points, ("another", {"point": "fast"})]


def test_what_can_not_be_loaded_is_tried_again(monkeypatch):
    tries = iter([RuntimeError("not there"), "answerer"])

    def make(model):
        if isinstance(found := next(tries), Exception):
            raise found
        return found

    monkeypatch.setattr(first_use, "QuestionAnswerer", make)
    reader = Reader()
    with pytest.raises(RuntimeError):
        loaded(reader, None)
    assert loaded(reader, None) == "answerer"
