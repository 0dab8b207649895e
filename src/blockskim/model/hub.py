"""Models of the Hugging Face hub: what may be an id, which file stands for which name, and what to do offline."""

import functools
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blockskim.errors import ConfigError, ModelError

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
"""What transformers takes for reading from the hub."""

SECONDS_TO_ANSWER = 5.0
SECONDS_TO_REMEMBER = 60

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)


def may_be_hub_id(name: str) -> bool:
    """Whether a name can be that of a model on the hub: with an owner, or one of the old models without."""
    return _ID.fullmatch(name) is not None and ".." not in name and "--" not in name


def hub_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments of ``from_pretrained`` that are for reading from the hub."""
    return {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}


def check_hub_arguments(given: Mapping[str, Any]) -> None:
    """Raise ConfigError when there is an argument that is none of ``HUB_ARGUMENTS``."""
    for name in given:
        if name not in HUB_ARGUMENTS:
            raise ConfigError(f"unknown argument {name!r}; for reading from the hub there are {list(HUB_ARGUMENTS)}")


def local_folder(name: str | Path, hub: Mapping[str, Any]) -> Path | None:
    """The directory with a model's files; None for what is no directory on this machine."""
    return Path(name) / str(hub.get("subfolder") or "") if Path(name).is_dir() else None


def find_file(name: str | Path, file: str, hub: Mapping[str, Any], required: bool = False) -> Path | None:
    """One file of a model directory or hub id, downloaded if need be; None where there is none.

    Args:
        name: directory or hub id.
        file: name of the file.
        hub: arguments for reading from the hub.
        required: whether it is an error that the hub and its cache don't have it.

    Raises:
        OSError: there is no such model on the hub, or the hub can't be reached.
    """
    folder = local_folder(name, hub)
    if folder is not None:
        return folder / file if (folder / file).is_file() else None
    from transformers.utils.hub import cached_file

    found = cached_file(str(name), file, _raise_exceptions_for_missing_entries=required, **hub)
    return None if found is None else Path(found)


def has_files(name: str | Path, hub: Mapping[str, Any]) -> bool:
    """Whether a model lies in a directory or may lie on the hub; otherwise it was made in this process."""
    return local_folder(name, hub) is not None or may_be_hub_id(str(name))


def find_beside(name: str | Path, file: str, hub: Mapping[str, Any]) -> Path | None:
    """``find_file`` of what may lie beside a model's weights; None for a model that was made in this process, too.

    Raises:
        OSError: there is no such model on the hub, or the hub can't be reached.
    """
    return find_file(name, file, offline_aware(name, hub)) if has_files(name, hub) else None


def fetch_directory(name: str, patterns: Sequence[str], hub: Mapping[str, Any], ignored: Sequence[str] = ()) -> Path:
    """A model of the hub as a directory, downloaded if need be.

    Args:
        name: hub id.
        patterns: of the files that are wanted.
        hub: arguments for reading from the hub, without ``subfolder``.
        ignored: patterns of files that are left out all the same; ``*`` stands for ``/``, too.

    Raises:
        ModelError: there is no such model, the hub can't be reached, or an argument is of a wrong kind.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    given = {**hub, "ignore_patterns": list(ignored)} if ignored else hub
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), **given))
    # Offline, or without an answer, it raises one of its own that is an OSError or a ValueError.
    except (OSError, ValueError, TypeError, HfHubHTTPError, HFValidationError) as error:
        raise ModelError(f"{name} can't be fetched from the hub: {' '.join(str(error).split())}") from error


def offline_aware(name: str | Path, hub: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for reading a model, with ``local_files_only`` where the hub does not answer.

    The hub's client would ask again and again for half a minute, file by file.
    """
    if Path(name).exists() or hub.get("local_files_only") or _hub_answers(int(time.monotonic() // SECONDS_TO_REMEMBER)):
        return dict(hub)
    return {**hub, "local_files_only": True}


@functools.lru_cache(maxsize=1)
def _hub_answers(_period: int) -> bool:
    """Whether the hub can be reached; asked once in a while."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return True  # its client knows and does not try
    try:
        get_session().head(os.environ.get("HF_ENDPOINT", constants.ENDPOINT), timeout=SECONDS_TO_ANSWER)
    except Exception:
        return False
    return True
