"""The same call from several threads at the same moment."""

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

THREADS = 8


def at_once(call: Callable[[int], Result], count: int = THREADS) -> list[Result]:
    """What ``call(number)`` gives in each of several threads, which start together; the first error is raised."""
    start = threading.Barrier(count)
    found: list[Result | BaseException] = [RuntimeError("the thread did not end")] * count

    def run(number: int) -> None:
        start.wait()
        try:
            found[number] = call(number)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found  # type: ignore[return-value]
