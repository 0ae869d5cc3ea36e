"""The pages of a running agent: where they listen, who is logged in, and the thread that keeps the doors open."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.intake.listening import AGAIN, Door
from agent.intake.settings import Listen
from agent.messages import Asked
from agent.pages.sessions import LINK, Sessions
from agent.pages.settings import Settings
from agent.record import Record
from agent.stale_socket import clear

if TYPE_CHECKING:
    from agent.intake.wire import Server
    from agent.pages.site import Ask

log = logging.getLogger("agent")

THREADS: Final = 40
"""Requests that are served at once, at each address: more than one peer may have connections, so that nobody who is slow keeps
others out, and enough for orders that take a minute."""
GOODBYE: Final = 2.0
"""Seconds that answers under way have when the agent stops."""
VERB: Final = "web"


class Pages:
    """Belongs to the owner's thread; the server has threads of its own."""

    def __init__(self, settings: Settings, journal: Path) -> None:
        """Nothing listens yet."""
        self._settings, self._journal = settings, journal
        self._sessions = Sessions()
        self._stop = threading.Event()
        self._doors: list[Door] = []
        self._said: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def begin(self, ask: Ask) -> None:
        """Listen, and try again where that cannot be had; `ask` is how pages come to the agent."""
        self._thread = threading.Thread(target=self._run, args=(ask,), name="pages", daemon=True)
        self._thread.start()

    def _run(self, ask: Ask) -> None:
        from agent.pages.app import app
        from agent.pages.gate import Gate
        from agent.pages.site import Site

        settings = self._settings
        made = app(Site(ask, self._sessions, Gate(settings, self._sessions), self._journal, settings.address))
        if settings.listen:
            scheme = "https" if settings.tls else "http"
            self._doors.append(Door(f"{scheme}://{settings.listen}", partial(_remote, settings.listen, settings, made)))
        if settings.socket:
            self._doors.append(Door(f"unix:{settings.socket}", partial(_local, settings.socket, made)))
        while not self._stop.is_set():
            for one in self._doors:
                one.turn(time.monotonic())
                self._tell(one)
            self._stop.wait(AGAIN)
        if settings.socket and any(one.opened for one in self._doors if one.name.startswith("unix:")):
            settings.socket.unlink(missing_ok=True)  # first: later it may be the next agent's
        for one in self._doors:
            one.close()

    def _tell(self, door: Door) -> None:
        if door.why and door.why != self._said.get(door.name):
            log.warning("the pages: %s", door.why)
        self._said[door.name] = door.why

    def close(self) -> None:
        """Stop listening; everybody is logged out."""
        self._stop.set()
        if self._thread:
            self._thread.join(GOODBYE)

    def status(self) -> dict[str, Any]:
        """For people: where they are, where they listen, why not, and how many are logged in. Any thread may ask."""
        listens = {one.name: one.why for one in list(self._doors)}
        return {"address": self._settings.address, "listens": listens, "sessions": len(self._sessions)}

    def asked(self, message: Asked) -> tuple[Mapping[str, Any], Record | None]:
        """`contain web`: a link for whoever asks at the control socket, or the end of all their logins; and what is recorded."""
        actor, body = message.actor, message.body
        if not actor or actor == "unknown":
            return {"result": "refused", "because": "the kernel does not say who you are"}, None
        if body.get("logout"):
            return {"result": "ended", "sessions": self._sessions.end(actor)}, Record("web_left", {"actor": actor})
        if not any(one.opened for one in self._doors):
            why = "; ".join(one.why for one in self._doors if one.why) or "they do not listen yet"
            return {"result": "failed", "error": f"nobody would get to the pages now: {why}"}, None
        read_only = bool(body.get("read_only"))
        address = f"{self._settings.address}/login/{self._sessions.link(actor, read_only=read_only)}"
        answer = {"result": "made", "address": address, "seconds": LINK, "read_only": read_only}
        return answer, Record("web_link", {"actor": actor, "read_only": read_only})


def _ignored(_: str) -> None:
    """Connections of strangers that come to nothing are not counted here."""


def _server(address: str | tuple[str, int], application: Any) -> Server:
    from agent.intake.wire import Server
    from agent.pages.gate import LARGEST

    server = Server(address, application, _ignored, THREADS)
    server.max_request_body_size, server.called = LARGEST, "the pages"
    return server


def _remote(listen: Listen, settings: Settings, application: Any) -> Server:
    from agent.intake.tls import Certificate

    server = _server((listen.address, listen.port), application)
    if settings.tls:
        server.secure(Certificate(settings.tls))
    _bound(server.prepare, f"{listen}: is it an address of this host, and does nobody else listen there?")
    return server


def _local(path: Path, application: Any) -> Server:
    server = _server(str(path), application)
    clear(path, shorten="shorten pages: {socket: …}", mend="stop it, or write pages: {socket: …}")
    _bound(server.prepare, f"{path}: is its directory there, and may this user write it?")
    with suppress(OSError):
        path.chmod(0o666)  # for a proxy, whoever it runs as; people show who they are by their links
    return server


def _bound(prepare: Callable[[], None], where: str) -> None:
    try:
        prepare()
    except OSError as error:
        raise CannotReach(f"cannot listen on {where} ({error})") from error
