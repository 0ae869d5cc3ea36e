"""A real HTTP server on the loopback that stands in for a vendor, and misbehaves when a test says so."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

from tests.notifiers.contract import AGAIN, Mischief

HUNG: Final = 15.0
NONSENSE: Final = "the day after tomorrow, maybe"


class Asked(NamedTuple):
    """A request as it came; the names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


def answer_json(said: Mapping[str, Any], status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(said).encode(), {"Content-Type": "application/json; charset=utf-8", **headers})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is nothing to write about."""


class StandIn:
    """Answers with `answer`; `acts` says which requests show something to people, and so meet the mischief."""

    def __init__(
        self, answer: Callable[[Asked], Answer], acts: Callable[[Asked], bool] = lambda _: True, tls: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[Asked] = []
        self.mischiefs: list[Mischief | Answer] = []
        self._answer, self._acts, self._over = answer, acts, threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = int(self._server.server_address[1])
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nothing listens any more; twice is harmless."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stand_in.serve(self)

            do_GET = do_POST  # noqa: N815 - as http.server calls it

            def log_message(self, *_: Any) -> None:
                """Tests say for themselves what they have seen."""

        return Handler

    def serve(self, wire: BaseHTTPRequestHandler) -> None:
        body = wire.rfile.read(int(wire.headers.get("Content-Length") or 0))
        asked = Asked(wire.path, {name.lower(): value for name, value in wire.headers.items()}, body)
        self.asked.append(asked)
        mischief = self.mischiefs.pop(0) if self.mischiefs and self._acts(asked) else None
        if mischief == "hang":
            self._over.wait(HUNG)
        if mischief == "lost":
            self._answer(asked)
        if mischief in ("hang", "lost"):
            with suppress(OSError):
                wire.connection.shutdown(socket.SHUT_RDWR)
            return
        self._say(wire, self._meant(mischief) or self._answer(asked))

    def _meant(self, mischief: Mischief | Answer | None) -> Answer | None:
        if isinstance(mischief, Answer):
            return mischief
        match mischief:
            case "busy":
                return Answer(429, b"", {"Retry-After": f"{AGAIN:g}"})
            case "nonsense":
                return Answer(429, b"", {"Retry-After": NONSENSE})
            case "error":
                return Answer(500, b"oh no")
            case "gibberish":
                return Answer(200, b"<html>Welcome to the hotel's network</html>", {"Content-Type": "text/html"})
        return None

    def _say(self, wire: BaseHTTPRequestHandler, answer: Answer) -> None:
        wire.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            wire.send_header(name, value)
        wire.end_headers()
        wire.wfile.write(answer.body)
