"""What "auto" stands for in a run: chosen once, so that all processes, machines and later runs compute alike."""

from dataclasses import replace
from pathlib import Path

from blockskim.answering.backend_choice import choose_exported
from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ConfigError
from blockskim.extras import has


def resolve_choice(choice: ModelChoice, model: Path, on_cluster: bool) -> ModelChoice:
    """The choice with the backend, device and number format that this machine takes for "auto".

    Args:
        choice: which model runs, and on what.
        model: directory of the model.
        on_cluster: whether actors on other machines compute. They have a graphics card only if the device is "cuda".

    Raises:
        ConfigError: the backend can't run what is asked for, there is no such device, or nothing here can tell the
            number format of the cluster's graphics cards.
        ModelError: the model was not exported, which the backend needs.
    """
    device = "cpu" if on_cluster and choice.device == "auto" else choice.device
    if choose_exported(replace(choice, name=model, device=device)) is not None:
        return replace(choice, backend="onnx", device="cpu", dtype="int8" if choice.dtype == "int8" else "float32")
    if "auto" in (device, choice.dtype):
        device, dtype = _chosen_by_torch(device, choice.dtype, on_cluster)
        return replace(choice, backend="torch", device=device, dtype=dtype)
    return replace(choice, backend="torch", device=device)


def _chosen_by_torch(device: str, dtype: str, on_cluster: bool) -> tuple[str, str]:
    """Device and number format that PyTorch takes on this machine.

    Raises:
        ConfigError: there is no such device, or nothing here can tell the number format.
    """
    has_torch = has("torch")
    if has_torch:
        from blockskim.inference.devices import choose_device, choose_dtype

        if not on_cluster or device == "cpu" or choose_device("auto").type == "cuda":
            place = choose_device(device)
            found = place.type if device == "auto" else device
            return found, str(choose_dtype(dtype, place)).removeprefix("torch.")
    if on_cluster and device != "cpu":
        raise ConfigError(
            f"dtype is 'auto', and no graphics card is here to tell which number format {device} takes on the cluster; "
            "give bfloat16 (Ampere and later), float16 or float32 (--dtype)"
        )
    # Without PyTorch the model can't be loaded here, which says how to install it.
    return "cpu" if device == "auto" else device, "float32" if dtype == "auto" else dtype
