"""Calls of an ASGI application, in this process or over loopback."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from blockskim.serving.engine import Engine
from local_service import LocalService
from served import plain_answerer

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")

SECONDS = 30


class Site:
    """An application with an engine that needs no model."""

    def __init__(self, capacity=None, engine=None, **settings):
        self.engine = engine or Engine(plain_answerer(), capacity)
        self.answerer = self.engine.answerer
        from blockskim.serving.http.app import make_app
        from blockskim.serving.http.settings import HttpSettings

        self.app = make_app(LocalService(self.engine), HttpSettings(**settings))

    def __call__(self, method, path, **given):
        """A response, to a call in this process."""
        return self.at_once([(method, path, given)])[0]

    def post(self, path, value, **given):
        return self("POST", path, json=value, **given)

    def at_once(self, calls):
        """Responses to several calls at the same time."""

        async def run():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://site", timeout=SECONDS) as client:
                return await asyncio.gather(*(client.request(method, path, **given) for method, path, given in calls))

        return asyncio.run(run())

    def close(self):
        self.answerer.model.gate.set()
        self.engine.close(2.0)


@contextlib.contextmanager
def listening(app):
    """Serve an application on loopback; gives its address."""
    from blockskim.serving.http.protocol import HttpConnection

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=HttpConnection, ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()
        assert not thread.is_alive()


def until(condition):
    """Wait for something that others bring about."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
