"""The number format of a run is that of its recipe, whatever the environment says."""

import json

import pytest
import torch

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.training import precision
from blockskim.training import train as training
from blockskim.training.precision import choose_precision
from blockskim.training.resume import INPUTS_FILE
from training_runs import short_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "mixed"), [("float32", "no"), ("bfloat16", "bf16")])
def test_a_launcher_does_not_change_the_number_format(tmp_path, monkeypatch, name, mixed):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16" if name == "float32" else "no")
    arguments = training.training_arguments(tmp_path, short_recipe(precision=name), "cpu", False)
    assert (arguments.mixed_precision, arguments.bf16) == (mixed, name == "bfloat16")


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_what_the_machine_has_and_later_what_the_run_began_with(tmp_path, monkeypatch, has):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    here = "bfloat16" if has else "float32"
    assert choose_precision("auto", CPU) == choose_precision("auto", CPU, tmp_path) == here
    (tmp_path / INPUTS_FILE).write_text("{}")
    assert choose_precision("auto", CPU, tmp_path) == here
    for begun in ("float32", "bfloat16"):
        (tmp_path / INPUTS_FILE).write_text(json.dumps({"precision": begun}))
        assert choose_precision("auto", CPU, tmp_path) == begun
        assert choose_precision("float32", CPU, tmp_path) == "float32"


def test_what_can_not_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a CPU can't train in"):
        choose_precision("float16", CPU)
    for text, error in (('{"precision": [5]}', ConfigError), ("{", BlockSkimError)):
        (tmp_path / INPUTS_FILE).write_text(text)
        with pytest.raises(error, match=r"precision is|damaged"):
            choose_precision("auto", CPU, tmp_path)
