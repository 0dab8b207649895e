"""What is said of an option that can't be: the value that was given belongs to it."""

import re
from typing import Any

import typer
from typer.core import TyperGroup

_LONG_NUMBER = re.compile(r"(\d{80})\d+")


class NamingGroup(TyperGroup):
    """Commands whose usage errors name the value that was given, with every version of typer and click."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; where it names no command, that is a usage error, told with the help."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            BadParameter: an option can't be what it is.
        """
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            name_value(error)
            raise


def name_value(error: typer.BadParameter) -> None:
    """Add to a message the value that it is about, where typer left the check to pydantic, which doesn't name it.

    Of a number of hundreds of digits, the first are enough.
    """
    found = getattr(error.__cause__, "errors", None)
    given = repr(found()[0]["input"]) if callable(found) else ""
    if given not in error.message:
        error.message = f"{error.message}, and is {given:.80}"
    error.message = _LONG_NUMBER.sub(r"\1…", error.message)
