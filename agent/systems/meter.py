"""A rate limit as a part of the ruleset: its chain, its sets, and its name, which says all of it. Pure.

Any rate is possible, so the parts are made when a limit is first asked for; what switches a limit on is an element with a
timeout, so that it ends in the kernel. Four kinds, by what shares one allowance:

    host     one address; its chain serves every address with the same rate and ports, and each is an element
    source   each source on its own (IPv6 by /64), seen in the last 10 s, at most 65,536 of each family
    all      everybody together
    again    nobody is held to a rate: while more than that come, a connection opens only for who asks for it twice

A sender with a forged address never learns that its SYN was dropped, and does not send it again; a client does, after a
second (RFC 6298), and is let through. Between floods `again` drops nothing: the table `hot` says for 10 s that the rate was
exceeded, and who asked is remembered for 4 s by address and both ports (some ask again only after 3 s). It needs no
connection tracking, touches no open connection, and leaves nothing behind when it ends. A synproxy cannot say that (seen on
6.18): with nf_conntrack_tcp_loose=1 nobody gets through it; with 0 connections that are open are cut when it begins, and all
that were opened through it when it ends.

When a table of 65,536 sources is full, further sources pass: memory stays bounded (11 MiB), and `all` bounds the rest.
`again` remembers 131,072 of each family (25 MiB); SYNs beyond that pass as well, to the kernel's SYN cookies.
Counted are new TCP connections (SYN) and UDP packets. A limit over several ports is one allowance for all of them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from typing import Final, Literal

from agent.schema import Address
from agent.systems.ruleset import TABLE, Layout, Place

Per = Literal["host", "source", "all", "again"]
HIGHEST: Final = 1_000_000
MOST_PORTS: Final = 16
MOST_METERS: Final = 32
_SOURCES: Final = 65536
_HOSTS: Final = 16384
_ASKED: Final = 131072
_NAME: Final = re.compile(r"(host|source|all|again)_(\d+)_(\d+)_(any|[\d-]+)_(any|[0-9a-f./-]+?)(?:_(4|6|on|hot))?")
_FAMILIES: Final = (("4", "ip", "ip saddr", "ip saddr"), ("6", "ip6", "ip6 saddr", "ip6 saddr & ffff:ffff:ffff:ffff::"))


@dataclass(frozen=True, slots=True)
class Meter:
    """`rps` per second and `burst` at once, for new connections to `ports` (all when empty) from `net` (anywhere when None)."""

    per: Per
    rps: int
    burst: int
    ports: tuple[int, ...] = ()
    net: Address | None = None

    @property
    def name(self) -> str:
        """The chain's name, and the start of its sets' names. nft allows no colon in names."""
        ports = "-".join(map(str, self.ports)) or "any"
        net = str(self.net).replace(":", "-") if self.net else "any"
        return f"{self.per}_{self.rps}_{self.burst}_{ports}_{net}"

    @staticmethod
    @lru_cache(maxsize=256)
    def named(name: str) -> Meter | None:
        """The limit that a chain or set of this name belongs to, or None where it is none of ours."""
        found = _NAME.fullmatch(name)
        if not found:
            return None
        per, rps, burst, ports, net = found.groups()[:5]
        try:
            listed = () if ports == "any" else tuple(map(int, ports.split("-")))
            return Meter(per, int(rps), int(burst), listed, None if net == "any" else ip_network(net.replace("-", ":")))  # type: ignore[arg-type]
        except ValueError:
            return None

    def places(self, host: Address | None = None) -> tuple[Place, ...]:
        """The elements that switch the limit on."""
        if host is not None:
            return (Place(f"{self.name}_{host.version}", host.network_address.packed),)
        switches = {4: bytes([socket.AF_INET]), 6: bytes([socket.AF_INET6])}
        return tuple(
            Place(f"{self.name}_on", raw) for version, raw in switches.items() if not self.net or self.net.version == version
        )

    def sets(self) -> dict[str, Layout]:
        """The sets it needs, by name."""
        rate = f"limit rate over {self.rps}/second burst {self.burst} packets"
        if self.per == "host":
            options = f"flags timeout; {rate}; counter; size {_HOSTS};"
            return {f"{self.name}_{digit}": Layout((ip,), options, _HOSTS) for digit, ip, _, _ in _FAMILIES}  # type: ignore[arg-type]
        switch = {f"{self.name}_on": Layout(("family",), "flags timeout; counter; size 2;", 2)}
        if self.per == "all":
            return switch
        if self.per == "again":
            hot = Layout(("family",), "flags dynamic,timeout; timeout 10s; size 2;", 2)
            asked = f"flags dynamic,timeout; timeout 4s; size {_ASKED};"
            tables = {f"{self.name}_{digit}": Layout((ip, "port", "port"), asked, _ASKED) for digit, ip, _, _ in _FAMILIES}  # type: ignore[arg-type]
            return {**switch, f"{self.name}_hot": hot, **tables}
        options = f"flags dynamic,timeout; timeout 10s; size {_SOURCES};"
        return switch | {f"{self.name}_{digit}": Layout((ip,), options, _SOURCES) for digit, ip, _, _ in _FAMILIES}  # type: ignore[arg-type]

    def rules(self) -> list[str]:
        """The chain's rules. The switch is read last, so that its counter counts exactly what was dropped."""
        rate = f"limit rate over {self.rps}/second burst {self.burst} packets"
        if self.per == "host":
            return [f"{source} @{self.name}_{digit} drop" for digit, _, source, _ in _FAMILIES]
        dropped = f"meta nfproto @{self.name}_on drop"
        if self.per == "all":
            return [f"{rate} {dropped}"]
        if self.per == "again":
            return self._twice(rate, dropped)
        return [f"update @{self.name}_{digit} {{ {key} {rate} }} {dropped}" for digit, _, _, key in _FAMILIES]

    def _twice(self, rate: str, dropped: str) -> list[str]:
        asking = [(digit, f"{source} . tcp sport . tcp dport") for digit, _, source, _ in _FAMILIES]
        return [
            "meta l4proto != tcp return",
            f"{rate} update @{self.name}_hot {{ meta nfproto }}",
            f"meta nfproto != @{self.name}_hot return",
            *(f"{key} @{self.name}_{digit} return" for digit, key in asking),
            *(f"update @{self.name}_{digit} {{ {key} }} {dropped}" for digit, key in asking),
        ]

    def jump(self) -> str:
        """The rule that leads new connections into the chain."""
        ports = f"th dport {{ {', '.join(map(str, self.ports))} }} " if self.ports else ""
        source = f"{'ip' if self.net.version == 4 else 'ip6'} saddr {self.net} " if self.net else ""
        return f"{source}{ports}jump {self.name}"


def switch(name: str) -> Meter | None:
    """The limit whose switches a set of this name holds, or None: the sets that packets fill switch nothing."""
    meter = Meter.named(name)
    return meter if meter and (meter.per == "host" or name.endswith("_on")) else None


def text(live: Sequence[Meter], sets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Lines for the limits that are wanted, and their chains. Of `sets`, those that belong to other limits go."""
    stale = [name for name in sets if (meter := Meter.named(name)) and meter not in live]
    gone = [f"delete set inet {TABLE} {name}" for name in stale]
    if not live:
        return gone, []
    lines = [f"add chain inet {TABLE} limits {{ type filter hook prerouting priority -305; policy accept; }}"]
    lines += [layout.declare(name) for meter in live for name, layout in meter.sets().items()]
    lines += [f"add chain inet {TABLE} {meter.name}" for meter in live]
    lines += [f"flush chain inet {TABLE} {chain}" for chain in ("limits", *(meter.name for meter in live))]
    first = (
        "iif lo accept",
        "meta l4proto tcp tcp flags & (fin|syn|rst|ack) != syn accept",
        "meta l4proto != { tcp, udp } accept",
        "ip saddr @allow4 accept",
        "ip6 saddr @allow6 accept",
    )
    lines += [f"add rule inet {TABLE} limits {rule}" for rule in (*first, *(meter.jump() for meter in live))]
    lines += [f"add rule inet {TABLE} {meter.name} {rule}" for meter in live for rule in meter.rules()]
    return lines + gone, ["limits", *(meter.name for meter in live)]
