"""Figures of matplotlib, written whole or not at all."""

from pathlib import Path
from typing import Any

from blockskim.atomic import open_whole
from blockskim.errors import DISK_FAULTS, ConfigError


def save_figure(pyplot: Any, figure: Any, path: Path) -> None:
    """Write a figure and close it.

    Args:
        pyplot: the module that made it.
        figure: that is written.
        path: file to write; its ending says the format, PNG where it has none.

    Raises:
        ConfigError: the file can't be written, or matplotlib knows no such format.
        OSError: the disk is full.
    """
    try:
        with open_whole(path) as file:
            figure.savefig(file, dpi=150, format=path.suffix[1:] or "png")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            raise
        raise ConfigError(f"{path} can't be written: {error}") from error
    finally:
        pyplot.close(figure)
