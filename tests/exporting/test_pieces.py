"""Parts of a model are traced alike whatever the process has set, and leave its settings as they are."""

import contextlib

import pytest
import torch

from blockskim.exporting.pieces import PieceExporter
from tiny_models import skim_model

PARTS = {
    "attend": lambda exporter: exporter.attend(1, True),
    "finish": lambda exporter: exporter.finish(1),
    "score": lambda exporter: exporter.score(1),
    "head": lambda exporter: exporter.head(),
}
every_part = pytest.mark.parametrize(
    "part", [pytest.param(name, marks=() if name == "finish" else pytest.mark.slow) for name in PARTS]
)

for package in ("onnx", "onnxscript"):
    pytest.importorskip(package)


@contextlib.contextmanager
def default_format(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def graph_of(part):
    exporter = PieceExporter(skim_model("bert", ("question", "match"), "context"))
    return PARTS[part](exporter).graph.SerializeToString(deterministic=True)


@every_part
def test_what_the_process_has_set_changes_no_graph_and_random_numbers_stay(part):
    expected = graph_of(part)
    before = torch.get_rng_state()
    with default_format(torch.bfloat16), torch.autocast("cpu", torch.float16), torch.inference_mode():
        assert graph_of(part) == expected
    assert torch.equal(torch.get_rng_state(), before)
