"""The table `inet containment_host` in the kernel: read back, loaded, and tried with a packet."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from agent.kernel.netlink import Netlink
from agent.kernel.netlink_format import Element, attributes
from agent.schema import address
from agent.systems.perimeter_rules import FAMILIES, REFUSED, TABLE, Opening
from agent.systems.ruleset import OWNER

_TRIES: Final = 5
_PROBES: Final = {socket.AF_INET: "192.0.2.254", socket.AF_INET6: "2001:db8::fe"}
"""Documentation addresses (RFC 5737, RFC 3849), which belong to nobody."""
_DISCARD: Final = 9
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_FAMILY: Final = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}


@dataclass(frozen=True, slots=True)
class Seen:
    """The table at one generation of the ruleset. `comment` None: there is none; `armed`: seconds left, by family."""

    comment: str | None = None
    dormant: bool = False
    chains: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    armed: Mapping[str, float] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether there is such a table, and it is ours."""
        return self.comment == OWNER

    @property
    def anothers(self) -> str:
        """What is wrong where somebody else's table has our name; else nothing."""
        if self.comment in (None, OWNER):
            return ""
        return f"the table `inet {TABLE}` is there, and not ours (its comment is not `{OWNER}`)"

    @property
    def left(self) -> float:
        """Seconds until the host opens by itself, for the family that opens first."""
        return min(self.armed.get(family, 0.0) for family in FAMILIES)

    @property
    def unarmed(self) -> list[str]:
        """What is open although the rules may be there."""
        if self.dormant:
            return ["somebody made the table dormant: nothing is closed"]
        if not self.armed:
            return ["nothing is closed: the time it had in the kernel is over, or somebody disarmed it; the rules alone are left"]
        return [f"{family} is open: the kernel's switch for it is gone" for family in FAMILIES if not self.armed.get(family)]


def look() -> Seen:
    """Read the table, again where somebody changed the ruleset meanwhile. Each call has a socket of its own.

    Raises:
        Refused: the kernel does not let us read.
    """
    kernel = Netlink(TABLE)
    for _ in range(_TRIES):
        before = kernel.generation()
        seen = _look(kernel)
        if kernel.generation() == before:
            break
    return seen


def _look(kernel: Netlink) -> Seen:
    table = kernel.table()
    if table is None:
        return Seen()
    flags, comment = table
    if comment != OWNER:
        return Seen(comment)
    switches = kernel.dump("armed") if "armed" in kernel.sets() else []
    armed = {_FAMILY.get(one.key[0], ""): math.inf if one.left is None else one.left for one in switches}  # type: ignore[call-overload]
    return Seen(comment, bool(flags & 1), tuple(kernel.chains()), tuple(map(_rule, kernel.rules())), armed)


def _rule(raw: bytes) -> tuple[str, str]:
    """A rule's chain and comment (NFTA_RULE_CHAIN, and type 0 of the user data as libnftnl writes it: type, length, value)."""
    chain = comment = ""
    for kind, start, stop in attributes(raw, 0, len(raw)):
        if kind == 2:
            chain = raw[start:stop].rstrip(b"\0").decode(errors="replace")
        elif kind == 7:
            said = dict(_user_data(raw[start:stop]))
            comment = said.get(0, b"").rstrip(b"\0").decode(errors="replace")
    return chain, comment


def _user_data(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(raw):
        yield raw[at], raw[at + 2 : at + 2 + raw[at + 1]]
        at += 2 + raw[at + 1]


def escapes(openings: Sequence[Opening]) -> list[str]:
    """Send an empty packet to nobody, as a program that is not let out would; the kernel has to refuse it.

    A host that has no way there proves nothing, and nothing leaves it. What escaped is told, and otherwise nothing.
    """
    escaped = []
    for family, target in _PROBES.items():
        open_to_it = any(address(one.network).overlaps(address(target)) for one in openings)
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:  # EPERM is the kernel's refusal
            if not open_to_it:
                probe.sendto(b"", socket.MSG_DONTWAIT, (target, _DISCARD))
                escaped.append(f"a packet to {target} still left this host")
    return escaped


def refusals() -> list[dict[str, Any]]:
    """Everybody that was refused, with counters; without our own probes."""
    kernel = Netlink(TABLE)
    there = set(kernel.sets())
    found = [_refusal(name, one) for name in REFUSED if name in there for one in kernel.dump(name)]
    return [one for one in found if not (one.get("port") == _DISCARD and one.get("to") in _PROBES.values())]


def _refusal(name: str, one: Element) -> dict[str, Any]:
    """A key is an address, and for destinations the protocol and the port, each padded to four bytes."""
    family, width = (socket.AF_INET, 4) if name.endswith("4") else (socket.AF_INET6, 16)
    where, counted = socket.inet_ntop(family, one.key[:width]), {"packets": one.packets, "bytes": one.size}
    if name.startswith("refused_from"):
        return {"from": where, **counted}
    protocol = one.key[width]
    said = {"to": where, "protocol": _PROTOCOLS.get(protocol, str(protocol))}
    if name.startswith("refused_to"):
        return {**said, "port": int.from_bytes(one.key[width + 4 : width + 6], "big"), **counted}
    return {**said, **counted}
