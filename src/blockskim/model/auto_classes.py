"""Makes transformers' Auto classes know Block-Skim models without importing transformers before anyone needs it.

``AutoModelForQuestionAnswering.from_pretrained`` must load a Block-Skim model after a plain ``import blockskim``, but
registering it takes torch and transformers, which take seconds to import. So it is registered at the moment when the
Auto classes themselves are imported, be that before or after this package.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from blockskim.extras import has

FOLLOWERS = {
    "transformers.models.auto.configuration_auto": "blockskim.model.config",
    "transformers.models.auto.modeling_auto": "blockskim.model.modeling",
}
"""The module that has to be imported right after another one, because it registers something there."""


class _Followed(MetaPathFinder):
    """Finds the modules that have a follower as Python would, and has the follower imported after them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        follower = FOLLOWERS.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if follower else None
        if follower is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_follow(module: ModuleType) -> None:
            execute(module)
            _follow(follower)

        # The loader belongs to this one spec, so nothing else is changed.
        spec.loader.exec_module = execute_and_follow  # type: ignore[method-assign]
        return spec


def register() -> None:
    """See to it that Block-Skim models are registered as soon as the Auto classes exist; doing it twice is harmless."""
    if not any(isinstance(finder, _Followed) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Followed())
    for name, follower in FOLLOWERS.items():
        if name in sys.modules:
            _follow(follower)


def _follow(follower: str) -> None:
    """Import what registers itself; without PyTorch there is nothing to register, and transformers works as ever."""
    if has("torch"):
        importlib.import_module(follower)
