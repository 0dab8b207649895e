"""What the commands that run a model have in common: its data, the model itself, and its windows.

Nothing heavy is imported before one of these is called, so that help and usage errors come at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blockskim.cli import options
from blockskim.cli.data_files import Answers, read_data
from blockskim.cli.option_groups import Computing, Selection, TorchComputing, Windowing

if TYPE_CHECKING:
    from blockskim.answering.answerer import Answerer
    from blockskim.answering.model_choice import ModelChoice
    from blockskim.data.examples import Example
    from blockskim.data.windows import WindowSet, WindowSettings
    from blockskim.inference.backend import Backend, LoadedBackend
    from blockskim.inference.loading import LoadedModel


def read_selected(
    data: Sequence[Path], more: Sequence[Path] | None, selection: Selection, answers: Answers = "needed"
) -> "list[Example]":
    """Examples of the files behind --data and of those that follow.

    Raises:
        DataError: a file is wrong or lacks the answers that are needed, two have a question id in common, or nothing
            is left.
    """
    files = [*data, *(more or [])]
    return read_data(files, selection.format, selection.hold_out, selection.limit, selection.skip_bad, answers)


def load_model(computing: Computing | TorchComputing) -> "LoadedModel":
    """The model that was named, or the one that comes along, on its device.

    Raises:
        ModelError: there is no such model, or it can't be used.
        ConfigError: there is no such device or number format.
    """
    from blockskim.inference.loading import load

    return load(computing.model, computing.device.value, computing.dtype.value, computing.threads)


def load_backend(computing: Computing, backend: options.Backend) -> "LoadedBackend":
    """The model that was named, or the one that comes along, on whatever is to compute.

    Raises:
        ModelError: there is no such model, or it can't be used.
        ConfigError: there is no such device or number format, or the backend does not fit them.
    """
    from blockskim.answering.loading import load_backend as load_named

    return load_named(model_choice(computing, backend))


def load_answerer(computing: Computing, backend: options.Backend, batch_size: int, point: str | None) -> "Answerer":
    """What reads texts with the model that was named, or with the one that comes along.

    Raises:
        ModelError: there is no such model, or it can't be used.
        ConfigError: there is no such device, number format or operating point, or the backend does not fit them.
    """
    from blockskim.answering.answerer import Answerer

    choice = model_choice(computing, backend)
    return Answerer(
        choice.name,
        device=choice.device,
        dtype=choice.dtype,
        threads=choice.threads,
        batch_size=batch_size,
        point=point,
        backend=choice.backend,
    )


def model_choice(
    computing: Computing | TorchComputing, backend: options.Backend = options.Backend.AUTO
) -> "ModelChoice":
    """What was chosen, as the library has it; the model that comes along goes by its directory.

    Raises:
        ModelError: this installation comes without a model.
    """
    from blockskim.answering.model_choice import ModelChoice

    return ModelChoice(
        name=model_name(computing),
        device=computing.device.value,
        dtype=computing.dtype.value,
        threads=computing.threads,
        backend=backend.value,
    )


def model_name(computing: Computing | TorchComputing) -> str:
    """The model that was named, or the directory of the one that comes along, which was exported.

    Raises:
        ModelError: this installation comes without a model.
    """
    from blockskim.inference.shipped import shipped_model

    return computing.model or str(shipped_model())


def fit_windows(loaded: "LoadedBackend", windowing: Windowing) -> "WindowSettings":
    """Settings of windows that fit a model.

    Raises:
        ConfigError: they don't.
    """
    from blockskim.inference.window_settings import window_settings

    return window_settings(
        loaded.model, loaded.tokenizer, windowing.max_length, windowing.doc_stride, windowing.max_question_len
    )


def cut_windows(loaded: "LoadedBackend", examples: "Sequence[Example]", windowing: Windowing) -> "WindowSet":
    """The windows of examples for a model.

    Raises:
        ConfigError: the model can't read such windows.
    """
    from blockskim.data.windows import STAND_IN, make_windows

    return make_windows(examples, loaded.tokenizer, fit_windows(loaded, windowing), stand_in=STAND_IN)


def describe(what: str, model: "Backend", windows: "WindowSet", batch_size: int) -> str:
    """What a long run is about, on a line: examples, windows, steps, device and number format."""
    steps = -(-len(windows) // batch_size)
    counts = (("example", len(windows.examples)), ("window", len(windows)), ("step", steps))
    counted = ", ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts)
    place = getattr(model, "device", "ONNX Runtime")
    return f"{what}: {counted}, batch size {batch_size}, {place}, {model.number_format}"


def hide_foreign_progress() -> None:
    """Keep transformers from drawing bars of its own, between which a command's would be lost."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
