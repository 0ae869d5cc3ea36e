"""Sees floods and full tables in the kernel's own counters. It costs less than 1 ms, and it names no address: the sources of a
flood are forged.

All rates are per second, over all ports of this network namespace (Linux, include/uapi/linux/snmp.h, net/ipv4/tcp_input.c).
`net.syn` is said each time, `net.udp` and `net.tables` while there is something to say, and once more when that is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final, NamedTuple

from agent.event import Event, Kind, Value
from agent.schema import About, Duration
from agent.streams.sensor import Deliver, Outlet, sensor
from agent.streams.usual import Usual

SYN: Final = Kind(
    "net.syn",
    "How many SYN cookies, refused and real connections per second the kernel counts.",
    {"cookies_rate": "number", "drops_rate": "number", "full_rate": "number", "retrans_rate": "number", "passive_rate": "number"},
    state=True,
)
"""`cookies_rate`: the queue of half-open connections was full, and a cookie was sent. `drops_rate`: connections to a listening
port were refused, for whatever reason; of them `full_rate` because that queue was full and cookies are off. `retrans_rate`:
SYNs, and answers to them, that were sent again. `passive_rate`: real connections."""
UDP: Final = Kind(
    "net.udp",
    "How many UDP packets per second came, how many nobody wanted, and how many a program was too slow for.",
    {
        "pps": "number",
        "no_port_rate": "number",
        "full_rate": "number",
        "port": "port",
        "usual": "number",
        "times": "number",
    },
    state=True,
)
"""`pps` is all of them, `no_port_rate` those to closed ports, `full_rate` those for which a socket's buffer had no room; `port`
is where most of the latter went, absent where there were none. `usual` is the median of pps over the last hour, `times` how many
times that (1 at least) this is; both are absent for ten minutes after a start."""
TABLES: Final = Kind(
    "net.tables",
    "How full the kernel's tables of connections are.",
    {
        "conntrack": "integer",
        "conntrack_share": "number",
        "tcp_inuse": "integer",
        "tcp_orphans": "integer",
        "tcp_timewait": "integer",
    },
    state=True,
)
"""`conntrack_share` is the used part of nf_conntrack_max; 0 where connections are not tracked."""

COUNTERS: Final = {
    "cookies_rate": ("TcpExt.TCPReqQFullDoCookies",),
    "drops_rate": ("TcpExt.ListenDrops",),
    "full_rate": ("TcpExt.TCPReqQFullDrop",),
    "retrans_rate": ("TcpExt.TCPSynRetrans",),
    "passive_rate": ("Tcp.PassiveOpens",),
    "udp_in": ("Udp.InDatagrams", "Udp6InDatagrams"),
    "udp_no_port": ("Udp.NoPorts", "Udp6NoPorts"),
    "udp_full": ("Udp.RcvbufErrors", "Udp6RcvbufErrors"),
}
"""What each rate is the sum of. Other UDP errors count neither in InDatagrams nor as a flood."""
_NET: Final = Path("/proc/net")
_CONNTRACK: Final = Path("/proc/sys/net/netfilter")
_LOUD: Final = 100.0
"""UDP packets per second from which they are told of."""
_CROWDED: Final = 0.5
"""Share of the table of tracked connections from which it is told of."""
_MOST_SOCKETS: Final = 1 << 20
"""Bytes of the list of UDP sockets that are read."""


@sensor
class Kernel:
    """The kernel's network counters, looked at `every` few seconds."""

    anchors: ClassVar[bool] = False

    every: Annotated[Duration, About("look so often, as in 5s")] = timedelta(seconds=5)

    @property
    def source(self) -> str:
        """`kernel`."""
        return "kernel"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Say the rates until stopped. There is no position: what was not looked at has passed."""
        outlet, looking = Outlet(self.source, deliver), None
        while True:
            try:
                looking = looking or Looking(wanted)
                said = list(looking.at(look(), time.time()))
            except OSError as error:
                outlet.tell(ok=False, say=f"cannot read {error.filename}: {error.strerror}")
                looking = None
            else:
                outlet.send(said, lines=1)
                outlet.tell(ok=True, say="reads the kernel's network counters")
            if stop.wait(self.every.total_seconds()):
                return


# What is read ---------------------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """The counters by our names, at a moment of the monotonic clock; and how full the tables are now."""

    at: float
    counters: Mapping[str, int]
    tables: Mapping[str, Value]


def look() -> Sample:
    """One sample.

    Raises:
        OSError: /proc cannot be read.
    """
    return Sample(time.monotonic(), counters(), tables())


def counters() -> dict[str, int]:
    """What the rates are made of, by our names; a counter that this kernel has not is 0.

    Raises:
        OSError: /proc cannot be read.
    """
    known = _pairs((_NET / "netstat").read_text()) | _pairs((_NET / "snmp").read_text())
    if (_NET / "snmp6").exists():  # IPv6 may be switched off
        known |= {name: int(value) for name, value in (line.split() for line in (_NET / "snmp6").read_text().splitlines())}
    return {ours: sum(known.get(one, 0) for one in theirs) for ours, theirs in COUNTERS.items()}


def _pairs(text: str) -> dict[str, int]:
    """Pairs of lines, `Tcp: Name Name …` and `Tcp: 1 2 …`, as `Tcp.Name` → number."""
    found = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group = names.partition(":")[0]
        for name, value in zip(names.split()[1:], values.split()[1:], strict=False):
            found[f"{group}.{name}"] = int(value)
    return found


def tables() -> dict[str, Value]:
    """The fields of `net.tables`.

    Raises:
        OSError: /proc cannot be read.
    """
    sockets = {line.split(":")[0]: line.split()[1:] for line in (_NET / "sockstat").read_text().splitlines()}
    tcp = dict(zip(sockets["TCP"][::2], map(int, sockets["TCP"][1::2]), strict=False))
    used, room = (_number(_CONNTRACK / f"nf_conntrack_{name}") for name in ("count", "max"))
    return {
        "conntrack": used,
        "conntrack_share": round(used / room, 4) if room else 0.0,
        "tcp_inuse": tcp.get("inuse", 0),
        "tcp_orphans": tcp.get("orphan", 0),
        "tcp_timewait": tcp.get("tw", 0),
    }


def _number(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def drops() -> dict[int, int]:
    """Packets that each UDP port had no room for since its sockets were opened: the last column of /proc/net/udp (proc(5)).

    Raises:
        OSError: /proc cannot be read.
    """
    found: dict[int, int] = {}
    for table in ("udp", "udp6"):
        if not (_NET / table).exists():
            continue
        with (_NET / table).open(encoding="ascii") as lines:
            next(lines, None)
            for line in lines.read(_MOST_SOCKETS).splitlines():
                words = line.split()
                if len(words) > 12 and words[-1] != "0":
                    port = int(words[1].rpartition(":")[2], 16)
                    found[port] = found.get(port, 0) + int(words[-1])
    return found


# What is said ---------------------------------------------------------------------------------------------------------


class Looking:
    """From one sample to the next: the rates, what is usual, and what was told of the last time."""

    def __init__(self, wanted: frozenset[str] | None = None) -> None:
        """Nothing was seen yet; `wanted` are the kinds to say, None all.

        Raises:
            OSError: /proc cannot be read.
        """
        self._wanted = wanted
        self._before: Sample | None = None
        self._usual = Usual()
        self._drops: Mapping[int, int] = drops()
        self._told: set[str] = set()

    def at(self, now: Sample, seen: float) -> Iterator[Event]:
        """The events of one sample: none for the first, nor where a counter went back, which is a reset and no rate."""
        before, self._before = self._before, now
        grown = rates((before.at, before.counters), (now.at, now.counters)) if before else {}
        if not grown:
            return
        yield from self._say(SYN, {name: grown[name] for name in SYN.fields}, seen, loud=True)
        udp = self._udp(grown, now.at)
        yield from self._say(UDP, udp, seen, loud=float(str(udp["pps"])) >= _LOUD)
        yield from self._say(TABLES, now.tables, seen, loud=float(str(now.tables["conntrack_share"])) >= _CROWDED)

    def _say(self, kind: Kind, fields: Mapping[str, Value], seen: float, *, loud: bool) -> Iterator[Event]:
        if self._wanted is not None and kind.name not in self._wanted:
            return
        if loud or kind.name in self._told:
            yield Event(kind.name, seen, fields, "kernel", seen)
        (self._told.add if loud else self._told.discard)(kind.name)

    def _udp(self, grown: Mapping[str, float], now: float) -> dict[str, Value]:
        taken, unwanted, full = (grown[name] for name in ("udp_in", "udp_no_port", "udp_full"))
        pps = round(taken + unwanted + full, 2)
        fields: dict[str, Value] = {"pps": pps, "no_port_rate": unwanted, "full_rate": full}
        if full:
            before, self._drops = self._drops, drops()
            new = {port: number - before.get(port, 0) for port, number in self._drops.items()}
            port = max(new, key=new.__getitem__, default=0)
            fields |= {"port": port} if new.get(port, 0) > 0 else {}
        return fields | self._usual.compare(pps, now)


def rates(before: tuple[float, Mapping[str, int]], now: tuple[float, Mapping[str, int]]) -> dict[str, float]:
    """Per second; empty where a counter went back, which is a new namespace or a reset and no rate."""
    seconds = now[0] - before[0]
    grown = {name: value - before[1][name] for name, value in now[1].items()}
    if seconds <= 0 or min(grown.values()) < 0:
        return {}
    return {name: round(value / seconds, 2) for name, value in grown.items()}
