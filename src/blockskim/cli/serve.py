"""``blockskim serve``: an HTTP service with a page to try it."""

from dataclasses import replace

from blockskim.cli import options
from blockskim.cli.option_groups import Computing, takes_groups
from blockskim.cli.serve_environment import PORT, check_key, service_link
from blockskim.cli.serve_options import Limits, Listening, Logging
from blockskim.cli.session import model_choice
from blockskim.extras import check_server


@takes_groups
def serve(
    computing: Computing = Computing(),
    backend: options.BackendName = options.Backend.AUTO,
    point: options.Point = None,
    listening: Listening = Listening(),
    limits: Limits = Limits(),
    logging: Logging = Logging(),
) -> None:
    """Answer over HTTP, with a page to try it.

    Every option may also be set in the environment: BLOCKSKIM_PORT for --port.
    """
    options.set_up(quiet=True)
    check_server()
    check_key(listening.api_key)

    from blockskim.serving.engine import ModelSettings
    from blockskim.serving.http.serve import serve as serve_http
    from blockskim.serving.http.settings import HttpSettings
    from blockskim.serving.logs import LIFE, LogSettings, configure_logs
    from blockskim.serving.scheduler import Capacity

    model = ModelSettings(model_choice(computing, backend), point)
    http = HttpSettings(
        served_name=listening.served_name or (model.served_name if computing.model else "default"),
        max_body=limits.max_body,
        max_pairs=limits.max_pairs,
        max_held=limits.max_waiting * limits.max_body,
        seconds=limits.timeout,
        api_key=listening.api_key,
        origins=tuple(listening.cors_origin or ()),
        log_texts=logging.log_texts,
    )
    capacity = replace(
        Capacity(),
        batch_tokens=limits.batch_tokens,
        turn_tokens=min(limits.turn_tokens, limits.batch_tokens),
        waiting=limits.max_waiting,
    )
    logs = LogSettings(logging.log_requests, logging.log_texts, logging.quiet)
    if (link := service_link()) is not None:
        configure_logs(logs)
        LIFE.warning("variable ignored", extra={"fields": {"variable": PORT, "value": link, "port": listening.port}})
    serve_http(
        model,
        capacity,
        http,
        logs,
        listening.host,
        listening.port,
        limits.workers,
        limits.grace,
        limits.drain_delay,
        listening.keep_alive,
    )
