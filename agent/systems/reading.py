"""The table as the kernel gave it back, at one generation of the ruleset: what is in force, and until when."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

from agent.action import Call
from agent.kernel.netlink import Netlink
from agent.kernel.netlink_format import Element
from agent.schema import Address
from agent.systems import meter, ruleset
from agent.systems.intervals import Piece, covered
from agent.systems.ruleset import PORT, SETS, Asked, Place, asked, group


class Strip(NamedTuple):
    """One piece of a network in the kernel: the port (0 for all), and the first and last address."""

    port: int
    start: int
    last: int


@dataclass(frozen=True, slots=True)
class Held:
    """One thing in force: the verb and arguments that asked for it, seconds until it ends (None: never), and what it dropped."""

    verb: str
    args: Mapping[str, Any]
    expires_in: float | None
    packets: int
    bytes: int

    @property
    def undo(self) -> Call:
        """The call that takes it back, as a plan writes it."""
        return Call("firewall", f"un{self.verb}", self.args)


@dataclass
class Reading:
    """What the kernel holds. Times are seconds on the monotonic clock; `generation` None means that it moved meanwhile."""

    generation: int | None = None
    comment: str | None = None
    dormant: bool = False
    rules: str = ""
    chains: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    ends: dict[str, dict[bytes, float]] = field(default_factory=dict)
    strips: dict[str, dict[Strip, float]] = field(default_factory=dict)
    allowed: frozenset[tuple[str, Strip]] = frozenset()
    _sorted: dict[str, list[Strip]] = field(default_factory=dict)

    def end(self, place: Place) -> float:
        """When an element ends; 0 where it is not there."""
        return self.ends.get(place.set, {}).get(place.key, 0.0)

    def holds(self, place: Place) -> float:
        """When a block or limit ends; for a network, the earliest of what was asked for and every piece that makes it so."""
        end = self.end(place)
        if not end or not place.set.startswith("asked"):
            return end
        behind, network = group(place.set), asked(place.key)
        ends = self.strips.get(behind, {})
        pieces = [Piece(strip.start, strip.last, ends[strip]) for strip in within(self._in_order(behind), network)]
        return min(end, covered(pieces, network.start, network.last))

    def take(self, behind: str, changes: Mapping[Strip, float]) -> None:
        """Note pieces that were written (0: deleted)."""
        strips = self.strips.setdefault(behind, {})
        for strip, ends in changes.items():
            if ends:
                strips[strip] = ends
            else:
                strips.pop(strip, None)
        self._sorted.pop(behind, None)

    def _in_order(self, behind: str) -> list[Strip]:
        if behind not in self._sorted:
            self._sorted[behind] = sorted(self.strips.get(behind, {}))
        return self._sorted[behind]

    def prune(self, now: float) -> None:
        """Forget what ended; the kernel did."""
        for name, keys in self.ends.items():
            self.ends[name] = {key: ends for key, ends in keys.items() if ends > now}
        for behind, strips in self.strips.items():
            self.strips[behind] = {strip: ends for strip, ends in strips.items() if ends > now}
        self._sorted.clear()


def within(strips: Sequence[Strip], network: Asked) -> Sequence[Strip]:
    """Those of sorted, disjoint pieces that touch a network."""
    low = bisect_left(strips, Strip(network.port, network.start, -1))
    if low and strips[low - 1].port == network.port and strips[low - 1].last >= network.start:
        low -= 1
    return strips[low : bisect_left(strips, Strip(network.port, network.last + 1, -1))]


def read(kernel: Netlink, now: float) -> Reading:
    """Read the whole table; again, three times at most, where somebody changed the ruleset meanwhile."""
    for _ in range(3):
        before = kernel.generation()
        reading = _read(kernel, now)
        if kernel.generation() == before:
            reading.generation = before
            break
    return reading


def _read(kernel: Netlink, now: float) -> Reading:
    table = kernel.table()
    if table is None:
        return Reading()
    flags, comment = table
    reading = Reading(comment=comment, dormant=bool(flags & 1), chains=tuple(kernel.chains()), sets=tuple(kernel.sets()))
    if comment != ruleset.OWNER:
        return reading  # another's table: nothing in it is ours to read
    digest = hashlib.sha256()
    for rule in kernel.rules():
        digest.update(rule)
    reading.rules = digest.hexdigest()
    for name in reading.sets:
        if name in SETS or meter.switch(name):
            _read_set(kernel, reading, name, now)
    return reading


def read_networks(kernel: Netlink, reading: Reading, behind: str, now: float) -> None:
    """Read the networks of one group again, as they were asked for and as they are in force."""
    reading.strips.pop(behind, None)
    reading.take(behind, {})
    for part in ("asked", "nets", "portnets"):
        _read_set(kernel, reading, part + behind, now)


def _read_set(kernel: Netlink, reading: Reading, name: str, now: float) -> None:
    found = kernel.dump(name)
    if name.startswith("allow"):
        reading.allowed |= {(name, strip) for strip, _ in strips(name, found)}
    elif name.startswith(("nets", "portnets")):
        reading.take(group(name), {strip: _end(one, now) for strip, one in strips(name, found)})
    else:
        reading.ends[name] = {one.key: _end(one, now) for one in found}


def _end(one: Element, now: float) -> float:
    return math.inf if one.left is None else now + one.left


def strips(name: str, elements: Iterable[Element]) -> Iterator[tuple[Strip, Element]]:
    """The pieces that a set of ranges holds, each with the element that carries its end and its counter."""
    if name.startswith("portnets"):
        for one in elements:
            yield (
                Strip(PORT.unpack(one.key[-4:])[0], int.from_bytes(one.key[:-4], "big"), _number((one.last or one.key)[:-4])),
                one,
            )
        return
    opening: Element | None = None
    for one in sorted(elements, key=lambda e: (e.key, not e.closing)):
        if one.closing:
            if opening is not None:  # else its opening has ended, and the kernel has yet to collect this half
                yield Strip(0, _number(opening.key), _number(one.key) - 1), opening
            opening = None
            continue
        opening = one
    if opening is not None:
        yield Strip(0, _number(opening.key), (1 << 8 * len(opening.key)) - 1), opening


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")


# What is in force ------------------------------------------------------------------------------------------------------


def held(kernel: Netlink, reading: Reading) -> list[Held]:
    """Everything in force with its counters, from the kernel. Ports of one address that end together are one."""
    found: list[Held] = []
    for name in reading.sets:
        limit = meter.switch(name)
        verb = "block_egress" if "_out" in name else "block"
        if limit:
            found += _limits(limit, kernel.dump(name))
        elif name not in SETS:
            continue
        elif name.startswith(("hosts", "slash64")):
            length = 64 if name == "slash64" else None
            found += [_counted(verb, {"ip": _address(one.key, length), "ports": ()}, [one]) for one in kernel.dump(name)]
        elif name.startswith("ports"):
            found += _grouped(verb, ((one.key[:-4], None, _port(one.key), one) for one in kernel.dump(name)))
        elif name.startswith("asked"):
            found += _grouped(verb, _networks(kernel, name))
    return found


def _networks(kernel: Netlink, name: str) -> Iterator[tuple[bytes, int | None, int, Element]]:
    """Each network asked for, with what its pieces dropped."""
    counters = {strip: one for part in ("nets", "portnets") for strip, one in strips(part, kernel.dump(part + group(name)))}
    in_order = sorted(counters)
    for one in kernel.dump(name):
        network = asked(one.key)
        mine = [counters[strip] for strip in within(in_order, network)]
        counted = one._replace(packets=sum(e.packets for e in mine), size=sum(e.size for e in mine))
        yield one.key[:-8], network.length, network.port, counted


def _grouped(verb: str, elements: Iterable[tuple[bytes, int | None, int, Element]]) -> list[Held]:
    together: dict[tuple[bytes, int | None, bool], list[tuple[float, int, Element]]] = {}
    for start, length, port, one in elements:
        ending = math.inf if one.left is None else one.left
        together.setdefault((start, length, port == 0), []).append((ending, port, one))
    found = []
    for (start, length, _), ported in together.items():
        for run in _ending_together(sorted(ported, key=lambda entry: entry[:2])):
            ports = tuple(sorted(port for _, port, _ in run if port))
            found.append(_counted(verb, {"ip": _address(start, length), "ports": ports}, [one for *_, one in run]))
    return found


def _ending_together(ported: list[tuple[float, int, Element]]) -> Iterator[list[tuple[float, int, Element]]]:
    """Runs that end within a second; one call's elements are read back milliseconds apart."""
    begin = 0
    for at, entry in enumerate(ported):
        if entry[0] > ported[begin][0] + 1:
            yield ported[begin:at]
            begin = at
    yield ported[begin:]


def _limits(limit: meter.Meter, elements: list[Element]) -> list[Held]:
    shape = {"ports": limit.ports, "rps": limit.rps, "burst": limit.burst}
    if limit.per == "host":
        return [_counted("limit", {"ip": _address(one.key, None), **shape, "per": "source"}, [one]) for one in elements]
    return [_counted("limit", {"ip": limit.net, **shape, "per": limit.per}, elements)] if elements else []


def _counted(verb: str, args: Mapping[str, Any], elements: list[Element]) -> Held:
    if len(elements) == 1:  # nearly always, and there may be a hundred thousand
        (only,) = elements
        return Held(verb, args, only.left, only.packets, only.size)
    ends = [one.left for one in elements if one.left is not None]
    return Held(verb, args, min(ends, default=None), sum(one.packets for one in elements), sum(one.size for one in elements))


def _address(key: bytes, length: int | None) -> Address:
    kind = IPv4Network if len(key) == 4 else IPv6Network
    return kind((key, 8 * len(key) if length is None else length))


def _port(key: bytes) -> int:
    return int(PORT.unpack(key[-4:])[0])
