"""The system bus (D-Bus): one connection per question, cut off after its time, and errors that say what could not be done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach, InProgress
from agent.systems.cut_off import cut_off

if TYPE_CHECKING:
    from jeepney.io.blocking import DBusConnection

SYSTEM_BUS: Final = "unix:path=/run/dbus/system_bus_socket"
_DENIED: Final = ("AccessDenied", "InteractiveAuthorizationRequired")
_MEND: Final = "; run the agent as root, or write a polkit rule that lets its user do this"


class Refused(CannotReach):
    """The other side answered, and its answer is an error. `kind` is the last word of D-Bus's name for it: `NoSuchUnit`."""

    def __init__(self, text: str, kind: str) -> None:
        """Say so, with the kind beside the sentence."""
        super().__init__(text)
        self.kind = kind


class Bus:
    """An open connection to one service of the bus, for as long as `open_bus` allows."""

    def __init__(self, connection: DBusConnection, service: str, what: str, until: float) -> None:
        """Talk to `service`; `what` begins every error, `until` (monotonic) is when a wait gives up."""
        self._connection, self._service, self._what, self._until = connection, service, what, until

    def ask(self, path: str, method: str, signature: str = "", *args: Any) -> Any:
        """What a method answers: a tuple of its results. `method` is written with its interface.

        Raises:
            Refused: the answer is an error.
        """
        from jeepney import DBusAddress, DBusErrorResponse, new_method_call
        from jeepney.wrappers import unwrap_msg

        interface, _, verb = method.rpartition(".")
        message = new_method_call(DBusAddress(path, self._service, interface), verb, signature or None, args)
        try:
            return unwrap_msg(self._connection.send_and_get_reply(message))
        except DBusErrorResponse as error:
            kind = error.name.rpartition(".")[2]
            said = " ".join(map(str, error.data or ())).partition("; type=")[0]  # dbus-daemon goes on about both ends
            mend = _MEND if kind in _DENIED else ""
            raise Refused(f"cannot {self._what}: {kind}: {said}{mend}", kind) from error

    def properties(self, path: str) -> dict[str, Any]:
        """Every property of an object, of all its interfaces."""
        (found,) = self.ask(path, "org.freedesktop.DBus.Properties.GetAll", "s", "")
        return {name: value for name, (_, value) in found.items()}

    def run_job(self, manager: str, method: str, unit: str) -> str:
        """Have systemd do something with a unit, wait for its end, and return how it ended: `done`, `failed`, `timeout` ….

        Raises:
            Refused: systemd does not take it on.
            InProgress: it takes longer than this connection waits, and goes on without us.
        """
        from jeepney import MatchRule

        rule = MatchRule(type="signal", interface=method.rpartition(".")[0], member="JobRemoved", path=manager)
        ended: deque[Any] = deque()
        with self._connection.filter(rule, queue=ended):  # before the order, or a quick end would be missed
            self._connection.bus_proxy.AddMatch(rule)
            (job,) = self.ask(manager, method, "ss", unit, "replace")
            while True:
                try:
                    left = max(0.0, self._until - time.monotonic())
                    _, path, _, result = self._connection.recv_until_filtered(ended, timeout=left).body
                except TimeoutError:
                    raise InProgress(f"systemd is still at it: {method.rpartition('.')[2]} {unit}") from None
                if path == job:
                    return str(result)


@contextmanager
def open_bus(address: str, service: str, what: str, within: timedelta) -> Iterator[Bus]:
    """Connect, and be cut off if the block takes longer than `within`; waits for jobs end a fifth before that.

    Raises:
        CannotReach: there is no such bus, or no answer `within`.
    """
    started = time.monotonic()
    with closing(_connect(address, within)) as connection:
        try:
            with cut_off(connection.sock.fileno(), within):
                yield Bus(connection, service, what, started + within.total_seconds() * 0.8)
        except OSError as error:  # TimeoutError is one
            raise CannotReach(f"cannot {what}: {error}") from error


def _connect(address: str, within: timedelta) -> DBusConnection:
    from jeepney.auth import AuthenticationError
    from jeepney.io.blocking import DBusConnection, prep_socket

    path = address.removeprefix("unix:path=")
    try:
        wire = prep_socket(path, timeout=within.total_seconds())
    except AuthenticationError as error:
        raise CannotReach(f"cannot reach the system bus at {path}: it does not let this user in: {error}") from error
    except OSError as error:
        raise CannotReach(f"cannot reach the system bus at {path}: {error.strerror or error}; is dbus running?") from error
    try:
        with cut_off(wire.fileno(), within):  # jeepney says Hello without a limit of its own
            return DBusConnection(wire)
    except OSError as error:
        wire.close()
        raise CannotReach(f"cannot greet the system bus at {path}: {error}") from error
