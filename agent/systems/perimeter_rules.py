"""The table `inet containment_host`: the rules that close this host to everything but its openings. Pure.

It stands beside everybody else's rules and never in their place: what it drops is dropped, what it accepts others may still
drop. The switch is in the kernel: a packet is led into the closing rules only while the set `armed` holds its family, and
these elements end by themselves. Whoever armed it may be dead; the host opens all the same.

Nothing here asks conntrack. It would start with the first rule that does, know no connection that is older, and cut the
operator's session. A connection's direction is told by its first packet instead, the lone SYN.

What must stay open whatever else is closed: neighbour discovery and what multicast snooping switches need to carry it
(RFC 4890 §4.4.1), else IPv6 dies as soon as the neighbour cache does; DHCP renewal; and the two messages by which routers
say that a packet was too large.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, NamedTuple

from agent.action import CannotReach
from agent.schema import address, spoken
from agent.systems.ruleset import OWNER
from agent.systems.staging import span

TABLE: Final = "containment_host"
MOST_OPENINGS: Final = 128
MOST_PORTS: Final = 16
FAMILIES: Final = ("ipv4", "ipv6")
_WIDEST: Final = {4: 8, 6: 19}
"""The shortest prefix that may stay open on every port; wider, and the host would not be closed."""
_MOST_REFUSED: Final = 4096


class Opening(NamedTuple):
    """What stays open between this host and a network, written as text: `10.0.0.0/8`, `2001:db8::7`.

    `in`: the network may open connections to these TCP and UDP ports of this host, and ping it. `out`: this host may open
    connections to these ports of the network. Both carry the answers, and neither lets the other side open a TCP connection;
    UDP has no packet that opens, and so all that comes from these ports gets in. Without ports it is all of TCP, and every
    other protocol both ways.
    """

    network: str
    ports: tuple[int, ...] = ()
    direction: Literal["in", "out"] = "in"
    why: str = ""

    def __str__(self) -> str:
        """As people say it: `from 10.0.0.5 to port 22 (logged in over ssh)`."""
        ports = f" port {', '.join(map(str, self.ports))}" if self.ports else ""
        why = f" ({self.why})" if self.why else ""
        if self.direction == "in":
            return f"from {self.network}{' to' + ports if ports else ''}{why}"
        return f"to {self.network}{',' + ports if ports else ''}{why}"


Rule = tuple[str, str, str]
"""A chain, a rule in it, and its comment."""


# Openings ---------------------------------------------------------------------------------------------------------------


def tidy(openings: Iterable[Opening]) -> tuple[Opening, ...]:
    """Openings in one order and one spelling, each once; of two that are the same the first one's reason stays.

    Raises:
        CannotReach: some cannot be opened; all of them, with the reasons.
    """
    found: dict[tuple[str, tuple[int, ...], str], Opening] = {}
    wrong: list[str] = []
    for one in openings:
        network, ports = _network(one, wrong), tuple(sorted(set(one.ports)))
        if network is not None:
            found.setdefault((spoken(network), ports, one.direction), Opening(spoken(network), ports, one.direction, one.why))
    if len(found) > MOST_OPENINGS:
        wrong.append(f"{len(found)} openings are too many: name at most {MOST_OPENINGS}, as networks")
    if wrong:
        raise CannotReach(f"cannot close this host: {'; '.join(wrong)}")
    return tuple(found[key] for key in sorted(found))


def _network(one: Opening, wrong: list[str]) -> IPv4Network | IPv6Network | None:
    try:
        network = address(one.network)
    except ValueError as error:
        wrong.append(str(error))
        return None
    if not one.ports and network.prefixlen < _WIDEST[network.version]:
        wrong.append(f"{network} without ports is wider than /{_WIDEST[network.version]}: the host would stay open")
    if len(one.ports) > MOST_PORTS or not all(0 < port < 65536 for port in one.ports):
        wrong.append(f"an opening has at most {MOST_PORTS} ports, from 1 to 65535: {one}")
    return network


def covers(openings: Iterable[Opening], one: Opening) -> bool:
    """Whether all that an opening would let through stays open."""
    network = address(one.network)
    ports = [each.ports for each in openings if each.direction == one.direction and _inside(network, address(each.network))]
    return () in ports or (bool(one.ports) and set(one.ports) <= {port for each in ports for port in each})


def _inside(network: IPv4Network | IPv6Network, wide: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(wide, IPv4Network) and network.subnet_of(wide)
    return isinstance(wide, IPv6Network) and network.subnet_of(wide)


# Rules ------------------------------------------------------------------------------------------------------------------

_SETS: Final = {
    "armed": "type nf_proto; flags timeout;",
    **{
        f"refused_{name}{digit}": f"type {kind}{joined}; flags dynamic,timeout; timeout 1d; size {_MOST_REFUSED}; counter;"
        for digit, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr"))
        for name, joined in (("to", " . inet_proto . inet_service"), ("other", " . inet_proto"), ("from", ""))
    },
}
"""A set keeps its name and shape for ever, so that what it holds stays when the rules are replaced."""
REFUSED: Final = tuple(name for name in _SETS if name != "armed")
_HOOKS: Final = {"arriving": "input", "passing": "forward", "leaving": "output"}
_CHAINS: Final = (*_HOOKS, "closed_in", "closed_through", "closed_out", "note_from", "note_to", "note_port")
_ANSWER: Final = "tcp flags & (syn | ack) != syn"
"""Every packet of a connection but the one that opens it."""
_FIXED: Final = """
arriving iif lo accept
arriving meta nfproto @armed goto closed_in
passing meta nfproto @armed goto closed_through
leaving oif lo accept
leaving meta nfproto @armed goto closed_out
closed_in icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 accept
closed_in icmpv6 type nd-neighbor-advert ip6 hoplimit 255 accept
closed_in icmpv6 type nd-router-advert ip6 hoplimit 255 accept
closed_in icmpv6 type mld-listener-query ip6 hoplimit 1 accept
closed_in icmpv6 type packet-too-big accept
closed_in icmp type destination-unreachable icmp code frag-needed accept
closed_in udp sport 67 udp dport 68 accept
closed_in udp sport 547 udp dport 546 accept
closed_out icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 accept
closed_out icmpv6 type nd-neighbor-advert ip6 hoplimit 255 accept
closed_out icmpv6 type nd-router-solicit ip6 hoplimit 255 accept
closed_out icmpv6 type mld-listener-report ip6 hoplimit 1 accept
closed_out icmpv6 type mld2-listener-report ip6 hoplimit 1 accept
closed_out icmpv6 type mld-listener-done ip6 hoplimit 1 accept
closed_out udp sport 68 udp dport 67 accept
closed_out udp sport 546 udp dport 547 accept
note_from update @refused_from4 { ip saddr }
note_from update @refused_from6 { ip6 saddr }
note_to meta l4proto tcp goto note_port
note_to meta l4proto udp goto note_port
note_to update @refused_other4 { ip daddr . meta l4proto }
note_to update @refused_other6 { ip6 daddr . meta l4proto }
note_port update @refused_to4 { ip daddr . meta l4proto . th dport }
note_port update @refused_to6 { ip6 daddr . meta l4proto . th dport }
"""
_LAST: Final = """
closed_in jump note_from
closed_in drop
closed_through jump note_from
closed_through jump note_to
closed_through drop
closed_out jump note_to
closed_out reject with icmpx admin-prohibited
"""
"""Programs of this host learn at once that nothing goes out, instead of waiting for a timeout. Open connections survive
that message, so that a short isolation does no lasting harm. No rule holds a set without a name (see ruleset.py)."""


def rules(openings: Sequence[Opening]) -> list[Rule]:
    """Every rule in order. The comment ends with a digest of the rule, by which a reader knows it again in the kernel.

    nft prints a rule in other words than it was given, and in other words with each version.
    """
    opened = dict.fromkeys(pair for one in openings for pair in _opened(one))
    whys = {pair: one.why for one in reversed(openings) for pair in _opened(one)}
    pairs = [*_split(_FIXED), *opened, *_split(_LAST)]
    return [(chain, rule, _comment(chain, rule, whys.get((chain, rule), ""))) for chain, rule in pairs]


def _split(lines: str) -> list[tuple[str, str]]:
    return [(chain, rule) for chain, _, rule in (line.partition(" ") for line in lines.strip().split("\n"))]


def _opened(one: Opening) -> Iterator[tuple[str, str]]:
    version = address(one.network).version
    ip, icmp = ("ip", "icmp") if version == 4 else ("ip6", "icmpv6")
    inward, outward = ("closed_in", f"{ip} saddr {one.network}"), ("closed_out", f"{ip} daddr {one.network}")
    (caller, from_caller), (answerer, from_answerer) = (inward, outward) if one.direction == "in" else (outward, inward)
    if not one.ports:
        yield caller, f"{from_caller} accept"
        yield answerer, f"{from_answerer} {_ANSWER} accept"
        yield answerer, f"{from_answerer} meta l4proto != tcp accept"
        return
    for port in one.ports:
        yield caller, f"{from_caller} tcp dport {port} accept"
        yield answerer, f"{from_answerer} tcp sport {port} {_ANSWER} accept"
        yield caller, f"{from_caller} udp dport {port} accept"
        yield answerer, f"{from_answerer} udp sport {port} accept"
    if one.direction == "in":
        yield caller, f"{from_caller} {icmp} type echo-request accept"
        yield answerer, f"{from_answerer} {icmp} type echo-reply accept"


def _comment(chain: str, rule: str, why: str) -> str:
    """nft knows no way to write a quotation mark inside a comment, and takes 128 characters."""
    digest = hashlib.sha256(f"{chain} {rule}".encode()).hexdigest()[:12]
    return " ".join([*re.findall(r"[\w.,:/@+-]+", why, re.ASCII), digest])[-128:]


def text(openings: Sequence[Opening], ttl: timedelta | None, chains: Iterable[str] = (), *, fresh: bool = False) -> str:
    """The whole table for `nft -f -`, as one transaction: it makes what is missing, replaces every rule, and arms.

    `chains` are those that are there now: ours that are not wanted any more go. With `fresh`, it fails where a table of this
    name is there after all.
    """
    gone = sorted(set(chains) - set(_CHAINS))
    lines = [f'{"create" if fresh else "add"} table inet {TABLE} {{ comment "{OWNER}"; }}']
    lines += [f"add set inet {TABLE} {name} {{ {shape} }}" for name, shape in _SETS.items()]
    for chain in _CHAINS:
        hook = f" {{ type filter hook {_HOOKS[chain]} priority -150; policy accept; }}" if chain in _HOOKS else ""
        lines.append(f"add chain inet {TABLE} {chain}{hook}")
    lines += [f"flush chain inet {TABLE} {chain}" for chain in (*_CHAINS, *gone)]
    lines += [f'add rule inet {TABLE} {chain} {rule} comment "{said}"' for chain, rule, said in rules(openings)]
    lines += [f"delete chain inet {TABLE} {chain}" for chain in gone]
    return "\n".join([*lines, _element("add", ttl)]) + "\n"


def rearmed(ttl: timedelta | None) -> str:
    """Set the time that is left, also on a kernel where adding an element again changes nothing (before 6.12)."""
    return "\n".join((_element("add", ttl), _element("delete", None), _element("add", ttl))) + "\n"


def _element(verb: str, ttl: timedelta | None) -> str:
    timeout = "" if ttl is None else f" timeout {span(max(1, round(ttl.total_seconds() * 1000)))}"
    return f"{verb} element inet {TABLE} armed {{ {', '.join(family + timeout for family in FAMILIES)} }}"


# Read back --------------------------------------------------------------------------------------------------------------


def differences(openings: Sequence[Opening], there: Iterable[tuple[str, str]]) -> list[str]:
    """How the rules in the kernel (chain and comment, in order) differ from those that belong there; empty where they do not."""
    wanted = [(chain, comment.rpartition(" ")[2]) for chain, _, comment in rules(openings)]
    found = [(chain, comment.rpartition(" ")[2]) for chain, comment in there]
    missing, foreign = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    said = [f"of its {len(wanted)} rules {missing.total()} missing"] if missing else []
    said += [f"{foreign.total()} in its chains that are not its own"] if foreign else []
    return said or (["its rules stand in another order"] if _by_chain(wanted) != _by_chain(found) else [])


def _by_chain(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for chain, digest in pairs:
        found.setdefault(chain, []).append(digest)
    return found
