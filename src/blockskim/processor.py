"""Which processor this is, and which of the instructions it has that decide how fast a model is."""

import platform
from pathlib import Path

INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""Those that decide how fast a matrix product is."""


def processor(root: Path = Path("/")) -> tuple[str, list[str]]:
    """Name of the processor, and which of ``INSTRUCTIONS`` it has, as far as the system tells.

    Args:
        root: folder that holds ``proc``.
    """
    name, flags = platform.processor() or platform.machine(), ""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    # Not Linux, or /proc is hidden.
    except OSError:
        lines = []
    for line in lines:
        key, _, value = (text.strip() for text in line.partition(":"))
        if key == "model name":
            name = value
        elif key in ("flags", "Features"):
            flags = value
    present = flags.split()
    return name, [instruction for instruction in INSTRUCTIONS if instruction in present]
