"""Where the intake listens: its unix socket and its TCP address, each tried again while it cannot be had."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.intake.settings import Listen, Settings, Tls
from agent.stale_socket import clear

if TYPE_CHECKING:
    from agent.intake.wire import Server

THREADS: Final = 16
"""Requests that are served at once, at each of both addresses."""
AGAIN: Final = 2.0
"""Seconds until an address that could not be had is tried again."""


class Door:
    """One address. `why` says why nobody can come in there, empty where they can."""

    def __init__(self, name: str, make: Callable[[], Server]) -> None:
        """Closed; `make` gives a server that is bound and listens."""
        self.name, self.why = name, "not tried yet"
        self._make, self._due = make, 0.0
        self._server: Server | None = None

    def turn(self, now: float) -> None:
        """Open it where it is closed and due; `now` is monotonic."""
        if self._server:
            self.why = self._server.trouble
            return
        if now < self._due:
            return
        self._due = now + AGAIN
        try:
            server = self._server = self._make()
        except CannotReach as error:
            self.why = str(error)
            return
        threading.Thread(target=server.serve, name=f"intake {self.name}", daemon=True).start()
        self.why = ""

    @property
    def opened(self) -> bool:
        """Whether anybody could come in."""
        return self._server is not None

    def close(self) -> None:
        """Stop listening; requests under way have been answered by then, or are cut off after a second."""
        if self._server:
            self._server.stop()


def doors(settings: Settings, application: Any, told: Callable[[str], None]) -> list[Door]:
    """Every address that agent.yaml names, the unix socket first."""
    found = [Door(f"unix:{settings.socket}", partial(_local, settings.socket, application, told))]
    if settings.listen:
        name = f"{'https' if settings.tls else 'http'}://{settings.listen}"
        found.append(Door(name, partial(_remote, settings.listen, settings.tls, application, told)))
    return found


def _local(path: Path, application: Any, told: Callable[[str], None]) -> Server:
    from agent.intake.wire import Server

    server = Server(str(path), application, told, THREADS)
    clear(path, shorten="shorten intake: {socket: …}", mend="stop it, or write intake: {socket: …}")
    _bind(server, f"{path}: is its directory there, and may this user write it?")
    with suppress(OSError):
        path.chmod(0o666)  # who may send is decided for each sender, by what it shows
    return server


def _remote(listen: Listen, tls: Tls | None, application: Any, told: Callable[[str], None]) -> Server:
    from agent.intake.tls import Certificate
    from agent.intake.wire import Server

    server = Server((listen.address, listen.port), application, told, THREADS)
    if tls:
        server.secure(Certificate(tls))
    _bind(server, f"{listen}: is it an address of this host, and does nobody else listen there?")
    return server


def _bind(server: Server, where: str) -> None:
    try:
        server.prepare()
    except OSError as error:
        raise CannotReach(f"cannot listen on {where} ({error})") from error
