"""Options that several commands share."""

import pytest

from blockskim.cli import options


@pytest.mark.parametrize(
    ("given", "quota", "expected"),
    [(None, None, None), (None, 2, 2), (3, None, 3), (3, 2, 3)],
)
def test_threads_that_nobody_asked_for_are_those_of_the_container(monkeypatch, given, quota, expected):
    monkeypatch.setattr(options, "cores_in_quota", lambda: quota)
    assert options.threads_or_quota(given) == expected


def test_commands_take_the_threads_of_the_container(monkeypatch, call, model, document):
    taken = []
    monkeypatch.setattr(options, "cores_in_quota", lambda: 1)
    monkeypatch.setattr("blockskim.inference.loading.set_threads", taken.append)
    for more, expected in (((), 1), (("--threads", 2), 2)):
        assert call("answer", "-q", "Who?", "-f", document, "--model", model, "--backend", "torch", *more)[0] == 0
        assert taken.pop() == expected
