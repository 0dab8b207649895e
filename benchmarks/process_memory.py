"""Memory of a process and of everything that it started."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and its children, whichever thread started them; 0 once it is gone.

    Linux adds up late what each of its CPUs counted: on a machine of many, some MB may be missing.
    """
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(tree_memory, _children(pid)))


def _children(pid: int) -> Iterator[int]:
    # A thread, or the process, may end while it is looked at.
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                yield from map(int, (thread / "children").read_text(encoding="ascii").split())
