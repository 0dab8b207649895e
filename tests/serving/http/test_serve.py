"""The socket that the service listens on."""

import socket

import pytest

from blockskim.errors import ConfigError
from blockskim.extras import has
from blockskim.serving.http import serve
from blockskim.serving.http.serve import _listening, _loop_factory


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
