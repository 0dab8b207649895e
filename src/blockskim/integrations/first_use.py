"""Loading a component's model when it is first used: once for its settings, however many threads are the first."""

from threading import Lock
from typing import Any, Protocol

from blockskim.evidence.question_answerer import QuestionAnswerer

_LOADING = Lock()
"""Shared by all components, since one that had its own could be neither copied nor pickled."""


Loaded = tuple[dict[str, Any], QuestionAnswerer]
"""What reads, behind the arguments that it was made with."""


class Component(Protocol):
    """What keeps its model here, None until it is loaded."""

    _loaded: Loaded | None


def loaded(component: Component, model: str | None, **settings: Any) -> QuestionAnswerer:
    """What reads for a component, made with these arguments of ``QuestionAnswerer`` if it is not there yet.

    It is made anew where the arguments are others than the last time, as the settings of components may be changed.

    Raises:
        ModelError: the model can't be loaded.
        ConfigError: a setting does not fit it.
    """
    wanted = {"model": model, **settings}
    found = component._loaded
    if found is None or found[0] != wanted:
        with _LOADING:
            found = component._loaded
            if found is None or found[0] != wanted:
                component._loaded = found = wanted, QuestionAnswerer(model, **settings)
    return found[1]
