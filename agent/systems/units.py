"""systemd's units, asked over D-Bus: one call for any number of them, no fork."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach, System
from agent.systems.cut_off import cut_off

if TYPE_CHECKING:
    from jeepney.io.blocking import DBusConnection

SYSTEM_BUS: Final = "unix:path=/run/dbus/system_bus_socket"
_SYSTEMD: Final = "org.freedesktop.systemd1"
_MANAGER: Final = "/org/freedesktop/systemd1"
_KINDS: Final = "service|socket|device|mount|automount|swap|target|path|timer|slice|scope"  # systemd.unit(5)
_NAME: Final = re.compile(rf"[A-Za-z0-9:_.\\@-]{{1,240}}\.({_KINDS})")


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as systemd has it. `result` says why a service failed, `restarts` how often systemd started it again by itself
    within the span that was asked about."""

    name: str
    load: str
    active: str
    sub: str
    result: str = ""
    restarts: int = 0


class Units(System):
    """The units of this host's systemd. Any user may read them."""

    name = "units"

    def __init__(self, bus: str = SYSTEM_BUS) -> None:
        self._bus = bus
        self._restarts: dict[str, deque[tuple[float, int]]] = {}

    def states(self, names: Sequence[str], *, restarts_within: timedelta, within: timedelta) -> list[UnitState]:
        """The state of each named unit, in order; one that does not exist is there with load `not-found`.

        Restarts are counted from the first time a unit was asked about.

        Raises:
            CannotReach: no system bus, no systemd on it, or no answer `within`; a name that no unit can have.
        """
        for name in names:
            if not _NAME.fullmatch(name):  # systemd leaves such a name out of its reply, and the rest would move up
                mend = "no unit has such a name; write it in full, as in nginx.service"
                raise CannotReach(f"cannot ask for the unit `{name}`: {mend}")
        with closing(self._connect(within)) as connection:
            try:
                with cut_off(connection.sock.fileno(), within):
                    return self._ask(connection, names, restarts_within)
            except OSError as error:  # TimeoutError is one
                raise CannotReach(f"cannot ask systemd: {error}") from error

    def _connect(self, within: timedelta) -> DBusConnection:
        from jeepney.io.blocking import DBusConnection, prep_socket

        path = self._bus.removeprefix("unix:path=")
        try:
            wire = prep_socket(path, timeout=within.total_seconds())
        except OSError as error:
            raise CannotReach(f"cannot reach the system bus at {path}: {error.strerror or error}; is dbus running?") from error
        try:
            with cut_off(wire.fileno(), within):  # jeepney says Hello without a limit of its own
                return DBusConnection(wire)
        except OSError as error:
            wire.close()
            raise CannotReach(f"cannot greet the system bus at {path}: {error}") from error

    def _ask(self, connection: DBusConnection, names: Sequence[str], restarts_within: timedelta) -> list[UnitState]:
        found = []
        (listed,) = _call(connection, _MANAGER, f"{_SYSTEMD}.Manager.ListUnitsByNames", "as", list(names))
        for asked, (_, _, load, active, sub, _, path, *_) in zip(names, listed, strict=True):
            service = load == "loaded" and asked.endswith(".service")
            result = _property(connection, path, "Result") if service and active == "failed" else ""
            restarts = self._note(asked, _property(connection, path, "NRestarts"), restarts_within) if service else 0
            found.append(UnitState(asked, load, active, sub, result, restarts))
        return found

    def _note(self, name: str, count: int, span: timedelta) -> int:
        """How far systemd's count rose within the span; it starts from 0 again when a person starts the unit."""
        now = time.monotonic()
        seen = self._restarts.setdefault(name, deque([(now, count)], maxlen=64))
        if count < seen[-1][1]:
            seen.clear()
        if not seen or count != seen[-1][1]:
            seen.append((now, count))
        before = [old for at, old in seen if at < now - span.total_seconds()]
        return count - (before[-1] if before else seen[0][1])


def _property(connection: DBusConnection, path: str, name: str) -> Any:
    ((_, value),) = _call(connection, path, "org.freedesktop.DBus.Properties.Get", "ss", f"{_SYSTEMD}.Service", name)
    return value


def _call(connection: DBusConnection, path: str, method: str, signature: str, *args: Any) -> Any:
    from jeepney import DBusAddress, DBusErrorResponse, new_method_call
    from jeepney.wrappers import unwrap_msg

    interface, _, verb = method.rpartition(".")
    message = new_method_call(DBusAddress(path, _SYSTEMD, interface), verb, signature, args)
    try:
        return unwrap_msg(connection.send_and_get_reply(message))
    except DBusErrorResponse as error:
        said = " ".join(map(str, error.data or ()))
        raise CannotReach(f"cannot ask systemd: {error.name.rpartition('.')[2]}: {said}") from error
