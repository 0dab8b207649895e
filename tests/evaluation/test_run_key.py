"""The key by which the files of a killed run are recognised."""

from dataclasses import replace

import torch

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.evaluation import run_key as keys_of_runs
from blockskim.evaluation.run_key import run_key
from blockskim.method.confidence import ConfidenceModel
from tiny_answerers import new_model
from tiny_tokenizers import fixed_tokenizer


def test_times_are_of_a_machine_and_its_threads(monkeypatch):
    model = new_model()
    example = Example("a", "when ?", "the kite eat a worm in 2024", (), ("2024",))
    windows = make_windows([example], fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10))

    def keys():
        return run_key(model, windows, 8, 30), run_key(model, windows, 8, 30, timed=True)

    threads = torch.get_num_threads()
    plain, timed = keys()
    assert keys() == (plain, timed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    assert keys()[0] == plain
    assert keys()[1] != timed
    monkeypatch.undo()
    monkeypatch.setattr(keys_of_runs, "processor", lambda: ("another", []))
    assert keys()[0] == plain
    assert keys()[1] != timed


def test_the_key_depends_on_what_runs_and_not_on_thresholds():
    model, other = new_model(), new_model(thresholds=0.9, points={"fast": 0.5})
    example = Example("a", "when ?", "the kite eat a worm in 2024", (), ("2024",))
    windows = make_windows([example], fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10))
    assert run_key(model, windows, 8, 30) == run_key(other, windows, 8, 30)
    assert run_key(model, windows, 8, 30) != run_key(model, windows, 16, 30)
    assert run_key(model, windows, 8, 30) != run_key(model, windows, 8, 31)
    both = [replace(example, source="a.json"), replace(example, source="b.json")]
    found = [
        run_key(model, make_windows(asked, fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10)), 8, 30)
        # However paths are written; scores are by file.
        for asked in (both, [replace(one, source=f"./{one.source}") for one in both], [both[0], both[0]])
    ]
    assert found[0] == found[1] != found[2]
    changed = make_windows(
        [replace(example, references=("other",))], fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10)
    )
    assert run_key(model, windows, 8, 30) != run_key(model, changed, 8, 30)
    other.confidence = ConfidenceModel((0.0,) * 4, (0.0,) * 4)
    assert run_key(model, windows, 8, 30) != run_key(other, windows, 8, 30)
    other.confidence = None
    assert run_key(model, windows, 8, 30) == run_key(other, windows, 8, 30)
    other.qa_outputs.bias.data += 1
    assert run_key(model, windows, 8, 30) != run_key(other, windows, 8, 30)
