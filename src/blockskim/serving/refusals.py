"""Why a request gets no answer, other than what is wrong with itself."""


class Refusal(Exception):
    """A request that can't be answered now; the message is one sentence for whoever asked."""


class Busy(Refusal):
    """There are as many requests as may wait.

    Attributes:
        waiting: how many there are.
        retry_after: seconds after which it is worth another try.
    """

    def __init__(self, waiting: int, retry_after: float) -> None:
        """Say how many wait."""
        super().__init__(f"{waiting} requests wait already; try again in {retry_after:.0f} s")
        self.waiting, self.retry_after = waiting, retry_after


class TimedOut(Refusal):
    """A request took longer than it may.

    Attributes:
        seconds: that it may take.
    """

    def __init__(self, seconds: float) -> None:
        """Say how long it may take."""
        self.seconds = seconds
        super().__init__(f"the answer was not there within {seconds:g} s, which is as long as a request may take")


class Stopping(Refusal):
    """The service ends, and takes or finishes nothing more."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the service is stopping; ask another one, or try again")


class Lost(Refusal):
    """The process that worked on a request ended before it was done."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            "the process that worked on this request ended; another takes its place: try again, but not often"
        )
