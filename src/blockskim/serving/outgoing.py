"""What there is to send to a worker: requests in their order, and what may pass them."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]


class Outgoing:
    """Messages that wait for the thread which sends them; any thread may put and drop.

    A worker that reads nothing must not keep the texts of requests that nobody waits for any more, so each of them can
    be taken back until it is sent.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._changed = threading.Condition()
        self._first: deque[Message | None] = deque()
        self._requests: dict[int, Message] = {}

    def put_first(self, message: Message | None) -> None:
        """Let a message pass all requests; None ends what sends."""
        with self._changed:
            self._first.append(message)
            self._changed.notify()

    def put_request(self, number: int, message: Message) -> None:
        """Let a request wait behind those that are there."""
        with self._changed:
            self._requests[number] = message
            self._changed.notify()

    def drop(self, number: int) -> bool:
        """Take a request back; gives whether it was still there."""
        with self._changed:
            return self._requests.pop(number, None) is not None

    def get(self) -> Message | None:
        """The next message, once there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._first or self._requests)
            return self._first.popleft() if self._first else self._requests.pop(next(iter(self._requests)))
