"""A vendor's HTTPS server that stands in for the real one: it checks what it is sent, and can do what harm real ones do."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.certificates import server_context
from tests.notifiers.contract import AGAIN, Mischief

HANG = 15.0


class Asked(NamedTuple):
    """One request; `body` is its JSON, None where it had none."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    size: int


class Wrong(Exception):  # noqa: N818 - a word
    """What the vendor's documentation does not allow: answered with this status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Api:
    """The server. A subclass says what it `answers`, and which requests show something to people.

    `asked` are all requests, `wrong` what was wrong with them by the documentation: tests want it empty.
    """

    limited = 429

    def __init__(self, shown: Path) -> None:
        self.asked: list[Asked] = []
        self.wrong: list[str] = []
        self._mischief: list[Mischief] = []
        self._go_on = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if self.raw_requestline and self.parse_request():
                    api._serve(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that does not trust us hangs up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        context = server_context(shown)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answers(self, one: Asked) -> tuple[int, Any]:
        """The status and the JSON; raises Wrong."""
        raise NotImplementedError

    def shows(self, one: Asked) -> bool:
        """Whether people would see something."""
        return True

    def next(self, mischief: Mischief) -> None:
        self._mischief.append(mischief)

    def stop(self) -> None:
        self._go_on.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        one = Asked(handler.command, handler.path, headers, json.loads(raw) if raw else None, len(raw))
        self.asked.append(one)
        mischief = self._mischief.pop(0) if self._mischief and self.shows(one) else None
        if mischief == "hang":
            self._go_on.wait(HANG)
            return
        if mischief == "gibberish":
            self._say(handler, 200, b"\x00<html>what?")
            return
        if mischief in ("busy", "nonsense", "error"):
            wait = {"busy": f"{AGAIN:g}", "nonsense": "soon-ish \x7f"}.get(mischief, "")
            status = self.limited if mischief != "error" else 500
            self._say(handler, status, b'{"error": "no"}', wait)
            return
        try:
            status, body = self.answers(one)
        except Wrong as wrong:
            self.wrong.append(str(wrong))
            status, body = wrong.status, self.complaint(str(wrong))
        if mischief != "lost":
            self._say(handler, status, json.dumps(body).encode())

    def complaint(self, why: str) -> Any:
        """How it says what is wrong."""
        return {"error": why}

    def _say(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, wait: str = "") -> None:
        handler.send_response(status)
        if wait:
            handler.send_header("Retry-After", wait)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
