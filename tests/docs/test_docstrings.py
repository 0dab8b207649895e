"""Every public name has an example in its docstring, and it runs as it stands there."""

import doctest
import importlib.util
import logging
import os

import pytest
from reference_api import public_homes

import blockskim
from how_to_folder import MODELS, fill

FINDER = doctest.DocTestFinder(recurse=False)
SLOW = {"calibrate", "calibrate_points", "export", "train"}
"""Names whose examples take seconds."""


@pytest.fixture(autouse=True)
def as_found():
    """Leaves the environment and logging as they were."""
    environment = dict(os.environ)
    level = logging.getLogger("blockskim").level
    yield
    logging.getLogger("blockskim").setLevel(level)
    for name in set(os.environ) - set(environment):
        del os.environ[name]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in sorted(public_homes())]
)
def test_the_example_of_a_name_runs(name, tmp_path, monkeypatch):
    try:
        public = getattr(blockskim, name)
    except blockskim.BlockSkimError:
        pytest.skip("it needs PyTorch")
    (found,) = FINDER.find(public, name, globs={})
    assert found.examples, f"the docstring of {name} has no example"
    text = "".join(example.source for example in found.examples)
    if any(model in text for model in MODELS):
        needed = {"train": "accelerate", "export": "onnx"}.get(name, "torch")
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    fill(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    said = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=said.append)
    assert result.failed == 0, "".join(said)
    assert f"import {name}" in text or f", {name}" in text or f"blockskim.{name}" in text
