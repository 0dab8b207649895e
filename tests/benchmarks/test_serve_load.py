"""``benchmarks/serve_load.py``: wrong input is told in a line; rounds are put together."""

import pytest


@pytest.fixture
def load(script):
    return script("serve_load")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seconds", "0"], "--seconds is 0"),
        (["--limit", "0"], "--limit is 0"),
        (["--at-once", "-3"], "--at-once is -3"),
    ],
)
def test_impossible_numbers_are_told_in_a_line(load, tmp_path, monkeypatch, capsys, options, told):
    monkeypatch.setattr("sys.argv", ["serve_load.py", "--data", str(tmp_path / "data.json"), *options])
    assert load.main() == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and told in said.err and said.err.count("\n") == 1 and not said.out


def test_data_that_are_none_are_told_in_a_line(load, tmp_path, monkeypatch, capsys):
    file = tmp_path / "data.json"
    file.write_bytes(b"\x89PNG")
    monkeypatch.setattr("sys.argv", ["serve_load.py", "--data", str(file)])
    assert load.main() == 1
    assert capsys.readouterr().err.startswith(f"error: {file}")


def test_calls_are_added_up(script):
    calls = script("loopback").Calls
    both = calls([0.1], {200: 1})
    both.add(calls([0.3, 0.2], {200: 2, 429: 1}))
    assert both.seconds == [0.1, 0.3, 0.2] and both.statuses == {200: 3, 429: 1}
