"""How many cores a process may use, with control groups as Docker and Kubernetes make them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim import cores
from blockskim.cores import available_cores, quota_cores


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A folder with the files of ``proc`` and ``sys`` that tell of control groups."""
    for name, content in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


FIRST = "sys/fs/cgroup/cpu,cpuacct"
SECOND = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {f"{SECOND}/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {f"{SECOND}/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {f"{SECOND}/cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {f"{SECOND}/cpu.max": "max 100000\n"}, None),
        # The tightest of all groups above counts.
        (
            "0::/pods/web\n",
            {f"{SECOND}/pods/cpu.max": "300000 100000\n", f"{SECOND}/pods/web/cpu.max": "max 100000\n"},
            3,
        ),
        (
            "0::/pods/web\n",
            {f"{SECOND}/pods/cpu.max": "300000 100000\n", f"{SECOND}/pods/web/cpu.max": "50000 100000\n"},
            1,
        ),
        # The group's name is that on the host, which a container doesn't see.
        ("0::/docker/0a1b\n", {f"{SECOND}/cpu.max": "400000 100000\n"}, 4),
        (
            "4:memory:/\n3:cpu,cpuacct:/docker/0a1b\n",
            {f"{FIRST}/cpu.cfs_quota_us": "250000\n", f"{FIRST}/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "3:cpu,cpuacct:/\n",
            {f"{FIRST}/cpu.cfs_quota_us": "-1\n", f"{FIRST}/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        (
            "3:cpuacct,cpu:/\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        # Another controller's folder says nothing of processor time.
        ("2:cpuacct:/\n", {"sys/fs/cgroup/cpuacct/cpu.cfs_quota_us": "100000\n"}, None),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, groups: str, files: dict[str, str], expected: int | None):
    assert quota_cores(machine(tmp_path, groups, files)) == expected


@given(st.sampled_from([b"0::/\n", b"1:cpu:/\n"]) | st.binary(max_size=40), st.binary(max_size=40))
def test_files_of_any_content_raise_nothing(tmp_path_factory: pytest.TempPathFactory, groups: bytes, limit: bytes):
    root = machine(tmp_path_factory.mktemp("machine"), "", {f"{SECOND}/cpu.max": "", f"{SECOND}/cpu/cpu.max": ""})
    (root / "proc/self/cgroup").write_bytes(groups)
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        (root / SECOND / name).write_bytes(limit)
    assert (quota_cores(root) or 1) >= 1


def test_no_control_groups_are_no_limit(tmp_path: Path):
    assert quota_cores(tmp_path) is None


def test_no_more_cores_than_the_limit_and_than_there_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    for quota, expected in ((None, 4), (1, 1), (4, 4), (64, 4)):
        monkeypatch.setattr(cores, "quota_cores", lambda quota=quota: quota)
        assert available_cores() == expected


def test_cores_where_the_system_tells_no_affinity(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores, "quota_cores", lambda: None)
    for count, expected in ((8, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert available_cores() == expected
