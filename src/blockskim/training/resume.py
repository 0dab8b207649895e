"""What a training run leaves in its folder so that it can go on, and whether it may."""

import json
from pathlib import Path

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.training.recipe import Recipe

RECIPE_FILE = "recipe.json"
CHECKPOINTS = "checkpoints"


def find_checkpoint(output: Path, resume: bool) -> Path | None:
    """The newest checkpoint of a run, to resume from; None where a run begins.

    Args:
        output: folder of the run.
        resume: whether it is to go on.

    Raises:
        BlockSkimError: there is nothing to resume from, or a run to be overwritten.
    """
    folder = output / CHECKPOINTS
    found = sorted(
        (path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()),
        key=lambda path: int(path.name.rsplit("-", 1)[1]),
    )
    if resume:
        if not found:
            raise BlockSkimError(f"there is no checkpoint in {folder} to resume from; start without --resume")
        return found[-1]
    if found or (output / "model.safetensors").exists():
        raise BlockSkimError(f"{output} holds a training run already; add --resume to go on, or name another folder")
    return None


def check_same_recipe(output: Path, recipe: Recipe) -> None:
    """Refuse to go on with a run under another recipe than it began with.

    Raises:
        ConfigError: a setting is another one.
    """
    # Settings that came up after the run was started have their defaults.
    stored = Recipe.from_dict(json.loads((output / RECIPE_FILE).read_text(encoding="utf-8")))
    before, now = (json.loads(json.dumps(one.to_dict())) for one in (stored, recipe))
    for name, value in now.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{name} is {value} but the run in {output} was started with {before.get(name)}; resume with the same"
            )
