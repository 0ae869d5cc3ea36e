"""Keeps the doors of a web server of ours open: its TCP address and unix socket, each tried again while it cannot be had."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.intake.listening import AGAIN, Door
from agent.intake.settings import Listen, Tls
from agent.stale_socket import clear

if TYPE_CHECKING:
    from agent.intake.wire import Server

log = logging.getLogger("agent")

GOODBYE: Final = 2.0
"""Seconds that answers under way have when the agent stops."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens. `key` is its key in agent.yaml, `called` what it is in the log.

    `threads` serve at each address at once; `largest` are the bytes that a request may bring.
    """

    key: str
    called: str
    listen: Listen | None
    socket: Path | None
    tls: Tls | None
    threads: int
    largest: int


class Doorkeeper:
    """A thread of its own. Nothing that becomes of it ends the agent."""

    def __init__(self, place: Place) -> None:
        """Nothing listens yet."""
        self._place, self._stop = place, threading.Event()
        self._doors: list[Door] = []
        self._said: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def begin(self, make: Callable[[], Any]) -> None:
        """Listen, and try again where that cannot be had; `make` gives the WSGI application, in the keeper's thread."""
        self._thread = threading.Thread(target=self._run, args=(make,), name=self._place.key, daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[], Any]) -> None:
        place, application = self._place, make()
        if place.listen:
            scheme = "https" if place.tls else "http"
            self._doors.append(Door(f"{scheme}://{place.listen}", partial(_remote, place.listen, place, application)))
        if place.socket:
            self._doors.append(Door(f"unix:{place.socket}", partial(_local, place.socket, place, application)))
        while not self._stop.is_set():
            for one in self._doors:
                one.turn(time.monotonic())
                self._tell(one)
            self._stop.wait(AGAIN)
        if place.socket and any(one.opened for one in self._doors if one.name.startswith("unix:")):
            place.socket.unlink(missing_ok=True)  # first: later it may be the next agent's
        for one in self._doors:
            one.close()

    def _tell(self, door: Door) -> None:
        if door.why and door.why != self._said.get(door.name):
            log.warning("%s: %s", self._place.called, door.why)
        self._said[door.name] = door.why

    @property
    def opened(self) -> bool:
        """Whether anybody could come in."""
        return any(one.opened for one in self._doors)

    @property
    def listens(self) -> dict[str, str]:
        """Where it listens → why not, or ''. Any thread may ask."""
        return {one.name: one.why for one in list(self._doors)}

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        if self._thread:
            self._thread.join(GOODBYE)


def _ignored(_: str) -> None:
    """Connections of strangers that come to nothing are not counted here."""


def _server(address: str | tuple[str, int], place: Place, application: Any) -> Server:
    from agent.intake.wire import Server

    server = Server(address, application, _ignored, place.threads)
    server.max_request_body_size, server.called = place.largest, place.called
    return server


def _remote(listen: Listen, place: Place, application: Any) -> Server:
    from agent.intake.tls import Certificate

    server = _server((listen.address, listen.port), place, application)
    if place.tls:
        server.secure(Certificate(place.tls))
    _bound(server.prepare, f"{listen}: is it an address of this host, and does nobody else listen there?")
    return server


def _local(path: Path, place: Place, application: Any) -> Server:
    server = _server(str(path), place, application)
    clear(path, shorten=f"shorten {place.key}: {{socket: …}}", mend=f"stop it, or write {place.key}: {{socket: …}}")
    _bound(server.prepare, f"{path}: is its directory there, and may this user write it?")
    with suppress(OSError):
        path.chmod(0o666)  # for a proxy or a collector, whoever it runs as; who may do what is not decided by the socket
    return server


def _bound(prepare: Callable[[], None], where: str) -> None:
    try:
        prepare()
    except OSError as error:
        raise CannotReach(f"cannot listen on {where} ({error})") from error
