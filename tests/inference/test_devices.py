"""Where a model computes, in which format and in how many threads."""

import pytest
import torch

from blockskim.checks import MOST_THREADS
from blockskim.errors import ConfigError
from blockskim.inference import devices
from blockskim.inference.devices import choose_device, choose_dtype, set_threads


@pytest.mark.parametrize("name", [None, 0, -1, True, b"cpu", ["cpu"], "", "gpu", "cpu:x", "mps", "meta", "CPU"])
def test_other_devices_are_refused(name):
    with pytest.raises(ConfigError, match=r"^device is .*; it must be auto, cpu or cuda$"):
        choose_device(name)


def test_devices():
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")


def test_there_are_no_more_devices_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda").type == "cuda"
    assert choose_device("cuda:1").index == 1
    with pytest.raises(ConfigError, match="device is 'cuda:2', but PyTorch finds 2 CUDA devices here, from cuda:0 on"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", [None, 16, "half", torch.float32, ""])
def test_other_formats_are_refused(name):
    with pytest.raises(ConfigError, match=r"^dtype is .*; it must be one of auto, float32, bfloat16, float16$"):
        choose_dtype(name, torch.device("cpu"))


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, MOST_THREADS + 1, 10**22])
def test_impossible_numbers_of_threads_are_refused(count):
    with pytest.raises(ConfigError, match=r"^threads is .*; it must be "):
        set_threads(count)


@pytest.mark.parametrize(
    ("quota", "now", "expected"),
    [(None, 8, []), (2, 8, [2]), (8, 8, []), (8, 1, [])],
    ids=["no limit", "fewer than there are", "as many as there are", "OMP_NUM_THREADS says fewer"],
)
def test_threads_are_no_more_than_a_container_has_time_for(monkeypatch, quota, now, expected):
    found = []
    monkeypatch.setattr(devices, "cores_in_quota", lambda: quota)
    monkeypatch.setattr(devices.torch, "get_num_threads", lambda: now)
    monkeypatch.setattr(devices.torch, "set_num_threads", found.append)
    set_threads(None)
    assert found == expected
    set_threads(16)
    assert found[-1] == 16


def test_threads_are_set_or_left_alone(monkeypatch):
    found = []
    monkeypatch.setattr(devices, "cores_in_quota", lambda: None)
    monkeypatch.setattr(devices.torch, "set_num_threads", found.append)
    for count in (None, 3, MOST_THREADS):
        set_threads(count)
    assert found == [3, MOST_THREADS]
