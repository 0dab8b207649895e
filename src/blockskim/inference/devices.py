"""Where a model computes, in which number format and in how many threads."""

import torch

from blockskim.checks import check_threads
from blockskim.cores import cores_in_quota
from blockskim.errors import ConfigError

NAMES = ("auto", "float32", "bfloat16", "float16")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format for inference.

    ``"auto"`` takes bfloat16 where the processor multiplies it in hardware (AVX512-BF16 or AMX on a CPU, Ampere or
    later on a GPU), and float32 elsewhere.

    Raises:
        ConfigError: the name is unknown, or is float16 on a CPU.
    """
    if name not in NAMES:
        raise ConfigError(f"dtype is {name!r}; it must be one of {', '.join(NAMES)}")
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if name == "float16" and device.type == "cpu":
        raise ConfigError("float16 is for GPUs; on a CPU choose float32, bfloat16 or auto")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    # These two are private; without them float32 is the safe answer.
    checks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(bool(check()) for check in checks if check is not None)


def choose_device(name: str | torch.device) -> torch.device:
    """The device to compute on; ``"auto"`` takes a GPU where there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if not isinstance(name, str | torch.device):
        raise ConfigError(f"device is {name!r}; it must be auto, cpu or cuda")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}; it must be auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but PyTorch finds no CUDA device here; it must be cpu (--device cpu)")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device is {name!r}; it must be auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(f"device is {str(name)!r}, but PyTorch finds {count} CUDA devices here, from cuda:0 on")
    return device


def set_threads(threads: int | None) -> None:
    """Set the number of processor threads of this process.

    Args:
        threads: as many; None leaves the number as it is, unless the processor time of a container is for fewer.

    Raises:
        ConfigError: it is no whole number from 1 to ``checks.MOST_THREADS``.
    """
    if threads is None:
        # PyTorch starts a thread for each core that it sees.
        threads = cores_in_quota()
        if threads is None or threads >= torch.get_num_threads():
            return
    torch.set_num_threads(check_threads(threads))
