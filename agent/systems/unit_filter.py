"""A unit's IP filter (systemd's IPAddressDeny= and IPAddressAllow=): set until the host starts anew, and taken back exactly.

What systemd is told lands in drop-ins under /run/systemd/system.control. Those that were not there before are taken away
again, so that later edits of the unit's own file count.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Final

from agent.action import CannotReach, Holds
from agent.schema import Address, spoken
from agent.systems.cgroup_filter import drops
from agent.systems.system_bus import Bus
from agent.systems.unit_changes import CONTROL
from agent.systems.unit_facts import MANAGER, MANAGER_PATH, Network, UnitFacts, read_facts

EVERYTHING: Final = (ipaddress.ip_network("::/0"), ipaddress.ip_network("0.0.0.0/0"))
_NOBODY: Final = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "100::1")  # RFC 5737, 3849, 6666


@dataclass(frozen=True, slots=True)
class IpFilter:
    """Networks that a unit may not talk to, and those that it may nevertheless; systemd heeds no order in them."""

    deny: tuple[Address, ...] = ()
    allow: tuple[Address, ...] = ()

    def by_property(self) -> dict[str, tuple[Network, ...]]:
        """The same under systemd's names."""
        return {"IPAddressDeny": self.deny, "IPAddressAllow": self.allow}


def strangers(allow: Sequence[Network]) -> tuple[IPv4Address | IPv6Address, ...]:
    """One IPv4 and one IPv6 address that nobody has and that is not allowed: to try the filter on.

    Raises:
        CannotReach: so much is allowed that there is none.
    """
    every = [ipaddress.ip_address(text) for text in _NOBODY]
    found = [next((one for one in every if one.version == version and not _within(one, allow)), None) for version in (4, 6)]
    if None in found:
        raise CannotReach("cannot cut a unit off: `allow` lets nearly everything through; name the few networks it needs")
    return tuple(one for one in found if one)


def _within(address: IPv4Address | IPv6Address, allow: Sequence[Network]) -> bool:
    return any(one.version == address.version and address in one for one in allow)


def fewest(networks: Sequence[Network]) -> tuple[Network, ...]:
    """The same without what others contain: systemd leaves those out too, and what it says must equal what it was told."""
    four = [one for one in networks if isinstance(one, IPv4Network)]
    six = [one for one in networks if isinstance(one, IPv6Network)]
    return (*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six))


def filter_of(facts: UnitFacts) -> IpFilter:
    """The filter that a unit has now."""
    return IpFilter(facts.deny, facts.allow)


def unset_yet(facts: UnitFacts) -> tuple[str, ...]:
    """The two properties, as far as no drop-in of `systemctl set-property --runtime` sets them already."""
    there = {Path(one).name for one in facts.drop_ins if one.startswith(f"/{CONTROL}/")}
    return tuple(name for name in IpFilter().by_property() if f"50-{name}.conf" not in there)


def cut(bus: Bus, root: Path, cgroups: Path, facts: UnitFacts, wanted: IpFilter) -> None:
    """Set the filter; taken back at once where systemd takes the order and the kernel does not follow.

    Raises:
        CannotReach: the kernel lets packets through nevertheless, or does not say.
    """
    before = filter_of(facts)
    again = {"IPAddressDeny": wanted.deny}  # told once more, systemd attaches a program that the kernel has lost
    _set(bus, facts.name, _different(wanted, before) or again)
    if facts.up and not _enforced(cgroups, facts, wanted):
        uncut(bus, root, read_facts(bus, facts.name, f"cut {facts.name} off"), wanted, before, unset_yet(facts))
        why = "systemd took the order, and the kernel lets its packets through all the same"
        mend = "systemd may lack BPF here (a container?), or another program holds the cgroup; use stop_service instead"
        raise CannotReach(f"cannot cut {facts.name} off: {why}; {mend}")


def _different(wanted: IpFilter, now: IpFilter) -> dict[str, tuple[Network, ...]]:
    there = now.by_property()
    return {name: value for name, value in wanted.by_property().items() if set(value) != set(there[name])}


def _enforced(cgroups: Path, facts: UnitFacts, wanted: IpFilter) -> bool:
    place = cgroups / facts.cgroup.lstrip("/")
    return all(drops(place, one) for one in strangers(wanted.allow))


def cuts(cgroups: Path, facts: UnitFacts, wanted: IpFilter) -> bool:
    """Whether the unit has that filter already, or a stricter one, and the kernel enforces it.

    Raises:
        CannotReach: the kernel does not say.
    """
    now = filter_of(facts)
    has = set(wanted.deny) <= set(now.deny) and set(now.allow) <= set(wanted.allow)
    return has and _enforced(cgroups, facts, wanted)


def is_cut(cgroups: Path, facts: UnitFacts, wanted: IpFilter, before: IpFilter) -> bool | Holds:
    """Whether systemd has that filter, and the kernel enforces it."""
    now = filter_of(facts)
    if not _different(now, before):
        return False
    if not set(wanted.deny) <= set(now.deny):
        return Holds("no", f"somebody else has changed the filter of {facts.name}: it denies {_said(now.deny)}")
    if _different(now, wanted):
        return Holds("partly", f"{facts.name} may talk to {_said(now.allow)}, and not only to {_said(wanted.allow)}")
    if not facts.up:
        return True  # it comes up with the filter
    return _enforced(cgroups, facts, wanted) or Holds("partly", f"systemd has the filter of {facts.name}; the kernel has not")


def _said(networks: Sequence[Network]) -> str:
    return ", ".join(sorted(map(spoken, networks))) or "nobody"


def uncut(bus: Bus, root: Path, facts: UnitFacts, ours: IpFilter, before: IpFilter, new: Sequence[str]) -> None:
    """Put the filter back as it was; of what somebody changed meanwhile, take our part away and leave theirs.

    `new` names the properties that no drop-in set before: theirs goes, and the unit's own files count again.
    """
    now, was = filter_of(facts).by_property(), before.by_property()
    back: dict[str, tuple[Network, ...]] = {}
    drop_ins = []
    for name, mine in _different(ours, before).items():
        if set(now[name]) == set(was[name]):
            continue
        if set(now[name]) != set(mine):
            back[name] = tuple(one for one in now[name] if one not in mine or one in was[name])
        elif name in new:
            drop_ins.append(root / CONTROL / f"{facts.name}.d" / f"50-{name}.conf")
        else:
            back[name] = was[name]
    _set(bus, facts.name, back)
    for one in drop_ins:
        _remove(one)
    if drop_ins:
        bus.ask(MANAGER_PATH, f"{MANAGER}.Reload")


def _remove(drop_in: Path) -> None:
    try:
        drop_in.unlink(missing_ok=True)
        if drop_in.parent.is_dir() and not any(drop_in.parent.iterdir()):
            drop_in.parent.rmdir()
    except OSError as error:
        raise CannotReach(f"cannot take away {drop_in}: {error.strerror}; this needs root") from error


def _set(bus: Bus, unit: str, values: dict[str, tuple[Network, ...]]) -> None:
    """What is not empty is added to the list that systemd has, and what is empty clears it: so clear first."""
    if not values:
        return
    properties: list[tuple[str, tuple[str, Any]]] = []
    for name, value in values.items():
        properties.append((name, ("a(iayu)", [])))
        properties += [(name, ("a(iayu)", [_entry(one) for one in value]))] if value else []
    bus.ask(MANAGER_PATH, f"{MANAGER}.SetUnitProperties", "sba(sv)", unit, True, properties)


def _entry(network: Network) -> tuple[int, bytes, int]:
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    return int(family), network.network_address.packed, network.prefixlen
