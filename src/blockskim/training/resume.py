"""What a training run leaves in its folder so that it can go on, and whether it may."""

import hashlib
import json
import logging
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import safe_open

from blockskim.data.windows import WindowSet
from blockskim.errors import BlockSkimError, ConfigError
from blockskim.evaluation.run_key import add_windows
from blockskim.folder_lock import locked_folder
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.weight_digest import digest_of_weights
from blockskim.training.recipe import Recipe

logger = logging.getLogger(__name__)

RECIPE_FILE = "recipe.json"
INPUTS_FILE = "inputs.json"
CHECKPOINTS = "checkpoints"
STATE_FILE = "trainer_state.json"
WEIGHTS_FILE = "model.safetensors"
SCALER_FILE = "scaler.pt"

NEEDED = ("config.json", STATE_FILE, WEIGHTS_FILE, "optimizer.pt", "scheduler.pt", "rng_state.pth")
"""Without one of these a run would not go on as it was. The last one is of the only process of a run."""

TRAIN_KEY = "train_windows"
BASE_KEY = "base"
PROCESSES = "processes"

INPUTS = {TRAIN_KEY: "the training data", "dev": "the development data", BASE_KEY: "the base model"}
"""What a run depends on beside its recipe, by its name in ``INPUTS_FILE``."""

ASIDE = "damaged-"
"""What the name of a checkpoint begins with that a run could not go on from."""

_NAME = re.compile(r"checkpoint-(\d+)")


@contextmanager
def only_run_in(output: Path) -> Iterator[None]:
    """Keep other runs out of the folder of one, and leave no empty folder that was not there.

    Raises:
        ConfigError: another run is writing there.
        OSError: it can't be made.
    """
    is_new = not output.exists()
    try:
        with locked_folder(output):
            yield
    finally:
        if is_new:
            # That of a run that did not begin is empty.
            with suppress(OSError):
                output.rmdir()


def find_checkpoint(output: Path, resume: bool, processes: int = 1) -> Path | None:
    """The newest whole checkpoint of a run, to resume from; None where a run begins.

    Newer ones that are damaged are warned of.

    Args:
        output: folder of the run.
        resume: whether it is to go on.
        processes: how many train.

    Raises:
        BlockSkimError: there is nothing to resume from, or a run to be overwritten, or no checkpoint is whole.
        ConfigError: the run was started with another number of processes.
    """
    folder = output / CHECKPOINTS
    found = _checkpoints(folder)
    if not resume:
        if any((path / STATE_FILE).is_file() for path in found) or (output / WEIGHTS_FILE).exists():
            raise BlockSkimError(
                f"{output} holds a training run already; give resume to go on (--resume), or name another folder"
            )
        return None
    if not found:
        raise BlockSkimError(f"there is no checkpoint in {folder} to resume from; start without resume (--resume)")
    _check_same_processes(output, processes)
    faults: list[str] = []
    for path in found:
        fault = damage(path, processes)
        if fault is None:
            for one in faults:
                logger.warning("%s; going on from %s", one, path.name)
            return path
        faults.append(fault)
    raise BlockSkimError(f"{faults[0]}, and no checkpoint in {folder} is whole; start anew in another folder")


def damage(checkpoint: Path, processes: int = 1) -> str | None:
    """What is wrong with a checkpoint, with the file's name; None if a run of so many processes can go on from it."""
    states = NEEDED[-1:] if processes == 1 else tuple(f"rng_state_{rank}.pth" for rank in range(processes))
    for name in (*NEEDED[:-1], *states, *_of_precision(checkpoint)):
        if not (checkpoint / name).is_file():
            return f"{checkpoint / name} is missing"
    for path in sorted(checkpoint.iterdir()):
        try:
            _look_into(path)
        # A damaged file makes its reader raise nearly anything.
        except Exception as error:
            return f"{path} is damaged ({' '.join(str(error).split()) or type(error).__name__})"
    step = _step(checkpoint)
    if _read_object(checkpoint / STATE_FILE).get("global_step") != step:
        return f"{checkpoint / STATE_FILE} is damaged (it is not of step {step})"
    return None


def _of_precision(checkpoint: Path) -> tuple[str, ...]:
    """The files that a checkpoint has because of its run's number format: float16 alone scales the loss."""
    recipe = checkpoint.parent.parent / RECIPE_FILE
    try:
        return (SCALER_FILE,) if _read_object(recipe).get("precision") == "float16" else ()
    # Whether the recipe can be read is told elsewhere.
    except (OSError, ValueError, RecursionError):
        return ()


def best_checkpoint(checkpoint: Path, processes: int = 1) -> Path | None:
    """The best checkpoint so far of a run that goes on from ``checkpoint``; None if there is none that can be read.

    It is looked for beside ``checkpoint``, wherever the run's folder was when it was written.
    """
    best = _read_object(checkpoint / STATE_FILE).get("best_model_checkpoint")
    if not isinstance(best, str):
        return None
    path = checkpoint.parent / Path(best).name
    fault = damage(path, processes)
    if fault is None:
        return path
    logger.warning("%s; the best checkpoint is chosen among those that follow", fault)
    return None


def set_aside_newer(checkpoint: Path) -> None:
    """Rename checkpoints that are newer than the one that a run goes on from, since it will write them anew."""
    for path in _checkpoints(checkpoint.parent):
        if _step(path) > _step(checkpoint):
            aside = path.with_name(f"{ASIDE}{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def check_same_recipe(output: Path, recipe: Recipe) -> None:
    """Refuse to go on with a run under another recipe than it began with.

    Raises:
        ConfigError: a setting is another one.
        BlockSkimError: the recipe that the run was started with can't be read.
    """
    values = read_record(output / RECIPE_FILE)
    try:
        # Settings that came up after the run was started have their defaults.
        stored = Recipe.from_dict(values)
    except ConfigError as error:
        raise BlockSkimError(f"{output / RECIPE_FILE} is damaged: {error}") from error
    before, now = (json.loads(json.dumps(one.to_dict())) for one in (stored, recipe))
    for name, value in now.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{name} is {value} but the run in {output} was started with {before.get(name)}; resume with the same"
            )


def input_digests(
    model: BlockSkimForQuestionAnswering, train: str, dev: WindowSet | None, processes: int = 1
) -> dict[str, str | int | None]:
    """What a run depends on beside its recipe: digests by the names of ``INPUTS``, and the number of processes.

    Args:
        model: that is trained, before the first step.
        train: the key of the windows to learn from.
        dev: windows to choose the best checkpoint by; None for none.
        processes: how many train.
    """
    base = digest_of_weights(model.state_dict())
    digests: dict[str, str | int | None] = {BASE_KEY: base, "dev": None, TRAIN_KEY: train}
    if dev is not None:
        digest = hashlib.sha256()
        add_windows(digest, dev)
        digests["dev"] = digest.hexdigest()[:32]
    return {**digests, PROCESSES: processes}


def check_same_inputs(output: Path, digests: Mapping[str, str | int | None]) -> None:
    """Refuse to go on with a run on other data, or from another base, than it began with.

    Raises:
        ConfigError: they are others.
        BlockSkimError: what they were can't be read.
    """
    path = output / INPUTS_FILE
    if not path.is_file():
        logger.warning("%s is missing, so whether data and base are those of the run's start is not known", path)
        return
    before = read_record(path)
    for name, what in INPUTS.items():
        if name == TRAIN_KEY and name not in before:
            logger.warning("%s is of an earlier version, so whether the training data is the same is not known", path)
        elif before.get(name) != digests[name]:
            split = "" if name == BASE_KEY else ", or an earlier version of blockskim began it"
            raise ConfigError(f"{what} is not what the run in {output} was started with{split}; resume with the same")


def _check_same_processes(output: Path, processes: int) -> None:
    """Refuse to go on with a run in another number of processes than it began with: each has random numbers of its own.

    Raises:
        ConfigError: there are more or fewer.
        BlockSkimError: how many there were can't be read.
    """
    path = output / INPUTS_FILE
    before = read_record(path).get(PROCESSES, 1) if path.is_file() else 1
    if before != processes:
        raise ConfigError(
            f"the run in {output} was started with {before} processes, not {processes}; resume with as many"
        )


def read_record(path: Path) -> dict[str, Any]:
    """The values in a JSON file that a run left in its folder.

    Raises:
        BlockSkimError: there is no such file, or it is damaged.
    """
    try:
        return _read_object(path)
    except FileNotFoundError:
        raise BlockSkimError(f"{path} is missing, so the run can't go on; start anew in another folder") from None
    except (ValueError, RecursionError) as error:
        raise BlockSkimError(f"{path} is damaged ({error}), so the run can't go on") from error


def _checkpoints(folder: Path) -> list[Path]:
    """Folders of checkpoints, the newest first."""
    named = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(named, key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def _look_into(path: Path) -> None:
    """Raise an error when a file is not whole, as far as its form tells."""
    if path.suffix == ".safetensors":
        # Opening it compares the header with the size.
        with safe_open(path, framework="pt") as weights:
            weights.keys()
    elif path.suffix in (".pt", ".pth", ".bin"):
        # The directory of a zip file stands at its end, and has a checksum of each part.
        with zipfile.ZipFile(path) as archive:
            spoiled = archive.testzip()
        if spoiled is not None:
            raise ValueError(f"{spoiled} in it is not what was written")
    elif path.suffix == ".json":
        _read_object(path)
    elif path.is_file() and path.stat().st_size == 0:
        raise ValueError("it is empty")


def _read_object(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("it holds no values by name")
    return values
