"""The control socket: people's questions and orders over HTTP on a unix socket, each with the uid of who asks.

`POST /v1/<verb>` with a JSON object answers a JSON object. The kernel says who is at the other end (SO_PEERCRED), so the
journal names the person and nobody can pose as another. Who may connect is decided by the socket's owner and mode.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agent.action import CannotReach
from agent.asking import problem
from agent.login import began, name_of
from agent.messages import Asked, Reply
from agent.stale_socket import clear

LONGEST_BODY: Final = 256 * 1024
PATIENCE: Final = 70
"""Seconds a question may wait for its answer."""
SILENCE: Final = 3
"""Seconds that whoever connects may be silent before the question is there: each holds up one of the THREADS."""
THREADS: Final = 8
STOPPING: Final = {"error": "the agent is stopping"}
LATE: Final = {"error": f"the agent did not answer within {PATIENCE} s; it is busy or stuck"}


class Control:
    """Serves the socket in threads of its own; each request waits for the owner's reply."""

    def __init__(self, path: Path, put: Callable[[Asked], None]) -> None:
        """Bind the socket; a stale one that nobody answers on is replaced.

        Raises:
            CannotReach: the place cannot be written, or another agent answers there.
        """
        from cheroot import wsgi

        from agent.connection import Connection

        self._path, self._put, self._tickets = path, put, itertools.count(1)
        self._closed = False
        self._waiting: dict[int, queue.SimpleQueue[Mapping[str, Any]]] = {}
        clear(path, shorten="shorten `socket:` in agent.yaml", mend="stop it first (contain status)")
        self._server = wsgi.Server(
            str(path), self._serve, numthreads=THREADS, request_queue_size=64, timeout=SILENCE, peercreds_enabled=True
        )
        self._server.ConnectionClass = Connection
        self._server.max_request_body_size = LONGEST_BODY
        self._server.max_request_header_size = 16 * 1024
        usual = os.umask(0o177)  # cheroot gives the socket to everybody, and who connects before the chmod stays connected
        try:
            self._server.prepare()
            path.chmod(0o660)
        except OSError as error:
            raise CannotReach(f"cannot listen on {path}: {error}; is its directory there, and may this user write it?") from error
        finally:
            os.umask(usual)
        threading.Thread(target=self._server.serve, name="control", daemon=True).start()

    def ask(self, verb: str, body: Mapping[str, Any], actor: str, patience: float = PATIENCE) -> Mapping[str, Any]:
        """Put a question or an order to the owner and wait for the answer; any thread may. Who `actor` is has been found out."""
        if wrong := problem(verb, body):
            return {"problem": wrong}
        asked = Asked(verb, body, actor, next(self._tickets))
        waiting = self._waiting[asked.ticket] = queue.SimpleQueue()
        if self._closed:
            self._waiting.pop(asked.ticket, None)
            return STOPPING
        self._put(asked)
        try:
            return waiting.get(timeout=patience)
        except queue.Empty:
            self._waiting.pop(asked.ticket, None)
            return LATE

    def answer(self, reply: Reply) -> None:
        """Hand the reply to the request that waits for it; nobody may be waiting any more."""
        if waiting := self._waiting.pop(reply.asked.ticket, None):
            waiting.put(reply.body)

    def close(self) -> None:
        """Stop listening; whoever still waits is told so. The socket's file goes first: later it may be the next agent's."""
        self._closed = True
        with suppress(OSError):
            self._path.unlink()
        for ticket in list(self._waiting):
            if waiting := self._waiting.pop(ticket, None):
                waiting.put(STOPPING)
        self._server.stop()

    def _serve(self, environ: Mapping[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
        status, body = self._handle(environ)
        text = json.dumps(body, default=str).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        return [text]

    def _handle(self, environ: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        if environ["REQUEST_METHOD"] != "POST":
            return "405 Method Not Allowed", {"error": "ask with POST /v1/<verb>"}
        verb = str(environ["PATH_INFO"]).removeprefix("/v1/")
        try:
            body = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
        except (ValueError, RecursionError) as error:
            return "400 Bad Request", {"error": f"cannot read the request: {error}"}
        if not isinstance(body, dict):
            return "400 Bad Request", {"error": "the request must be a JSON object"}
        answer = self.ask(verb, body, _actor(environ.get("X_REMOTE_UID"), environ.get("X_REMOTE_PID")))
        if answer is LATE:
            return "504 Gateway Timeout", answer
        status = "400 Bad Request" if "problem" in answer else "503 Service Unavailable" if answer is STOPPING else "200 OK"
        return status, answer


def _actor(uid: Any, pid: Any) -> str:
    """Who asks, by name; after sudo it is the person who logged in, whom the kernel remembers (loginuid, audit(8))."""
    if uid is None:
        return "unknown"
    if int(uid) == 0 and (person := began(int(pid))):
        return f"{name_of(person)} (uid 0, logged in as {person})"
    return f"{name_of(int(uid))} (uid {uid})"
