"""What a model is called in files that are published."""

from pathlib import Path


def base_name(source: str | Path) -> str:
    """Name of a model without the folders it lies in; a hub id stays whole."""
    path = Path(source)
    return path.resolve().name if path.exists() else str(source)
