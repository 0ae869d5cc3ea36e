"""Sees a SYN flood in the kernel's own counters. It costs 0.1 ms, and it names no address: the sources of a flood are forged.

`cookies_rate` is TcpExt.TCPReqQFullDoCookies (the queue of half-open connections was full, a cookie was sent), `drops_rate` is
TcpExt.ListenDrops, which holds TCPReqQFullDrop too (Linux, net/ipv4/tcp_input.c), `passive_rate` is Tcp.PassiveOpens: real
connections. All per second, over all ports of this network namespace.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from agent.event import Event, Kind, Value
from agent.schema import Duration
from agent.streams.sensor import Deliver, Outlet, sensor

SYN: Final = Kind(
    "net.syn",
    "How many SYN cookies, refused and real connections per second the kernel counts.",
    {"cookies_rate": "number", "drops_rate": "number", "passive_rate": "number"},
    state=True,
)

_COUNTERS: Final = {
    "cookies_rate": "TcpExt.TCPReqQFullDoCookies",
    "drops_rate": "TcpExt.ListenDrops",
    "passive_rate": "Tcp.PassiveOpens",
}
_FILES: Final = (Path("/proc/net/netstat"), Path("/proc/net/snmp"))


@sensor
class Kernel:
    """The kernel's network counters, looked at `every` few seconds."""

    anchors: ClassVar[bool] = False

    every: Duration = timedelta(seconds=5)

    @property
    def source(self) -> str:
        """`kernel`."""
        return "kernel"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Say the rates until stopped. There is no position: what was not looked at has passed."""
        outlet = Outlet(self.source, deliver)
        before: tuple[float, Mapping[str, int]] | None = None
        while True:
            try:
                now = (time.monotonic(), counters())
            except OSError as error:
                outlet.tell(ok=False, say=f"cannot read {error.filename}: {error.strerror}")
                before = None
            else:
                if before is not None and (fields := rates(before, now)):
                    outlet.send([Event(SYN.name, time.time(), fields, self.source, time.time())], lines=1)
                outlet.tell(ok=True, say="reads the kernel's network counters")
                before = now
            if stop.wait(self.every.total_seconds()):
                return


def counters() -> dict[str, int]:
    """What the rates are made of, by our names; a counter that this kernel has not is 0.

    Raises:
        OSError: /proc cannot be read.
    """
    known = {name: value for path in _FILES for name, value in _table(path.read_text()).items()}
    return {ours: known.get(theirs, 0) for ours, theirs in _COUNTERS.items()}


def _table(text: str) -> dict[str, int]:
    """Pairs of lines, `Tcp: Name Name …` and `Tcp: 1 2 …`, as `Tcp.Name` → number."""
    found = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group = names.partition(":")[0]
        for name, value in zip(names.split()[1:], values.split()[1:], strict=False):
            found[f"{group}.{name}"] = int(value)
    return found


def rates(before: tuple[float, Mapping[str, int]], now: tuple[float, Mapping[str, int]]) -> dict[str, Value]:
    """Per second; empty where a counter went back, which is a new namespace or a reset and no rate."""
    seconds = now[0] - before[0]
    grown = {name: value - before[1][name] for name, value in now[1].items()}
    if seconds <= 0 or min(grown.values()) < 0:
        return {}
    return {name: round(value / seconds, 2) for name, value in grown.items()}
