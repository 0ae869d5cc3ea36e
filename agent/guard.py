"""What the agent must never do, however right a policy seems. Every verdict says why. Pure."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from agent.action import Action, Call, Change, spelled
from agent.policy import Limits
from agent.schema import spoken

Network = IPv4Network | IPv6Network

RESERVED: Final = tuple(
    (ipaddress.ip_network(text), why)
    for text, why in (
        ("0.0.0.0/8", "this network (RFC 1122)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/3", "multicast and reserved"),
        ("::/128", "the unspecified address"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local: neighbours and routers"),
        ("ff00::/8", "multicast"),
    )
)
WIDEST: Final[Mapping[int, int]] = {4: 16, 6: 32}
"""The shortest prefix that may be touched, by IP version: a whole provider is never one attacker."""


Reason = Literal[
    "lifeline", "spared", "protected", "wide", "limit", "share", "person", "withdrawn", "undone", "evidence", "fields", "other"
]  # fmt: skip
"""What sort of refusal it is, for counting; the sentence beside it says the rest."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allowed or not, and a sentence saying because of what."""

    allowed: bool
    because: str
    ask: bool = False
    """Not without a person's yes."""
    over: bool = False
    """A limit said no, and nothing else."""
    reason: Reason = "other"


ALLOWED: Final = Verdict(True, "within every limit")


@dataclass(frozen=True, slots=True)
class Lifeline:
    """Addresses that no plan may touch, and why; `mend` is how a person takes it off, where a person put it on.

    One that is not `sure` only keeps new acts away: a stranger can bring it about by connecting, and must not so be let off.
    """

    network: Network
    why: str
    sure: bool = True
    mend: str = ""


class Lifelines:
    """Every life-line, found by address in a few look-ups, however many there are (0.6 µs where none is touched)."""

    def __init__(self, lines: Iterable[Lifeline] = (), reserved: Iterable[tuple[Network, str]] = RESERVED) -> None:
        """Index the lines; of two with the same network the first one's reason is told."""
        self.given = tuple(lines)
        self.lines: tuple[Lifeline, ...] = (*self.given, *(Lifeline(network, why) for network, why in reserved))
        self._tables: dict[tuple[int, int], dict[int, Lifeline]] = {}
        for line in self.lines:
            version, length = line.network.version, line.network.prefixlen
            table = self._tables.setdefault((version, length), {})
            table.setdefault(_prefix(line.network, length), line)
        networks = [one.network for one in self.lines]
        self._pieces = {version: _pieces(one for one in networks if one.version == version) for version in (4, 6)}

    @cached_property
    def certain(self) -> Lifelines:
        """Those alone that no stranger can bring about."""
        return Lifelines(one for one in self.given if one.sure)

    def touched(self, network: Network) -> Lifeline | None:
        """The life-line that the network lies in or swallows, or None."""
        starts, ends = self._pieces[network.version]
        if not starts:
            return None
        first = int(network.network_address)
        at = bisect_right(starts, first + (1 << (network.max_prefixlen - network.prefixlen)) - 1) - 1
        if at < 0 or ends[at] < first:
            return None
        for (version, length), table in self._tables.items():
            if version == network.version and length <= network.prefixlen and (line := table.get(_prefix(network, length))):
                return line
        return next((one for one in self.lines if overlap(one.network, network)), None)


def _prefix(network: Network, length: int) -> int:
    return int(network.network_address) >> (network.max_prefixlen - length)


def _pieces(networks: Iterable[Network]) -> tuple[list[int], list[int]]:
    """The networks as numbers, first and last address of each disjoint piece, in order."""
    starts, ends = list[int](), list[int]()
    for one in sorted(networks, key=lambda net: (int(net.network_address), net.prefixlen)):
        if not ends or int(one.network_address) > ends[-1]:
            starts.append(int(one.network_address))
            ends.append(int(one.broadcast_address))
    return starts, ends


def overlap(one: Network, other: Network) -> bool:
    """Whether two networks share an address; those of different versions never do."""
    return one.version == other.version and one.overlaps(other)


def meets(call: Call, network: Network) -> bool:
    """Whether a call is about an address of the network."""
    return any(overlap(one, network) for one in addresses(call))


def addresses(call: Call) -> Iterator[Network]:
    """Every address among a call's final arguments."""
    for value in call.args.values():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, IPv4Network | IPv6Network):
                yield one


def touches(
    changes: Sequence[Change],
    lifelines: Lifelines,
    never: Mapping[str, Sequence[Network]],
    protected: Sequence[str] = (),
    spared: Lifelines | None = None,
) -> Verdict:
    """Whether any change, with the arguments it would really be called with, reaches what must not be touched.

    `protected` are agent.yaml's patterns for what a change `touches`, as in `unit ssh*` or `container registry`; `spared`
    is what this policy alone leaves alone, its reasons as what is said of an address.
    """
    for named in (one for change in changes for one in change.touches):
        if because := _protected(named, protected):
            return Verdict(False, because, reason="protected")
    for network in (one for change in changes for one in addresses(change.apply)):
        if network.prefixlen < WIDEST[network.version]:
            because = f"{network} is wider than /{WIDEST[network.version]}, the widest network that may be touched"
            return Verdict(False, because, reason="wide")
        if line := lifelines.touched(network):
            return Verdict(False, _touched(network, line), reason="lifeline")
        if spared and (line := spared.touched(network)):
            return Verdict(False, f"{spoken(network)} {line.why}{_mend(line)}", reason="spared")
        for name, networks in never.items():
            if found := next((one for one in networks if overlap(one, network)), None):
                because = f"{spoken(network)} is on the list `{name}` ({found}), which this policy never touches"
                return Verdict(False, because, reason="spared")
    return ALLOWED


def barred(changes: Sequence[Change], lifelines: Lifelines, protected: Sequence[str] = ()) -> dict[int, str]:
    """The last look, right before changes are made: those that must not be, by their place, and why.

    Between the guard's verdict and the act somebody may have logged in, or named what is never touched.
    """
    found: dict[int, str] = {}
    for at, change in enumerate(changes):
        for network in addresses(change.apply):
            if line := lifelines.touched(network):
                found[at] = _touched(network, line)
        for named in change.touches if protected else ():
            if because := _protected(named, protected):
                found[at] = because
    return found


def _protected(named: str, protected: Sequence[str]) -> str:
    pattern = next((one for one in protected if fnmatchcase(named, one)), None)
    return f"{named} is protected in agent.yaml (`{pattern}`)" if pattern else ""


def _touched(network: Network, line: Lifeline) -> str:
    return f"{spoken(network)} {_relation(network, line.network)}, never touched: {line.why}{_mend(line)}"


def _mend(line: Lifeline) -> str:
    return f"; {line.mend}" if line.mend else ""


def _relation(network: Network, line: Network) -> str:
    if network == line:
        return "is a life-line"
    return f"lies in {line}" if line.prefixlen < network.prefixlen else f"contains {spoken(line)}"


def needs_a_person(action: Action) -> Verdict:
    """Nobody but a person decides on what loses something or stops a whole service; the refusal says by which command."""
    if action.impact != "destructive":
        return ALLOWED
    because = f'{action.name} is destructive and waits for a person: {spelled(action)} --why "…"'
    return Verdict(False, because, reason="person")


@dataclass(frozen=True, slots=True)
class Tally:
    """What is in force and what was done lately, for one policy or for all: `done` are Unix seconds, oldest first."""

    active: int
    done: Sequence[float]


def within(limits: Limits, tally: Tally, now: float, whose: str) -> Verdict:
    """Whether one more plan stays inside the limits. `whose` names them in the refusal."""
    if limits.max_active is not None and tally.active >= limits.max_active:
        because = f"{tally.active} mitigations are in force, and {limits.max_active} are the most {whose} allows"
        return Verdict(False, because, reason="limit")
    if limits.max is None:
        return ALLOWED
    recent = len(tally.done) - bisect_right(tally.done, now - limits.max.span.total_seconds())
    if recent >= limits.max.most:
        return Verdict(False, f"{recent} mitigations were made, and {whose} allows {limits.max}", reason="limit")
    return ALLOWED
