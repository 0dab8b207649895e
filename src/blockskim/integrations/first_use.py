"""Loading a component's model when it is first used: once, however many threads are the first."""

from threading import Lock
from typing import Any, Protocol

from blockskim.evidence.question_answerer import QuestionAnswerer

_LOADING = Lock()
"""Shared by all components, since one that had its own could be neither copied nor pickled."""


class Component(Protocol):
    """What keeps its model here, None until it is loaded."""

    _answerer: QuestionAnswerer | None


def loaded(component: Component, model: str | None, **settings: Any) -> QuestionAnswerer:
    """What reads for a component, made with these arguments of ``QuestionAnswerer`` if it is not there yet.

    Raises:
        ModelError: the model can't be loaded.
        ConfigError: a setting does not fit it.
    """
    if component._answerer is None:
        with _LOADING:
            if component._answerer is None:
                component._answerer = QuestionAnswerer(model, **settings)
    return component._answerer
