"""How many processor cores this process may use: those it is bound to, within what a container's limit allows."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def available_cores() -> int:
    """Cores that this process may use, as far as the system tells."""
    return cores_in_quota() or _affinity()


def cores_in_quota() -> int | None:
    """Cores that this process may use where its processor time is limited to less than the cores it sees, else None."""
    quota = quota_cores()
    return quota if quota is not None and quota < _affinity() else None


def quota_cores(root: Path = _ROOT) -> int | None:
    """Cores whose whole time is as much as the control groups of this process allow, rounded up; None without a limit.

    Containers are limited so (``docker run --cpus``, limits of Kubernetes). A process of a limited container sees all
    cores of the machine, and if it uses more threads than its time is for, it is stopped for a part of every period.

    Args:
        root: folder that holds ``proc`` and ``sys``.
    """
    shares = [share for share in _shares(root) if share > 0]
    return max(1, math.ceil(min(shares))) if shares else None


def _affinity() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _shares(root: Path) -> Iterator[float]:
    """Seconds of processor time per second that each control group above this process allows."""
    try:
        groups = (root / "proc/self/cgroup").read_text(errors="surrogateescape").splitlines()
    # Not Linux, or /proc is hidden.
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in groups:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        # A container may see the name of its group on the host, but files of its own group only: where names lead
        # nowhere, the files at the top are its own.
        names = PurePosixPath(group.lstrip("/"))
        for name in (names, *names.parents):
            if not controllers:
                yield from _share(_numbers(mounts / name / "cpu.max"))
            elif "cpu" in controllers.split(","):
                # Mounted under the names of its controllers, in an order of its own, with a link of its own name.
                for mount in (controllers, "cpu"):
                    folder = mounts / mount / name
                    yield from _share(_numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us"))


def _share(numbers: list[int]) -> Iterator[float]:
    if len(numbers) == 2 and numbers[1] > 0:
        quota, period = numbers
        yield quota / period


def _numbers(path: Path) -> list[int]:
    """Whole numbers of a file; no limit is "max" in the second version of control groups, and -1 in the first."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []
