"""Where the model lies that comes with the library."""

from importlib import resources
from pathlib import Path

from blockskim.errors import ModelError


def shipped_model() -> Path:
    """Directory of the model that comes with the library.

    Raises:
        ModelError: this installation has none.
    """
    directory = Path(str(resources.files("blockskim") / "default_model"))
    if not (directory / "config.json").is_file():
        raise ModelError("this installation of blockskim comes without a model; name one: a directory or a hub id")
    return directory
