"""What a call to the firewall comes to: the elements it wants in the kernel, and for how long. Pure.

The last line before the kernel is here: what is too wide, over already or without end is refused, whoever asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from agent.action import CannotReach
from agent.schema import Address, spoken
from agent.systems.meter import HIGHEST, MOST_PORTS, Meter
from agent.systems.ruleset import Place, places

Per = Literal["source", "all", "again"]
_WIDEST: Final = {4: 8, 6: 19}
"""The shortest prefix that may be blocked. The guard's limits are tighter; this is the last line."""


class Wish(NamedTuple):
    """Elements that shall stay for `lasts` seconds (inf: for ever; 0: not at all; None: only asked about)."""

    places: tuple[Place, ...]
    lasts: float | None
    meter: Meter | None = None


def narrow(ip: Address, ports: Sequence[int], *, egress: bool = False) -> tuple[Place, ...]:
    """Where a block stands, if it is narrow enough to be one."""
    if ip.prefixlen < _WIDEST[ip.version]:
        raise CannotReach(
            f"cannot block {ip}: it is wider than /{_WIDEST[ip.version]} and would cut the host off; block what attacks"
        )
    _few(ports)
    return places(ip, ports, egress=egress)


def lasting(ttl: timedelta | None) -> float:
    """Seconds; inf for ever."""
    if ttl is None:
        return math.inf
    seconds = ttl.total_seconds()
    if seconds <= 0:
        raise CannotReach("cannot put into force what has ended already: its ttl is over")
    return seconds


def limiting(lasts: float | None, ip: Address | None, ports: Sequence[int], rps: int, burst: int, per: Per) -> Wish:
    """A limit on one address (a chain serves many of these), or on ports or a network (with a chain of its own)."""
    if ip is None and not ports:
        raise CannotReach("cannot limit everything: name an address, ports, or both")
    if not (0 < rps <= HIGHEST and 0 < burst <= HIGHEST):
        raise CannotReach(f"cannot limit to {rps} per second, {burst} at once: both are 1 to {HIGHEST}")
    _few(ports)
    listed = tuple(sorted(set(ports)))
    if ip is not None and ip.prefixlen == ip.max_prefixlen:
        meter = Meter("host", rps, burst, listed)
        return Wish(meter.places(ip), lasts, meter)
    meter = Meter(per, rps, burst, listed, ip)
    return Wish(meter.places(), lasts, meter)


def _few(ports: Sequence[int]) -> None:
    if len(ports) > MOST_PORTS:
        raise CannotReach(f"cannot name {len(ports)} ports in one call: at most {MOST_PORTS}")


def whom(ip: Address | None = None, ports: Sequence[int] = (), **_: object) -> str:
    """Whom a call is about, for sentences."""
    on = f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}" if ports else ""
    return " on ".join(part for part in (spoken(ip) if ip else "", on) if part)
