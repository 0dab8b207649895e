"""The options of ``blockskim serve``; each may also stand in the environment, as BLOCKSKIM_ and its name."""

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service is, and who may ask it."""

    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, metavar="N", help="Port to listen on; 0 takes a free one.")
    ] = 8080
    keep_alive: Annotated[
        int,
        typer.Option(
            "--keep-alive", min=1, metavar="SECONDS", help="Time for which a connection without a request stays open."
        ),
    ] = 75
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", metavar="KEY", help="Bearer token that requests must bring.  [default: none]"),
    ] = None
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="ORIGIN",
            help="Web page that may ask; may be repeated, * for all.  [default: none]",
        ),
    ] = None
    served_name: Annotated[
        str | None,
        typer.Option("--served-name", metavar="NAME", help="What requests call the model.  [default: its own name]"),
    ] = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken, and for how long."""

    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, metavar="N", help="Processes with a model each.")
    ] = 1
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", min=1, metavar="N", help="Most tokens in a batch of PyTorch.")
    ] = 16_384
    turn_tokens: Annotated[
        int,
        typer.Option("--turn-tokens", min=1, metavar="N", help="Most tokens of one request before others have theirs."),
    ] = 2_048
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, metavar="N", help="Requests that may wait; more get 429.")
    ] = 512
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, metavar="BYTES", help="Size of a request; a larger one gets 413.")
    ] = 2_000_000
    max_pairs: Annotated[
        int, typer.Option("--max-pairs", min=1, metavar="N", help="Pairs of a question and a text in a request.")
    ] = 32
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Time for a request; then it gets 504.")
    ] = 30.0
    grace: Annotated[
        float,
        typer.Option("--grace", min=0.0, metavar="SECONDS", help="Time to finish what runs when told to stop."),
    ] = 30.0
    drain_delay: Annotated[
        float,
        typer.Option(
            "--drain-delay",
            min=0.0,
            metavar="SECONDS",
            help="When told to stop, time in which /ready says no and requests are still taken.",
        ),
    ] = 0.0


@dataclass(frozen=True, slots=True)
class Logging:
    """What is logged, as lines of JSON on standard error."""

    log_requests: Annotated[
        bool, typer.Option("--log-requests/--no-log-requests", help="A line for every request.")
    ] = True
    log_texts: Annotated[
        bool,
        typer.Option(
            "--log-texts",
            help="Log questions, names of blank documents, and what goes wrong, which may quote a text; else no texts.",
        ),
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="Warnings and errors alone.")] = False
    as_json: Annotated[
        bool,
        # Without this name it would be that of the parameter.
        typer.Option(
            "--json", envvar="BLOCKSKIM_JSON", help="Changes nothing: logs are JSON, and nothing else is printed."
        ),
    ] = False
