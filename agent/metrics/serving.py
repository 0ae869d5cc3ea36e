"""/metrics and /healthz of a running agent, in threads of their own: whoever asks, and however often, the loop goes on.

The loop is asked for its numbers by one request at a time, and at most every few seconds; /healthz is answered without it, since
that the loop hangs is what it has to tell.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

from agent.intake.doorkeeper import Doorkeeper, Place
from agent.metrics.health import Health
from agent.metrics.settings import Settings

THREADS: Final = 40
"""Requests that are served at once, at each address: more than one peer may have connections, so that nobody who is slow keeps
others out. One that is idle costs next to nothing."""
ROOM: Final = 4
"""Of these for /metrics, which may have to wait: there is always somebody to answer /healthz."""
FRESH: Final = 5.0
"""Seconds for which an answer of the loop is good: asking the systems again and again would cost what nobody needs."""
PATIENCE: Final = 8.0
"""Seconds that the loop has for its answer; Prometheus gives up after 10."""
FORMATS: Final = 4
"""Texts of one answer that are kept."""
LARGEST: Final = 1 << 10
"""Bytes of a request's body, which nobody needs."""

Answer = Mapping[str, Any]
Response = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class Ask(Protocol):
    """A question to the agent."""

    def __call__(self, verb: str, body: Mapping[str, Any], actor: str, patience: float = ...) -> Answer:
        """Its answer, or why there is none."""


class Metrics:
    """Belongs to the owner's thread; the server has threads of its own."""

    def __init__(self, settings: Settings) -> None:
        """Nothing listens yet."""
        self._settings = settings
        place = Place("metrics", "the metrics", settings.listen, settings.socket, settings.tls, THREADS, LARGEST)
        self._keeper = Doorkeeper(place)

    def begin(self, ask: Ask, health: Callable[[], Health]) -> None:
        """Listen, and try again where that cannot be had."""
        self._keeper.begin(lambda: Application(self._settings, ask, health))

    def close(self) -> None:
        """Stop listening."""
        self._keeper.close()

    def status(self) -> dict[str, Any]:
        """Where it listens, and why not. Any thread may ask."""
        return {"listens": self._keeper.listens}


class Application:
    """The WSGI application."""

    def __init__(self, settings: Settings, ask: Ask, health: Callable[[], Health]) -> None:
        """Nobody has asked."""
        self._settings, self._ask, self._health = settings, ask, health
        self._room, self._asking = threading.BoundedSemaphore(ROOM), threading.Lock()
        self._known: Answer = {}
        self._texts: dict[str, bytes] = {}
        """The same in the formats that were asked for."""
        self._until = 0.0

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        status, kind, body = self._answer(environ)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        headers += [("Allow", "GET, HEAD")] if status == HTTPStatus.METHOD_NOT_ALLOWED else []
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Mapping[str, Any]) -> Response:
        if environ.get("REMOTE_ADDR") and (refused := self._from_elsewhere(environ)):  # a unix socket has no address
            return refused
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "ask with GET")
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(str(environ.get("HTTP_ACCEPT", "")))
            case "/healthz":
                return self._healthz()
            case _:
                return _said(HTTPStatus.NOT_FOUND, "there are /metrics and /healthz")

    def _from_elsewhere(self, environ: Mapping[str, Any]) -> Response | None:
        """Why whoever came by TCP is told nothing; None where all is."""
        if not self._known_name(str(environ.get("HTTP_HOST", ""))):
            return _said(HTTPStatus.MISDIRECTED_REQUEST, "this address answers to its own name only")
        if self._settings.tls and self._settings.tls.client_ca_file and not environ.get("intake.names"):
            return _said(HTTPStatus.FORBIDDEN, "show a client certificate by an issuer of metrics: {tls: {client_ca_file: …}}")
        return None

    def _known_name(self, host: str) -> bool:
        """On loopback, a web page elsewhere may have made its own name lead here (DNS rebinding): it must not read along."""
        listen = self._settings.listen
        if listen is None or not listen.loopback:
            return True
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        return name.lower() in ("", "localhost", "127.0.0.1", "[::1]", listen.address, f"[{listen.address}]")

    def _healthz(self) -> Response:
        found = self._health()
        text = json.dumps(found.plain(), ensure_ascii=False) + "\n"
        return HTTPStatus.OK if found.well else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", text.encode()

    def _metrics(self, accept: str) -> Response:
        if not self._room.acquire(blocking=False):
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask at once")
        try:
            with self._asking:
                return self._fresh(accept)
        finally:
            self._room.release()

    def _fresh(self, accept: str) -> Response:
        """What the loop said a moment ago, or says now; that it said nothing counts as long."""
        if time.monotonic() >= self._until:
            self._known, self._texts = self._ask("metrics", {}, "metrics", PATIENCE), {}
            self._until = time.monotonic() + FRESH
        if "families" not in self._known:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, str(self._known.get("error", "the agent did not say why")))
        from prometheus_client.exposition import choose_encoder

        from agent.metrics.showing import registry

        encode, kind = choose_encoder(accept)
        if kind not in self._texts:
            kept = self._texts if len(self._texts) < FORMATS else {}  # a client may name any version of a format
            self._texts = {**kept, kind: encode(registry(self._known))}
        return HTTPStatus.OK, kind, self._texts[kind]


def _said(status: HTTPStatus, say: str) -> Response:
    return status, "text/plain; charset=utf-8", f"{say}\n".encode()
