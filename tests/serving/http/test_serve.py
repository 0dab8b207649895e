"""The socket that the service listens on, and what comes before its end."""

import asyncio
import inspect
import socket
from types import SimpleNamespace

import pytest

from blockskim.cli.serve_options import Listening
from blockskim.errors import ConfigError
from blockskim.extras import has
from blockskim.serving.engine import ModelSettings
from blockskim.serving.http import serve
from blockskim.serving.http.serve import _Life, _listening, _loop_factory
from blockskim.serving.http.settings import HttpSettings
from blockskim.serving.logs import LogSettings
from blockskim.serving.scheduler import Capacity


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_head():
    with (
        _listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_told_of():
    with _listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"127.0.0.1 port {port} can't be listened on"),
            _listening("127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize("host", ["", " "])
def test_a_blank_address_is_not_every_address(host):
    with pytest.raises(ConfigError, match=f"host is '{host}'.* 0.0.0.0 for all"), _listening(host, 0):
        pass


@pytest.mark.skipif(not has("uvloop"), reason="needs uvloop")
def test_the_event_loop_is_uvloops_where_that_is_installed(monkeypatch):
    make = _loop_factory()
    assert make is not None
    loop = make()
    try:
        assert type(loop).__module__ == "uvloop"
    finally:
        loop.close()
    monkeypatch.setattr(serve, "has", lambda package: False)
    assert _loop_factory() is None


def life(ready=True, delay=300.0, was_ready=True, keep_alive=75):
    """A service whose workers are none."""
    made = _Life(ModelSettings(), Capacity(), HttpSettings(seconds=7.0), LogSettings(), 1, 30.0, delay, keep_alive)
    assert made._pool._timeout == 7.0
    drained = []
    made._pool = SimpleNamespace(
        ready=ready,
        describe=lambda: {"layers": 3} if was_ready else {},
        drain=lambda: drained.append(True),
        kill=lambda: None,
    )
    return made, drained


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("by", ["a second signal", "the server"])
def test_before_it_ends_it_says_for_a_while_that_it_is_not_ready(by, ready):
    async def drain():
        made, drained = life(ready)
        serving = asyncio.get_running_loop().create_future()
        draining = asyncio.ensure_future(made._drain(serving))
        await asyncio.sleep(0.01)
        assert (drained, draining.done(), made._server.should_exit) == ([True], False, False)
        if by == "the server":
            serving.set_result(None)
        else:
            made._force()
        await asyncio.wait_for(draining, 30)

    asyncio.run(drain())


@pytest.mark.parametrize(("was_ready", "delay"), [(True, 0.0), (False, 300.0)])
def test_what_never_was_ready_or_has_no_delay_ends_at_once(was_ready, delay):
    async def drain():
        made, drained = life(was_ready, delay, was_ready)
        await asyncio.wait_for(made._drain(asyncio.get_running_loop().create_future()), 30)
        return drained

    assert asyncio.run(drain()) == []


def test_connections_stay_open_for_longer_than_a_balancer_keeps_them():
    default = inspect.signature(serve.serve).parameters["keep_alive"].default
    assert default == Listening().keep_alive > 60
    assert life(keep_alive=600)[0]._server.config.timeout_keep_alive == 600
