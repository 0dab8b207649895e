"""Whatever goes wrong with the files of a model becomes a ModelError on one short line."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blockskim.errors import ConfigError, ModelError

ONE_AT_A_TIME = threading.RLock()
"""Held while transformers makes or loads a model: meanwhile it changes settings of the whole process, such as PyTorch's
default number format, and two threads that put them back in the wrong order would leave them changed."""

LONGEST_MESSAGE = 300
"""Characters of what transformers has to say; some of its messages list every model that it knows."""

_SPEAK_FOR_THEMSELVES = (OSError, ValueError, RuntimeError)
"""Errors whose messages are sentences; those of others mean little without the name of the error."""


@contextmanager
def loading(name: str | Path, file: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong with a model's files into a ModelError on one line.

    transformers is called inside. Damaged files make it raise nearly anything: AttributeError, ZeroDivisionError,
    IndexError, AssertionError, ImportError, RecursionError and errors of its own.

    Args:
        name: directory or hub id of the model.
        file: the file that is read or whose values are used, where it is known to be there.

    Raises:
        ModelError: anything was raised; the message names the model. A ModelError passes through as it is.
    """
    try:
        with ONE_AT_A_TIME:
            yield
    except ModelError:
        raise
    except ConfigError as error:
        raise ModelError(f"{name}: config.json: {one_line(error)}") from error
    except Exception as error:
        if file is not None:
            raise ModelError(f"{name}: {file}: {one_line(error)}") from error
        if Path(name).exists():
            raise ModelError(f"{name}: {one_line(error)}") from error
        raise ModelError(
            f"{name}: there is no such directory, and as a hub id it can't be loaded: {one_line(error)}"
        ) from error


@contextmanager
def fitting(source: object, settings: object) -> Iterator[None]:
    """Have errors about skim settings that don't fit a checkpoint name the checkpoint.

    Args:
        source: directory or hub id of the checkpoint; errors about anything else, as a model, pass as they are.
        settings: that were given; None where these are the defaults, so that the checkpoint is to blame.

    Raises:
        ModelError: no settings were given, and the defaults don't fit.
        ConfigError: the settings don't fit.
    """
    try:
        yield
    except ConfigError as error:
        if not isinstance(source, str | Path):
            raise
        kind = ModelError if settings is None else ConfigError
        raise kind(f"{source}: {error}") from error


def one_line(error: BaseException) -> str:
    """The first line of what an error says, cut to a readable length; a line that ends with a colon and the next."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = ""
    for line in lines:
        text = f"{text} {line}".strip()
        if not line.endswith(":"):
            break
    if not isinstance(error, _SPEAK_FOR_THEMSELVES) or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"
