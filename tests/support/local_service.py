"""A service that answers in this process, without workers."""

import asyncio
from collections.abc import Mapping
from typing import Any

from blockskim.serving.engine import Engine
from blockskim.serving.refusals import TimedOut
from blockskim.serving.tasks import Json


class LocalService:
    """An engine in this process."""

    def __init__(self, engine: Engine) -> None:
        """Answer with an engine, which should be warm."""
        self.engine = engine

    @property
    def ready(self) -> bool:
        """Always: an engine is made before it is served."""
        return True

    @property
    def waiting(self) -> int:
        """Number of requests that are there and have no answer."""
        return len(self.engine.scheduler)

    def describe(self) -> Json:
        """Which model answers, and on what."""
        return self.engine.describe()

    def check_room(self) -> None:
        """The engine says so itself when it is asked."""

    async def ask(self, asked: Mapping[str, Any], seconds: float, request_id: str = "") -> Json:
        """Answer a task; see ``Service``. Errors are raised here, so whoever asks logs them."""
        future = asyncio.wrap_future(self.engine.ask(asked, seconds))
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            raise TimedOut(seconds) from None
