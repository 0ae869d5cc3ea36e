"""A server of lists, over TLS, that can be told to misbehave; and a feed followed in a thread, as the agent does."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.feeds.following import Following
from agent.grammar.config_feeds import FeedKeys
from agent.messages import Fed
from agent.streams.sensor import SENSOR, Batch
from tests.certificates import certificate, server_context
from tests.running import wait_for


class Lists:
    """What the server answers, and what it was asked. `say` has a way of its own with each request."""

    def __init__(self, port: int, issuer: Path) -> None:
        self.url, self.issuer = f"https://127.0.0.1:{port}/drop.txt", issuer
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        self.texts()

    def texts(self, *networks: str, etag: str = '"1"', raw: bytes | None = None) -> None:
        """From now on, a list of these."""
        body = "".join(f"{one}\n" for one in networks).encode() if raw is None else raw

        def say(handler: BaseHTTPRequestHandler) -> None:
            if handler.headers.get("If-None-Match") == etag:
                reply(handler, 304)
            else:
                reply(handler, 200, body, ETag=etag)

        self.say: Callable[[BaseHTTPRequestHandler], None] = say

    def keys(self, **more: Any) -> FeedKeys:
        """As agent.yaml would name it."""
        given = {"url": self.url, "ca_file": self.issuer, "private": True, "every": timedelta(seconds=0.1)}
        return FeedKeys(**{**given, **more})


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """A whole answer; `Content_Length` may lie."""
    handler.send_response(status)
    said = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    for name, value in said.items():
        if value:
            handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def lists(folder: Path) -> Iterator[Lists]:
    """The server, on a port of 127.0.0.1."""
    shown = certificate(folder, 30)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, dict(self.headers)))
            with suppress(OSError):
                made.say(self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            wire, who = super().get_request()
            wire.settimeout(20)
            return context.wrap_socket(wire, server_side=True, do_handshake_on_connect=False), who

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that go away are what is tested."""

    context: ssl.SSLContext = server_context(shown)
    server = Server(("127.0.0.1", 0), Handler)
    made = Lists(server.server_address[1], shown)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


class Heard:
    """What a feed handed over, in order."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)

    @property
    def news(self) -> list[Fed]:
        return [one.news for one in self.batches if isinstance(one.news, Fed)]

    @property
    def now(self) -> list[str]:
        """What counts."""
        return [str(one) for one in self.news[-1].listing.networks] if self.news else []

    @property
    def trouble(self) -> str:
        return self.news[-1].listing.trouble if self.news else ""

    @property
    def well(self) -> bool | None:
        """What it says of itself."""
        said = [event.get("ok") for one in self.batches for event in one.events if event.kind == SENSOR.name]
        return bool(said[-1]) if said else None


@contextmanager
def followed(feed: Following, position: str | None = None) -> Iterator[Heard]:
    """The feed in its thread."""
    heard, stop, feed.look = Heard(), threading.Event(), 0.05
    thread = threading.Thread(target=feed.run, args=(heard, position, stop), daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def soon(what: Callable[[], Any]) -> Any:
    """The first true answer, with a generous end."""
    return wait_for(what, 30)
