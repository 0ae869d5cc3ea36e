"""The table `inet containment`: its sets, its rules, and how an element of each set is written. Pure.

The rules never change while blocks come and go; a block is an element with a timeout, so that the kernel lets go by itself
when the agent is dead. What is asked for stands in these sets, for IPv4 (4) and IPv6 (6):

    hosts4 hosts6        single addresses: everything from and to them is dropped
    slash64              IPv6 networks of /64, which is what one customer gets
    ports4 ports6        address and port: only what goes to that TCP or UDP port of ours, and its replies
    asked4 asked6        networks as they were asked for, with their length and port (0 for all); no rule reads them
    nets4 nets6          the same networks cut into disjoint intervals (intervals.py); rules read these
    portnets4 portnets6  the same for networks with ports
    *_out4 *_out6        the same five for egress: dropped is what is sent to them, with ports to those of theirs
    allow4 allow6        never dropped; read only for packets that a block would drop, and so free for all others

Prerouting -310 is before address translation and sees traffic to containers, which an input hook does not. Postrouting 310
stops what we send, on flows that are open already too. A set keeps its name and shape for ever: a new shape is a new name,
so that a newer agent takes over the elements that are there.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from agent.schema import Address

TABLE: Final = "containment"
OWNER: Final = "containment-agent"
"""The table's comment: ours is adopted, another's is never touched."""

Field = Literal["ip", "ip6", "port", "length", "family"]
_TYPES: Final = {"ip": "ipv4_addr", "ip6": "ipv6_addr", "port": "inet_service", "length": "inet_service", "family": "nf_proto"}
_WIDTHS: Final = {"ip": 4, "ip6": 16, "port": 4, "length": 4, "family": 1}
PORT: Final = struct.Struct(">H2x")
"""A part of a joined key is padded to four bytes."""
MOST_HOSTS: Final = 131072
MOST_NETWORKS: Final = 16384


@dataclass(frozen=True, slots=True)
class Layout:
    """What a set's key is made of, what else it declares, and how many elements we put into it."""

    fields: tuple[Field, ...]
    options: str
    most: int = MOST_HOSTS

    def declare(self, name: str) -> str:
        """The line that makes the set, or does nothing where it is there."""
        joined = " . ".join(_TYPES[one] for one in self.fields)
        return f"add set inet {TABLE} {name} {{ type {joined}; {self.options} }}"

    def spell(self, key: bytes) -> str:
        """A key as nft writes it."""
        words, at = [], 0
        for one in self.fields:
            words.append(_spell(one, key[at : at + _WIDTHS[one]]))
            at += _WIDTHS[one]
        return " . ".join(words)


def _spell(field: Field, raw: bytes) -> str:
    if field == "ip":
        return socket.inet_ntop(socket.AF_INET, raw)
    if field == "ip6":
        return socket.inet_ntop(socket.AF_INET6, raw)
    if field == "family":
        return "ipv4" if raw[0] == socket.AF_INET else "ipv6"
    return str(PORT.unpack(raw)[0])


_HASH: Final = f"flags timeout; counter; size {MOST_HOSTS};"


def _group(behind: str, address: Field) -> dict[str, Layout]:
    ranges = f"flags interval,timeout; counter; size {4 * MOST_NETWORKS};"  # older kernels count both borders of each piece
    return {
        f"hosts{behind}": Layout((address,), _HASH),
        f"ports{behind}": Layout((address, "port"), _HASH),
        f"asked{behind}": Layout((address, "length", "port"), f"flags timeout; size {MOST_NETWORKS};", MOST_NETWORKS),
        f"nets{behind}": Layout((address,), ranges, 2 * MOST_NETWORKS),
        f"portnets{behind}": Layout((address, "port"), ranges, 2 * MOST_NETWORKS),
    }


SETS: Final[dict[str, Layout]] = {
    **_group("4", "ip"),
    **_group("6", "ip6"),
    **_group("_out4", "ip"),
    **_group("_out6", "ip6"),
    "slash64": Layout(("ip6",), _HASH),
    "allow4": Layout(("ip",), "flags interval;"),
    "allow6": Layout(("ip6",), "flags interval;"),
}


def group(name: str) -> str:
    """What the sets of networks that belong together end with: 4, 6, _out4 or _out6."""
    return name.removeprefix("asked").removeprefix("port").removeprefix("nets")


# Where a block stands -------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """One element: the set it is in, and its key."""

    set: str
    key: bytes


def places(ip: Address, ports: Sequence[int] = (), *, egress: bool = False) -> tuple[Place, ...]:
    """Where a block of an address or network stands, or of what is sent there; one element for each port."""
    behind, start = f"{'_out' if egress else ''}{ip.version}", ip.network_address.packed
    if ip.prefixlen == ip.max_prefixlen:
        if not ports:
            return (Place("hosts" + behind, start),)
        return tuple(Place("ports" + behind, start + PORT.pack(port)) for port in ports)
    if behind == "6" and ip.prefixlen == 64 and not ports:
        return (Place("slash64", start),)
    asked = start + PORT.pack(ip.prefixlen)
    return tuple(Place("asked" + behind, asked + PORT.pack(port)) for port in ports or (0,))


class Asked(NamedTuple):
    """A key of asked4 or its kind, read: the network's first and last address as numbers, its length, and the port or 0."""

    start: int
    last: int
    length: int
    port: int


def asked(key: bytes) -> Asked:
    """Read a key of asked4 or its kind."""
    bits = 8 * (len(key) - 8)
    start, length = int.from_bytes(key[:-8], "big"), PORT.unpack(key[-8:-4])[0]
    return Asked(start, start + (1 << bits - length) - 1, length, PORT.unpack(key[-4:])[0])


# The rules ------------------------------------------------------------------------------------------------------------

_BASE: Final = """
add chain inet containment arriving { type filter hook prerouting priority -310; policy accept; }
add chain inet containment leaving { type filter hook postrouting priority 310; policy accept; }
"""
_PARTS: Final = ("from", "from_port", "to", "to_port", "drop_from", "drop_to")
_CHAINS: Final = ("arriving", "leaving", *(f"{part}{digit}" for digit in "46" for part in _PARTS))
_RULES: Final = """
arriving iif lo accept
arriving meta nfproto ipv4 goto from4
arriving meta nfproto ipv6 goto from6
from4 ip saddr @hosts4 goto drop_from4
from4 ip saddr @nets4 goto drop_from4
from4 meta l4proto tcp goto from_port4
from4 meta l4proto udp goto from_port4
from_port4 ip saddr . th dport @ports4 goto drop_from4
from_port4 ip saddr . th dport @portnets4 goto drop_from4
from6 ip6 saddr @hosts6 goto drop_from6
from6 ip6 saddr & ffff:ffff:ffff:ffff:: @slash64 goto drop_from6
from6 ip6 saddr @nets6 goto drop_from6
from6 meta l4proto tcp goto from_port6
from6 meta l4proto udp goto from_port6
from_port6 ip6 saddr . th dport @ports6 goto drop_from6
from_port6 ip6 saddr . th dport @portnets6 goto drop_from6
drop_from4 ip saddr @allow4 accept
drop_from4 drop
drop_from6 ip6 saddr @allow6 accept
drop_from6 drop
leaving oif lo accept
leaving meta nfproto ipv4 goto to4
leaving meta nfproto ipv6 goto to6
to4 ip daddr @hosts4 goto drop_to4
to4 ip daddr @nets4 goto drop_to4
to4 ip daddr @hosts_out4 goto drop_to4
to4 ip daddr @nets_out4 goto drop_to4
to4 meta l4proto tcp goto to_port4
to4 meta l4proto udp goto to_port4
to_port4 ip daddr . th sport @ports4 goto drop_to4
to_port4 ip daddr . th sport @portnets4 goto drop_to4
to_port4 ip daddr . th dport @ports_out4 goto drop_to4
to_port4 ip daddr . th dport @portnets_out4 goto drop_to4
to6 ip6 daddr @hosts6 goto drop_to6
to6 ip6 daddr & ffff:ffff:ffff:ffff:: @slash64 goto drop_to6
to6 ip6 daddr @nets6 goto drop_to6
to6 ip6 daddr @hosts_out6 goto drop_to6
to6 ip6 daddr @nets_out6 goto drop_to6
to6 meta l4proto tcp goto to_port6
to6 meta l4proto udp goto to_port6
to_port6 ip6 daddr . th sport @ports6 goto drop_to6
to_port6 ip6 daddr . th sport @portnets6 goto drop_to6
to_port6 ip6 daddr . th dport @ports_out6 goto drop_to6
to_port6 ip6 daddr . th dport @portnets_out6 goto drop_to6
drop_to4 ip daddr @allow4 accept
drop_to4 drop
drop_to6 ip6 daddr @allow6 accept
drop_to6 drop
"""
"""No rule holds a set without a name (`{ tcp, udp }`, `vmap { … }`). Replacing a rule replaces its nameless set, and a packet
that is on its way through the old rule at that moment finds the old set empty and passes (seen on 6.18: 1 of 40,000)."""


def text(chains: Iterable[str], more: Sequence[str], kept: Iterable[str]) -> str:
    """The whole ruleset for `nft -f -`, as one transaction: it makes what is missing and replaces every rule.

    Elements stay. `chains` are those that are there now: ours that are not wanted any more go, with their rules. `more` and
    `kept` are the lines and the chains of the limits.
    """
    gone = sorted(set(chains) - set(_CHAINS) - set(kept))
    lines = [f'add table inet {TABLE} {{ comment "{OWNER}"; }}']
    lines += [layout.declare(name) for name, layout in SETS.items()]
    lines += _BASE.split("\n")
    lines += [f"add chain inet {TABLE} {chain}" for chain in _CHAINS[2:]]
    lines += [f"flush chain inet {TABLE} {chain}" for chain in (*_CHAINS, *gone)]
    lines += [f"add rule inet {TABLE} {rule}" for rule in _RULES.strip().split("\n")]
    lines += more
    lines += [f"delete chain inet {TABLE} {chain}" for chain in gone]
    return "\n".join(lines) + "\n"
