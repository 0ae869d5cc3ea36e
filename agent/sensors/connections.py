"""Sees who holds many connections, and which listening ports cannot keep up: from the kernel's own tables, by netlink.

A quiet host costs 0.3 ms a look: while it has fewer TCP sockets than `least`, only those that listen are asked for. Sources are
those of open connections to ports that this host listens on: who has one has answered from its address, so it is not forged.
Said is what stands out, and once more when it does not any longer.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from agent.event import Event, Kind, Value
from agent.kernel.inet_diag import CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECEIVED, Socket, dump
from agent.schema import About, Duration
from agent.streams.sensor import Deliver, Outlet, sensor

CONNS: Final = Kind(
    "net.conns",
    "Open connections of one client to the ports that this host listens on.",
    {
        "src.ip": "address",
        "conns": "integer",
        "close_wait": "integer",
        "port": "port",
        "share": "number",
    },
    state=True,
)
"""`conns` are established, and of them `close_wait` ended by the client and not closed by our program; `port` is where most of
them go, `share` their part of all that are open here."""
LISTENING: Final = Kind(
    "net.listen",
    "A listening TCP port: how full its queue of connections is, and those that its program does not close.",
    {
        "port": "port",
        "queue": "integer",
        "room": "integer",
        "share": "number",
        "conns": "integer",
        "half_open": "integer",
        "close_wait": "integer",
        "close_wait_rate": "number",
    },
    state=True,
)
"""`queue` of `room` connections wait to be accepted, `share` is the one by the other; beyond 1 the kernel refuses further ones.
`half_open` have yet to answer. `close_wait` were ended by the client and not closed by the program, `close_wait_rate` is how
many more of these there are, per second."""

_MAPPED: Final = bytes(10) + b"\xff\xff"
"""What an IPv6 socket puts before the address of an IPv4 client: ::ffff:192.0.2.1."""
_LOOPBACK: Final = 127
_LOOPBACK6: Final = bytes(15) + b"\1"
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_STATES: Final = (ESTABLISHED, CLOSE_WAIT, SYN_RECEIVED)
_SOCKSTAT: Final = (Path("/proc/net/sockstat"), Path("/proc/net/sockstat6"))
MOST_SOCKETS: Final = 131_072
"""Sockets of each family that one look reads (1.3 s)."""
_MOST_TOLD: Final = 100
_MOST_PORTS: Final = 256
_FULL: Final = 0.5
_STUCK: Final = 50


@sensor
class Connections:
    """Connections by source and listening port, looked at `every` few seconds; sources with `conns` of them are told of."""

    anchors: ClassVar[bool] = False

    every: Annotated[Duration, About("look so often, as in 5s")] = timedelta(seconds=5)
    conns: Annotated[Annotated[int, Field(ge=1)], About("tell of sources with so many connections or more", "50")] = 50
    least: Annotated[Annotated[int, Field(ge=0)], About("tell of a listening port from so many connections on", "100")] = 100

    @property
    def source(self) -> str:
        """`connections`."""
        return "connections"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Look until stopped. There is no position: what was not looked at has passed."""
        outlet, telling = Outlet(self.source, deliver), Telling(self.conns, wanted)
        while True:
            try:
                seen = look(self.least)
            except OSError as error:
                say = f"cannot ask the kernel for its sockets: {error.strerror or error}"
                outlet.tell(ok=False, say=f"{say}; on a kernel with modules: modprobe tcp_diag")
            else:
                outlet.send(list(telling.of(seen, time.monotonic(), time.time())), lines=1)
                outlet.tell(ok=True, say="reads the kernel's TCP sockets", forgotten=seen.unread)
            if stop.wait(self.every.total_seconds()):
                return


# What is read ---------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """One look. `clients` counts by address and port, `waiting` those of them in CLOSE_WAIT by address, the rest by port."""

    queues: dict[int, tuple[int, int]] = field(default_factory=dict)
    clients: Counter[tuple[bytes, int]] = field(default_factory=Counter)
    waiting: Counter[bytes] = field(default_factory=Counter)
    open: Counter[int] = field(default_factory=Counter)
    half_open: Counter[int] = field(default_factory=Counter)
    close_wait: Counter[int] = field(default_factory=Counter)
    unread: int = 0

    def add(self, one: Socket) -> None:
        """Count one socket in, unless we opened it."""
        if one.port not in self.queues:
            return
        if one.state == SYN_RECEIVED:
            self.half_open[one.port] += 1  # its address may be forged
            return
        peer, ended = one.peer.removeprefix(_MAPPED), one.state == CLOSE_WAIT
        self.open[one.port] += 1
        self.close_wait[one.port] += ended
        if one.peer != one.address and peer[0] != _LOOPBACK and peer != _LOOPBACK6:  # a proxy of our own is no client
            self.clients[peer, one.port] += 1
            self.waiting[peer] += ended


def look(least: int = 0) -> Seen:
    """The listening ports, and the connections to them where there are `least` TCP sockets.

    Raises:
        OSError: the kernel does not say.
    """
    seen = Seen()
    for family in _FAMILIES:
        for one in dump(family, (LISTEN,)):
            known = seen.queues.get(one.port, (0, 1))
            seen.queues[one.port] = max(known, (one.queue, max(one.room, 1)), key=lambda pair: pair[0] / pair[1])
    if inuse() >= least:
        for family in _FAMILIES:
            sockets = dump(family, _STATES)
            for one in islice(sockets, MOST_SOCKETS):
                seen.add(one)
            seen.unread += next(sockets, None) is not None
    return seen


def inuse() -> int:
    """How many TCP sockets this network namespace has, for next to nothing; those half open are not among them."""
    return sum(
        int(line.split()[2])
        for path in _SOCKSTAT
        if path.exists()
        for line in path.read_text().splitlines()
        if line.startswith(("TCP:", "TCP6:"))
    )


# What is said ---------------------------------------------------------------------------------------------------------


class Telling:
    """From one look to the next: who stands out, and who did the last time."""

    def __init__(self, least: int, wanted: frozenset[str] | None = None) -> None:
        """Nothing was seen yet; sources are told of from `least` connections on. `wanted` are the kinds to say, None all."""
        self._least, self._wanted = least, wanted
        self._sources: set[bytes] = set()
        self._ports: set[int] = set()
        self._before: tuple[float, Mapping[int, int]] = (0.0, {})

    def of(self, seen: Seen, now: float, at: float) -> Iterator[Event]:
        """The events of one look: `now` is monotonic, `at` Unix seconds."""
        for kind, rows in ((LISTENING, self._listening(seen, now)), (CONNS, self._conns(seen))):
            for fields in rows:
                if self._wanted is None or kind.name in self._wanted:
                    yield Event(kind.name, at, fields, "connections", at)

    def _listening(self, seen: Seen, now: float) -> Iterator[dict[str, Value]]:
        (then, before), self._before = self._before, (now, dict(seen.close_wait))
        full = {port for port, (queue, room) in seen.queues.items() if queue / room >= _FULL}
        stuck = {port for port, number in seen.close_wait.items() if number >= _STUCK}
        told = set(sorted(full | stuck)[:_MOST_PORTS])
        for port in sorted(told | (self._ports & seen.queues.keys())):
            queue, room = seen.queues[port]
            more = (seen.close_wait[port] - before.get(port, 0)) / (now - then) if then and now > then else 0.0
            yield {
                "port": port,
                "queue": queue,
                "room": room,
                "share": round(queue / room, 4),
                "conns": seen.open[port],
                "half_open": seen.half_open[port],
                "close_wait": seen.close_wait[port],
                "close_wait_rate": round(more, 2),
            }
        self._ports = told

    def _conns(self, seen: Seen) -> Iterator[dict[str, Value]]:
        by_source: Counter[bytes] = Counter()
        for (peer, _), number in seen.clients.items():
            by_source[peer] += number
        total = max(by_source.total(), 1)
        busiest = (peer for peer, number in by_source.most_common(_MOST_TOLD) if number >= self._least)
        told = set(busiest)
        ports = _busiest_port(seen, told)
        for peer in sorted(told | self._sources):
            number = by_source[peer]
            fields: dict[str, Value] = {"src.ip": str(ip_address(peer)), "conns": number, "close_wait": seen.waiting[peer]}
            fields |= {"share": round(number / total, 4)}
            yield fields | ({"port": ports[peer]} if peer in ports else {})
        self._sources = told


def _busiest_port(seen: Seen, told: set[bytes]) -> dict[bytes, int]:
    found: dict[bytes, tuple[int, int]] = {}
    for (peer, port), number in seen.clients.items():
        if peer in told:
            found[peer] = max(found.get(peer, (0, 0)), (number, port))
    return {peer: port for peer, (_, port) in found.items()}
