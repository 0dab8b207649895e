"""What "auto" becomes, with nothing loaded and no PyTorch asked where nothing is left to it."""

import sys
from types import SimpleNamespace

import pytest

from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ConfigError
from blockskim.inference.shipped import shipped_model
from blockskim.scaling import resolved_choice
from blockskim.scaling.resolved_choice import resolve_choice


@pytest.fixture
def machine(monkeypatch):
    """Have a machine where PyTorch takes a device and a number format for "auto"; without a device it is missing."""

    def make(device):
        monkeypatch.setattr(resolved_choice, "has", lambda package: device is not None)
        devices = SimpleNamespace(
            choose_device=lambda name: SimpleNamespace(type=device if name == "auto" else name),
            choose_dtype=lambda name, place: f"torch.{f'{place.type}16' if name == 'auto' else name}",
        )
        monkeypatch.setitem(sys.modules, "blockskim.inference.devices", devices if device else None)

    return make


def resolved(model, on_cluster=False, **settings):
    found = resolve_choice(ModelChoice(**settings), model, on_cluster)
    return found.backend, found.device, found.dtype


@pytest.mark.parametrize("on_cluster", [False, True])
def test_an_exported_model_runs_in_onnx(machine, on_cluster):
    machine(None)
    pytest.importorskip("onnxruntime")
    model = shipped_model()
    assert resolved(model, on_cluster, device="cpu") == ("onnx", "cpu", "float32")
    assert resolved(model, on_cluster, backend="onnx") == ("onnx", "cpu", "float32")
    assert resolved(model, on_cluster, dtype="int8") == ("onnx", "cpu", "int8")
    # What was chosen is chosen again.
    assert resolved(model, on_cluster, backend="onnx", device="cpu", dtype="float32") == ("onnx", "cpu", "float32")


def test_pytorch_chooses_device_and_number_format(machine, tmp_path):
    for device in ("cpu", "cuda"):
        machine(device)
        assert resolved(tmp_path) == ("torch", device, f"{device}16")
        assert resolved(tmp_path, dtype="float32") == ("torch", device, "float32")
    assert resolved(tmp_path, device="cpu") == ("torch", "cpu", "cpu16")


def test_nothing_is_asked_where_all_is_given_or_pytorch_is_missing(machine, tmp_path):
    machine(None)
    assert resolved(tmp_path, device="cuda", dtype="float16") == ("torch", "cuda", "float16")
    assert resolved(tmp_path) == ("torch", "cpu", "float32")


def test_actors_have_a_graphics_card_only_if_one_is_asked_for(machine, tmp_path):
    machine("cuda")
    assert resolved(tmp_path, on_cluster=True) == ("torch", "cpu", "cpu16")
    assert resolved(tmp_path, on_cluster=True, device="cuda") == ("torch", "cuda", "cuda16")
    for device in ("cpu", None):
        machine(device)
        with pytest.raises(ConfigError, match="no graphics card is here to tell which number format cuda takes"):
            resolved(tmp_path, on_cluster=True, device="cuda")
        assert resolved(tmp_path, on_cluster=True, device="cuda", dtype="bfloat16") == ("torch", "cuda", "bfloat16")
