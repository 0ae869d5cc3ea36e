"""The host's packet filter: addresses dropped and rates limited in one nftables table of our own, `inet containment`.

Everything in force is an element with a timeout in the kernel, which lets go by itself when the agent is dead. Many changes
are one transaction. It acts in the network namespace of its process.
"""

from __future__ import annotations

import errno
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from itertools import groupby
from typing import Final, Literal

from agent.action import Adopted, Answer, Call, CannotReach, System, call
from agent.kernel.netlink import Refused
from agent.schema import Address, Duration, Port
from agent.systems import ruleset, sock_diag
from agent.systems.firewall_adopt import adopted
from agent.systems.firewall_events import Foreign, listen
from agent.systems.firewall_table import Table
from agent.systems.meter import MOST_METERS
from agent.systems.reading import Held, Strip
from agent.systems.ruleset import Place, places
from agent.systems.staging import Order, guilty, shown, span, stage
from agent.systems.wishes import Per, Wish, lasting, limiting, narrow, whom

__all__ = ["Firewall", "Foreign", "Held"]

_TRIES: Final = 16
_CROWDED: Final = f"{MOST_METERS} different limits are in force; lift one of them first"
_COUNT_EVERY: Final = 10.0
_FRESH: Final = 0.001
"""Seconds for which a look at the generation counts as now: less than any other program needs to start."""


class Firewall(System):
    """Blocks and limits as written calls, and what the kernel says about them.

    `through="nft"` writes elements by the nft command; netlink falls back to it on a kernel that wants them in another form.
    """

    name = "firewall"
    rights = "CAP_NET_ADMIN, which the service has; the package nftables"

    def __init__(self, through: Literal["netlink", "nft"] = "netlink") -> None:
        self._lock = threading.RLock()
        self._table = Table(through)
        self._clients: Sequence[IPv4Address | IPv6Address] = ()
        self._counted = float("-inf")

    # What can be called ------------------------------------------------------------------------------------------------

    @call
    def block(self, ip: Address, ttl: Duration | None, ports: tuple[Port, ...] = ()) -> Wish:
        """Drop everything from and to an address or network for `ttl` (None: for ever); with `ports`, only these of ours."""
        return Wish(narrow(ip, ports), lasting(ttl))

    @call
    def unblock(self, ip: Address, ports: tuple[Port, ...] = ()) -> Wish:
        """Take back exactly that block; another one over the same address stays."""
        return Wish(places(ip, ports), 0.0)

    @call
    def is_blocked(self, ip: Address, ports: tuple[Port, ...] = ()) -> Wish:
        """Whether the kernel holds that block, and the rules that read it."""
        return Wish(places(ip, ports), None)

    @call
    def block_egress(self, ip: Address, ttl: Duration | None, ports: tuple[Port, ...] = ()) -> Wish:
        """Drop what this host and its containers send to an address or network; with `ports`, only to these of theirs."""
        return Wish(narrow(ip, ports, egress=True), lasting(ttl))

    @call
    def unblock_egress(self, ip: Address, ports: tuple[Port, ...] = ()) -> Wish:
        """Take back exactly that block of egress."""
        return Wish(places(ip, ports, egress=True), 0.0)

    @call
    def is_blocked_egress(self, ip: Address, ports: tuple[Port, ...] = ()) -> Wish:
        """Whether the kernel holds that block of egress, and the rules that read it."""
        return Wish(places(ip, ports, egress=True), None)

    @call
    def limit(
        self, ip: Address | None, ports: tuple[Port, ...], rps: int, burst: int, ttl: Duration | None, per: Per = "source"
    ) -> Wish:
        """Drop new connections beyond `rps` per second and `burst` at once: those from `ip`, or from each source, to `ports`.

        `per="again"`: while more than that come, let through who asks a second time.
        """
        return limiting(lasting(ttl), ip, ports, rps, burst, per)

    @call
    def unlimit(self, ip: Address | None, ports: tuple[Port, ...], rps: int, burst: int, per: Per = "source") -> Wish:
        """Take back exactly that limit."""
        return limiting(0.0, ip, ports, rps, burst, per)

    @call
    def is_limited(self, ip: Address | None, ports: tuple[Port, ...], rps: int, burst: int, per: Per = "source") -> Wish:
        """Whether the kernel holds that limit, and the rules that read it."""
        return limiting(None, ip, ports, rps, burst, per)

    # What can be asked -------------------------------------------------------------------------------------------------

    def blocks(self, ip: Address, ttl: timedelta | None, ports: tuple[int, ...] = ()) -> bool:
        """Whether that block is in force for `ttl` more. Cheap: one look at the kernel's generation per millisecond."""
        return self._lasts(places(ip, ports), ttl)

    def blocks_egress(self, ip: Address, ttl: timedelta | None, ports: tuple[int, ...] = ()) -> bool:
        """Whether that block of egress is in force for `ttl` more."""
        return self._lasts(places(ip, ports, egress=True), ttl)

    def limited(
        self, ip: Address | None, ports: tuple[int, ...], rps: int, burst: int, ttl: timedelta | None, per: Per = "source"
    ) -> bool:
        """Whether exactly that limit is in force for `ttl` more."""
        return self._lasts(limiting(None, ip, ports, rps, burst, per).places, ttl)

    def held(self) -> list[Held]:
        """Everything in force and what it dropped, from the kernel. Two blocks over one address are two.

        Raises:
            CannotReach: the kernel does not let us read.
        """
        with self._lock:
            return self._table.held()

    def population(self) -> Mapping[str, Sequence[IPv4Address | IPv6Address]]:
        """Who is connected to this host now, as far as it is looked at (every ten seconds at most, 4,096 connections)."""
        if time.monotonic() - self._counted >= _COUNT_EVERY:
            self._counted = time.monotonic()
            try:
                self._clients = sorted(sock_diag.clients(), key=str)
            except OSError as error:
                raise CannotReach(f"cannot count the clients of this host: {error}") from error
        return {"client": self._clients}

    def adopt(self) -> list[Adopted]:
        """Every block and limit that the kernel holds, with its undo."""
        return list(adopted(self.held()))

    def ready(self) -> str:
        """Nothing when the agent can write the ruleset; else a sentence that says why not, and the mend."""
        try:
            with self._lock:
                self._table.check()
        except CannotReach as error:
            return str(error)
        return ""

    def ports_of(self, service: str) -> tuple[Port, ...]:
        """The ports of a service by its name in /etc/services.

        Raises:
            CannotReach: it has no such name.
        """
        found = set()
        for protocol in ("tcp", "udp"):
            try:
                found.add(socket.getservbyname(service, protocol))
            except (OSError, UnicodeError):
                continue
        if not found:
            raise CannotReach(
                f"cannot find the ports of `{service}`: /etc/services has no such name; "
                "write `ports: [80, 443]`, or a name from there, as in `service: https`"
            )
        return tuple(sorted(found))

    # Preparing ---------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make our table, or take over the one that is there without a moment in which what is blocked is not.

        Every process loads the rules once, and again whenever they are not as it loaded them. Limits that ended are tidied.

        Raises:
            CannotReach: nft is missing, the kernel refuses, or somebody else's table has our name.
        """
        with self._lock:
            self._table.require()
            self._table.tidy()

    def protect(self, never: Sequence[Address]) -> None:
        """Addresses that the kernel lets pass even where a block covers them: the belt to the guard's braces."""
        fours = collapse_addresses(one for one in never if isinstance(one, IPv4Network))
        sixes = collapse_addresses(one for one in never if isinstance(one, IPv6Network))
        with self._lock:
            self._table.protect(
                frozenset(
                    (f"allow{net.version}", Strip(0, int(net.network_address), int(net.broadcast_address)))
                    for nets in (fours, sixes)
                    for net in nets
                )
            )

    def watch(self, told: Callable[[Foreign], None]) -> None:
        """Tell of every transaction in this namespace that was not ours, from a thread of its own, from now on.

        Raises:
            CannotReach: the kernel does not let us listen.
        """

        def heard(one: Foreign) -> None:
            with self._lock:  # whatever we write is noted before the lock is free again
                ours = one.pid != 0 and one.generation in self._table.ours
            if not ours:
                told(one)

        listen(heard)

    # Performing --------------------------------------------------------------------------------------------------------

    def perform(self, calls: Sequence[Call]) -> list[Answer]:
        """One answer for each call, in order. Changes that follow one another are one transaction, questions one reading."""
        answers: list[Answer] = []
        with self._lock:
            for asking, run in groupby(calls, key=lambda one: one.verb.startswith("is_")):
                alike = list(run)
                answers += self._ask(alike) if asking else self._write(alike)
        return answers

    def native(self, one: Call) -> str:
        """The call as nft commands. A network is shown whole; where networks overlap, disjoint pieces are written."""
        answer = self._perform_one(one)
        if answer.error is not None:
            return str(answer.error)
        wish: Wish = answer.value
        verb = "get" if wish.lasts is None else "add" if wish.lasts else "delete"
        timeout = f" timeout {span(round(wish.lasts * 1000))}" if wish.lasts and wish.lasts != math.inf else ""
        by_set: dict[str, list[str]] = {}
        for place in wish.places:
            name, spelled = shown(place)
            by_set.setdefault(name, []).append(spelled + timeout)
        lines = (f"nft {verb} element inet {ruleset.TABLE} {name} {{ {', '.join(said)} }}" for name, said in by_set.items())
        return "; ".join(lines)

    def _ask(self, calls: list[Call]) -> list[Answer]:
        """Ask the kernel itself, not what was read from it before. Without rules that read the sets, nothing holds at all."""
        try:
            if not self._table.sound(self._table.look()):
                return [Answer(value=False)] * len(calls)
        except Refused as error:
            return [Answer(error=error)] * len(calls)
        wished = [self._perform_one(one) for one in calls]
        keys: dict[str, set[bytes]] = {}
        for _, wish in _good(wished):
            for place in wish.places:
                keys.setdefault(place.set, set()).add(place.key)
        try:
            there = {name: self._table.there(name, wanted) for name, wanted in keys.items()}
        except Refused as error:
            return [one if one.error else Answer(error=error) for one in wished]
        return [one if one.error else Answer(all(place.key in there[place.set] for place in one.value.places)) for one in wished]

    def _write(self, calls: list[Call]) -> list[Answer]:
        """Bring the wishes to the kernel; those that it refuses are left out, and the others tried again without them."""
        answers = [self._perform_one(one) for one in calls]
        for left in range(_TRIES, -1, -1):
            wishes = dict(_good(answers))
            try:
                refused, again = self._bring(wishes, sure=left > 0) if wishes else ({}, False)
            except CannotReach as error:
                refused, again = dict.fromkeys(wishes, _why(error)), False
            for at, why in refused.items():
                answers[at] = Answer(error=CannotReach(f"cannot {_said(calls[at])}: {why}"))
            if not again:
                break
        return [one if one.error else Answer() for one in answers]

    def _bring(self, wishes: Mapping[int, Wish], *, sure: bool) -> tuple[dict[int, str], bool]:
        """Try once. Who is refused and why, and whether the others have to be tried again."""
        adding = [wish for wish in wishes.values() if wish.lasts]
        crowded = self._table.require(wish.meter for wish in adding if wish.meter) if adding else set()
        refused = {at: _CROWDED for at, wish in wishes.items() if wish.meter in crowded and wish.lasts}
        reading, now = self._table.look(), time.monotonic()
        sure = sure and reading.generation is not None
        made = stage(reading, {at: wish for at, wish in wishes.items() if at not in refused}, now, sure=sure)
        refused |= made.full
        written: list[Order] = []
        try:
            written = self._table.orders(made, now, sure=sure)
            if written:
                self._table.commit(written, reading.generation if sure else None)
        except Refused as error:
            if error.unfit and self._table.through == "netlink":
                self._table.through = "nft"
                return {}, True
            if error.outdated and sure:
                self._table.forget()
                return {}, True
            named = guilty(error, written, wishes)
            return (refused | named, True) if named else (dict.fromkeys(wishes, error.why), False)
        made.done(reading)
        if any(wish.meter and not wish.lasts for wish in wishes.values()):
            self._table.tidy()
        return refused, False

    def _lasts(self, wanted: tuple[Place, ...], ttl: timedelta | None) -> bool:
        """Whether elements stay for `ttl`, less a twentieth (1 s to 1 min): asking again at once is not a new block."""
        with self._lock:
            try:
                reading = self._table.look(_FRESH)
            except Refused as error:
                if error.code == errno.EPERM:  # a dry run without the right to read: planned as if nothing were there
                    return False
                raise
            if not self._table.sound(reading):
                return False
            ends = min(map(reading.holds, wanted))
        if ttl is None:
            return ends == math.inf
        seconds = ttl.total_seconds()
        return ends >= time.monotonic() + seconds - min(60.0, max(1.0, seconds / 20))


def _said(one: Call) -> str:
    return f"{one.verb.replace('_egress', ' egress to')} {whom(**one.args)}"


def _good(answers: Sequence[Answer]) -> Iterator[tuple[int, Wish]]:
    return ((at, one.value) for at, one in enumerate(answers) if one.error is None)


def _why(error: CannotReach) -> str:
    return error.why if isinstance(error, Refused) else str(error)
