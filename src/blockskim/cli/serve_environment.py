"""What of the environment is not taken for a setting of ``blockskim serve`` as it stands there."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

PORT, KEY = "BLOCKSKIM_PORT", "BLOCKSKIM_API_KEY"

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


class ServeCommand(TyperCommand):
    """A command whose port is not where Kubernetes says that another service is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line and the environment."""
        with _without_service_link():
            return super().parse_args(ctx, args)


def service_link() -> str | None:
    """What Kubernetes put in place of a port: it tells each container of all services, by names such as this one."""
    value = os.environ.get(PORT, "")
    return value if _SERVICE_LINK.fullmatch(value) else None


@contextmanager
def _without_service_link() -> Iterator[None]:
    """Have no port in the environment, if it is none."""
    link = service_link()
    if link is not None:
        del os.environ[PORT]
    try:
        yield
    finally:
        if link is not None:
            os.environ[PORT] = link


def check_key(given: str | None) -> None:
    """Refuse a variable for the key that is there and blank: it would be taken for none, and let everybody ask.

    Args:
        given: the key by now.

    Raises:
        BadParameter: it is blank.
    """
    if given is None and KEY in os.environ:
        raise typer.BadParameter(
            f"the key is empty: {KEY} is set and blank; set it, or remove it to let everybody ask",
            param_hint="--api-key",
        )
