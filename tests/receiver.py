"""A program that is told by webhook: a real server on loopback, which can be slow, busy, broken or deaf."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps each notice once, by its key, in `had` in order of their coming; `posts` are all requests with their answers."""

    def __init__(self, port: int = 0) -> None:
        """Listen at once."""
        self.had: dict[str, dict[str, Any]] = {}
        self.posts: list[tuple[str, int]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.always: tuple[int, dict[str, str]] | None = None
        self.takes_before_error, self.wait, self.waiting = False, threading.Event(), threading.Event()
        self.wait.set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The same as an address."""
        return f"http://127.0.0.1:{self.port}/in"

    @property
    def whats(self) -> list[str]:
        """What the notices were about."""
        return [str(one["what"]) for one in self.had.values()]

    def close(self) -> None:
        """Nothing listens any more."""
        self.wait.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self) -> None:
                """Take it, or answer as was ordered."""
                key, body = self.headers["Idempotency-Key"], self.rfile.read(int(self.headers["Content-Length"]))
                receiver.waiting.set()
                receiver.wait.wait(20)
                status, headers = receiver.answer(key, json.loads(body))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
                """Nothing."""

        return Handler

    def answer(self, key: str, notice: dict[str, Any]) -> tuple[int, dict[str, str]]:
        """The next ordered answer, else the usual one, else yes."""
        with self._lock:
            status, headers = self.answers.pop(0) if self.answers else self.always or (204, {})
            if status < 300 or self.takes_before_error:
                self.had.setdefault(key, notice)
            self.posts.append((key, status))
            return status, headers
