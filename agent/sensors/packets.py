"""Sees who sends many UDP or ICMP packets: the kernel counts by source, in an nftables table of the agent's own.

A packet's source is whatever its sender wrote, so `from` is text, which no action takes as an address: not even where that
address has a connection open here, since then the flood would choose which client is blocked. Slow the port instead.

The table `inet containment_packets` holds 16,384 sources of IPv4 and of IPv6 (4 MiB); further ones are not counted. A source is
forgotten 30 s after its last packet. The table drops nothing; it goes when the sensor ends, and a dead agent's is harmless:
nft delete table inet containment_packets
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, ClassVar, Final

from pydantic import Field

from agent.action import CannotReach
from agent.event import Event, Kind, Value
from agent.kernel import nft
from agent.kernel.netlink import Netlink, Refused
from agent.schema import About, Duration
from agent.streams.sensor import Backoff, Deliver, Outlet, sensor

PACKETS: Final = Kind(
    "net.packets",
    "UDP or ICMP packets per second from one source, as it calls itself.",
    {"from": "text", "protocol": "text", "pps": "number", "share": "number", "sources": "integer"},
    state=True,
)
"""`share` is its part of all packets that were counted, `sources` how many sources there were."""

TABLE: Final = "containment_packets"
_OWNER: Final = "containment-agent"
_MOST: Final = 16_384
_MOST_TOLD: Final = 50
_PROTOCOLS: Final = {socket.IPPROTO_UDP: "udp", socket.IPPROTO_ICMP: "icmp", socket.IPPROTO_ICMPV6: "icmp"}
_SETS: Final = ("from4", "from6")
_RULES: Final = f"""
add table inet {TABLE}
delete table inet {TABLE}
add table inet {TABLE} {{ comment "{_OWNER}"; }}
add set inet {TABLE} from4 {{ type ipv4_addr . inet_proto; flags dynamic,timeout; timeout 30s; size {_MOST}; }}
add set inet {TABLE} from6 {{ type ipv6_addr . inet_proto; flags dynamic,timeout; timeout 30s; size {_MOST}; }}
add chain inet {TABLE} arriving {{ type filter hook prerouting priority -320; policy accept; }}
add rule inet {TABLE} arriving iif lo accept
add rule inet {TABLE} arriving meta l4proto != {{ udp, icmp, ipv6-icmp }} accept
add rule inet {TABLE} arriving update @from4 {{ ip saddr . meta l4proto counter }} accept
add rule inet {TABLE} arriving update @from6 {{ ip6 saddr . meta l4proto counter }} accept
"""
_GONE: Final = (errno.ENOENT, errno.ERESTART)


@sensor
class Packets:
    """UDP and ICMP packets by source, looked at `every` few seconds; sources with `pps` per second are told of."""

    anchors: ClassVar[bool] = False

    every: Annotated[Duration, About("look so often, as in 10s")] = timedelta(seconds=10)
    pps: Annotated[Annotated[int, Field(ge=1)], About("tell of sources with so many packets per second or more", "500")] = 500

    @property
    def source(self) -> str:
        """`packets`."""
        return "packets"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Count until stopped; what was not looked at has passed."""
        outlet, backoff = Outlet(self.source, deliver), Backoff()
        while not stop.is_set():
            try:
                count(self, outlet, stop, backoff)
            except CannotReach as error:
                outlet.tell(ok=False, say=f"cannot count packets: {error}")
                backoff.wait(stop)
        with suppress(CannotReach):
            unload()


def count(sensor: Packets, outlet: Outlet, stop: threading.Event, backoff: Backoff) -> None:
    """Load the table, and look at it until stopped, or until somebody took it away.

    Raises:
        CannotReach: the kernel refuses, or a table of somebody else's has our name.
    """
    load()
    kernel, telling = Netlink(TABLE), Telling(sensor.pps)
    while True:
        try:
            now = counts(kernel)
        except Refused as error:
            if error.code not in _GONE:
                raise
            outlet.tell(ok=False, say="somebody took the table away that counts packets; it is made anew")
            backoff.wait(stop)
            return
        outlet.send(list(telling.of(now, time.monotonic(), time.time())), lines=1)
        outlet.tell(ok=True, say="counts UDP and ICMP packets by source")
        backoff.reset()
        if stop.wait(sensor.every.total_seconds()):
            return


# The table ------------------------------------------------------------------------------------------------------------


def load() -> None:
    """Make the table anew.

    Raises:
        CannotReach: the kernel refuses, or a table of somebody else's has our name.
    """
    if (there := Netlink(TABLE).table()) and there[1] != _OWNER:
        raise CannotReach(f"cannot use the table `inet {TABLE}`: it is somebody else's; rename it, or remove it")
    nft.run(_RULES)


def unload() -> None:
    """Take the table away, if it is ours.

    Raises:
        CannotReach: the kernel refuses.
    """
    if (there := Netlink(TABLE).table()) and there[1] == _OWNER:
        nft.run(f"delete table inet {TABLE}\n")


def counts(kernel: Netlink) -> dict[bytes, int]:
    """Packets by address and protocol, as the sets' keys have them, since each began to send.

    Raises:
        Refused: the table is gone, or the kernel does not let us read.
    """
    return {one.key: one.packets for name in _SETS for one in kernel.dump(name)}


# What is said ---------------------------------------------------------------------------------------------------------


class Telling:
    """From one look to the next: who sends much, and who did the last time."""

    def __init__(self, least: int) -> None:
        """Nothing was seen yet; sources are told of from `least` packets per second on."""
        self._least = least
        self._before: tuple[float, Mapping[bytes, int]] | None = None
        self._told: set[bytes] = set()

    def of(self, now: Mapping[bytes, int], at: float, seen: float) -> Iterator[Event]:
        """The events of one look: `at` is monotonic, `seen` Unix seconds."""
        before, self._before = self._before, (at, now)
        if before is None or at <= before[0]:
            return
        # A source that was forgotten meanwhile counts from nothing again.
        new = {key: count - known if count >= (known := before[1].get(key, 0)) else count for key, count in now.items()}
        seconds, total = at - before[0], max(sum(new.values()), 1)
        loud = sorted((key for key, count in new.items() if count / seconds >= self._least), key=lambda key: -new[key])
        told = set(loud[:_MOST_TOLD])
        sources = sum(1 for count in new.values() if count)
        for key in sorted(told | self._told):
            number = new.get(key, 0)
            fields: dict[str, Value] = {"from": str(ip_address(key[:-4])), "protocol": _PROTOCOLS.get(key[-4], str(key[-4]))}
            fields |= {"pps": round(number / seconds, 2), "share": round(number / total, 4), "sources": sources}
            yield Event(PACKETS.name, seen, fields, "packets", seen)
        self._told = told
