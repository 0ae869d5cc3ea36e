"""From wishes to what has to be written: which elements to add, to delete and to replace, in netlink's bytes or nft's words.

Pure. A longer time wins: a wish never shortens what is in force. The portable way to replace an element is to delete it and
add it again (before Linux 6.12 adding alone changes nothing), and the portable way to delete one that may be gone is to add
it first; all of it is one transaction.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple

from agent.kernel.netlink import Refused
from agent.kernel.netlink_format import Write, element, interval, settings
from agent.schema import spell
from agent.systems.intervals import Piece, disjoint
from agent.systems.meter import Meter
from agent.systems.reading import Reading, Strip
from agent.systems.ruleset import PORT, SETS, TABLE, Layout, Place, asked, group
from agent.systems.wishes import Wish

_SURE: Final = 2.0
"""Seconds that an element must have left to be deleted without adding it first."""
Counts = Mapping[tuple[str, bytes | Strip], tuple[int, int]]


class Item(NamedTuple):
    """One element to write: key or piece of a network, how long it stays (ms, None for ever), and where its counter starts."""

    what: bytes | Strip
    milliseconds: int | None = None
    counted: tuple[int, int] | None = None


class Order(NamedTuple):
    """Elements to add to one set or to delete from it."""

    set: str
    add: bool
    items: list[Item]


@dataclass
class Stage:
    """The ends that differ from what is there (0: delete), by set; and the wishes there is no room for, with the reason."""

    elements: dict[str, dict[bytes, float]] = field(default_factory=dict)
    strips: dict[str, dict[Strip, float]] = field(default_factory=dict)
    full: dict[int, str] = field(default_factory=dict)

    def done(self, reading: Reading) -> None:
        """Note in the reading what was written."""
        for name, changes in self.elements.items():
            there = reading.ends.setdefault(name, {})
            for key, ends in changes.items():
                if ends:
                    there[key] = ends
                else:
                    there.pop(key, None)
        for behind, strips in self.strips.items():
            reading.take(behind, strips)


def stage(reading: Reading, wishes: Mapping[int, Wish], now: float, *, sure: bool = True) -> Stage:
    """What the wishes change, in order. A wish that does not fit is left out as a whole.

    Unless `sure` that the reading is exact, every piece of the networks is written anew.
    """
    made = Stage()
    room: dict[str, int] = {}
    for at, wish in wishes.items():
        changes = [(place, ends) for place in wish.places if (ends := _ends(reading, made, place, wish, now)) is not None]
        for place, ends in changes:
            if ends and not reading.end(place):
                if place.set not in room:
                    room[place.set] = _room(reading, place.set, now)
                room[place.set] -= 1
                if room[place.set] < 0:
                    made.full[at] = f"the set is full ({layout(place.set).most} in force); lift some first"
        if at not in made.full:
            for place, ends in changes:
                made.elements.setdefault(place.set, {})[place.key] = ends
    for behind in sorted({group(one.set) for wish in wishes.values() for one in wish.places if one.set.startswith("asked")}):
        made.strips[behind] = _strips(reading, made, behind, now, sure=sure)
    return made


def _ends(reading: Reading, made: Stage, place: Place, wish: Wish, now: float) -> float | None:
    """When the element shall end (0: at once), or None where that is so already."""
    changed = made.elements.get(place.set)
    current = changed.get(place.key) if changed else None
    if current is None:
        current = reading.end(place)
    if not wish.lasts:
        return 0.0 if current else None
    ends = now + wish.lasts
    return ends if ends > current else None


def _room(reading: Reading, name: str, now: float) -> int:
    most = layout(name).most
    if len(reading.ends.get(name, ())) >= most:
        reading.prune(now)
    return most - len(reading.ends.get(name, ()))


def _strips(reading: Reading, made: Stage, behind: str, now: float, *, sure: bool) -> dict[Strip, float]:
    """How the pieces of networks differ from those that are there; less than a second is no difference."""
    name = "asked" + behind
    wanted = pieces(reading.ends.get(name, {}) | made.elements.get(name, {}), now)
    there = reading.strips.get(behind, {}) if sure else {}
    changes = {
        strip: ends
        for strip, ends in wanted.items()
        if (current := there.get(strip, 0.0)) != ends and not abs(current - ends) < 1
    }
    return changes | {strip: 0.0 for strip, ends in there.items() if strip not in wanted and ends > now}


def pieces(networks: Mapping[bytes, float], now: float) -> dict[Strip, float]:
    """The disjoint pieces that networks (as in asked4 and its kind) come to, each port on its own."""
    by_port: dict[int, list[Piece]] = {}
    for key, ends in networks.items():
        if ends > now:
            one = asked(key)
            by_port.setdefault(one.port, []).append(Piece(one.start, one.last, ends))
    return {Strip(port, piece.start, piece.last): piece.ends for port, nets in by_port.items() for piece in disjoint(nets)}


# In the kernel's bytes and in nft's words ------------------------------------------------------------------------------


def orders(made: Stage, reading: Reading, now: float, counts: Counts, *, sure: bool = True) -> list[Order]:
    """What to write, in this order. `counts` are the counters to carry over, of elements that are replaced."""
    found: list[Order] = []
    for name, changes in made.elements.items():
        found += _orders(name, changes, reading.ends.get(name, {}) if sure else None, now, counts)
    for behind, strips in made.strips.items():
        there = reading.strips.get(behind, {})
        for name, ported in (("nets" + behind, False), ("portnets" + behind, True)):
            mine = {strip: ends for strip, ends in strips.items() if bool(strip.port) is ported}
            if not sure:
                found.append(Order(name, False, []))
            found += _orders(name, mine, there if sure else {}, now, counts)
    return [order for order in found if order.items or not order.add]


def _orders(
    name: str, changes: Mapping[Any, float], there: Mapping[Any, float] | None, now: float, counts: Counts
) -> list[Order]:
    doomed = [key for key in changes if there is None or key in there]
    doubtful = [Item(key) for key in doomed if there is None or there[key] < now + _SURE]
    new = [
        Item(key, None if ends == math.inf else max(1, round((ends - now) * 1000)), counts.get((name, key)))
        for key, ends in changes.items()
        if ends
    ]
    gone = [Order(name, False, [Item(key) for key in doomed])] if doomed else []
    return [Order(name, True, doubtful), *gone, Order(name, True, new)]


def replaced(made: Stage, reading: Reading) -> dict[str, list[Any]]:
    """The elements with counters that would be replaced, by set."""
    found: dict[str, list[Any]] = {}
    for name, changes in made.elements.items():
        if name in SETS and not name.startswith("asked") and (there := reading.ends.get(name)):
            found[name] = [key for key, ends in changes.items() if ends and key in there]
    for behind, strips in made.strips.items():
        for strip, ends in strips.items():
            if ends and strip in reading.strips.get(behind, {}):
                found.setdefault(("portnets" if strip.port else "nets") + behind, []).append(strip)
    return {name: keys for name, keys in found.items() if keys}


_carried = lru_cache(maxsize=1024)(settings)


def encode(order: Order) -> Write:
    """An order in netlink's bytes."""
    if not order.add:
        return Write(order.set, False, [_encode(order.set, item.what, b"") for item in order.items])
    return Write(order.set, True, [_encode(order.set, what, _carried(ms, counted)) for what, ms, counted in order.items])


def _encode(name: str, what: bytes | Strip, carried: bytes) -> bytes:
    if isinstance(what, bytes):
        return element(what, carried)
    width = 4 if name.endswith("4") else 16
    start, last = what.start.to_bytes(width, "big"), what.last.to_bytes(width, "big")
    if what.port:
        port = PORT.pack(what.port)
        return element(start + port, carried, last + port)
    behind = what.last + 1
    return interval(start, behind.to_bytes(width, "big") if behind < 1 << 8 * width else None, carried)


def words(order: Order) -> str:
    """An order as nft reads it."""
    if not order.items:
        return f"flush set inet {TABLE} {order.set}"
    known = layout(order.set)
    listed = ", ".join(_words(known, item) for item in order.items)
    return f"{'add' if order.add else 'delete'} element inet {TABLE} {order.set} {{ {listed} }}"


def _words(known: Layout, item: Item) -> str:
    if isinstance(item.what, bytes):
        spelled = known.spell(item.what)
    else:
        address = IPv4Address if known.fields[0] == "ip" else IPv6Address
        start, last = address(item.what.start), address(item.what.last)
        spelled = " ".join(
            [str(start) if start == last else f"{start}-{last}", *([f". {item.what.port}"] if item.what.port else [])]
        )
    return spelled if item.milliseconds is None else f"{spelled} timeout {span(item.milliseconds)}"


def span(milliseconds: int) -> str:
    """A time as nft reads it, in whole units."""
    return spell(timedelta(milliseconds=milliseconds)) if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def layout(name: str) -> Layout:
    """What a set of this name is made of."""
    known = SETS.get(name)
    if known is None:
        meter = Meter.named(name)
        known = (meter.sets() if meter else {})[name]
    return known


def shown(place: Place) -> tuple[str, str]:
    """The set and the element as people know them: a network with its length, not with its borders."""
    if not place.set.startswith("asked"):
        return place.set, layout(place.set).spell(place.key)
    network = asked(place.key)
    spelled = f"{layout(place.set).spell(place.key).split(' ')[0]}/{network.length}"
    behind = group(place.set)
    return (f"portnets{behind}", f"{spelled} . {network.port}") if network.port else (f"nets{behind}", spelled)


def guilty(error: Refused, written: Sequence[Order], wishes: Mapping[int, Wish]) -> dict[int, str]:
    """The wishes behind the element that the kernel refused; where a set is full, behind all that come after it too."""
    if error.culprit is None:
        return {}
    order, first = written[error.culprit[0]], error.culprit[1]
    refused = [item.what for item in order.items[first : None if error.code == errno.ENFILE else first + 1]]
    keys = {what for what in refused if isinstance(what, bytes)}
    strips = [what for what in refused if isinstance(what, Strip)]
    why = f"the set is full ({layout(order.set).most} in force); lift some first" if error.code == errno.ENFILE else error.why
    return {at: why for at, wish in wishes.items() if any(_behind(place, order.set, keys, strips) for place in wish.places)}


def _behind(place: Place, name: str, keys: set[bytes], strips: Sequence[Strip]) -> bool:
    if place.set == name:
        return place.key in keys
    if not strips or not place.set.startswith("asked") or group(place.set) != group(name):
        return False
    network = asked(place.key)
    return any(one.port == network.port and one.start <= network.last and network.start <= one.last for one in strips)
