"""Cutting containers off at the host: rules on the host's ends of their interfaces, or by cgroup where they share its network.

A rule by interface holds whatever address a container gives itself, and hits nobody who gets its address later. It is gone
with the interface when the container restarts; the table stays, and says that this container is to be cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.action import CannotReach
from agent.systems.container_commands import program, run
from agent.systems.container_netns import Inside, Link

_CGROUPS: Final = Path("/sys/fs/cgroup")
"""What nft looks the path of a rule up in."""
_QUOTABLE: Final = re.compile(r'[^"\s{},;]+')
_DEVICES: Final = re.compile(r"devices = \{ ([^}]*) \}|device (\S+)")
"""nft spells one device without `=` and braces."""
_GROUPS: Final = re.compile(r'socket cgroupv2 level \d+ "([^"]+)" drop')
"""nft spells the number of a cgroup as its path; after a restart there is another one of that path, and the number stays."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where containers can be cut off: devices of the host, cgroups of those on its own network; and what has neither."""

    devices: tuple[str, ...]
    cgroups: tuple[Path, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """What the kernel holds of a cut. `there` tells a table without rules, where nothing runs, from none."""

    there: bool
    devices: frozenset[str]
    cgroups: frozenset[str]


def ends(entered: Sequence[Inside]) -> Ends:
    """Where these containers can be cut off just now."""
    own = {one.network: one for one in entered if not one.on_host}
    found, lacking = _devices(own.values()) if own else ([], [])
    groups = {one.name: group_of(one) for one in entered if one.on_host}
    lacking += [f"{name} has the host's network, and no cgroup v2 to tell it by" for name, at in groups.items() if at is None]
    return Ends(tuple(sorted(found)), tuple(at for at in groups.values() if at), tuple(lacking))


def group_of(one: Inside) -> Path | None:
    """The cgroup by which nft tells its packets from the host's; None where there is none."""
    found = one.cgroup()
    return found if found and found.is_relative_to(_CGROUPS) and _QUOTABLE.fullmatch(str(found)) else None


def _devices(own: Iterable[Inside]) -> tuple[list[str], list[str]]:
    peers = {
        (one["ifindex"], one.get("link_index", 0)): str(one["ifname"])
        for one in json.loads(run([program("ip"), "-j", "link", "show", "type", "veth"], "list the host's interfaces") or "[]")
    }
    found, lacking = [], []
    for one in own:
        for link in one.links():
            device = peers.get((link.peer, link.index))
            if device and _QUOTABLE.fullmatch(device):
                found.append(device)
            else:
                lacking.append(_lacks(one, link))
    return found, lacking


def _lacks(one: Inside, link: Link) -> str:
    return f"{link.name} of {one.name} has no end on this host (macvlan, ipvlan, an overlay network or a device of its own)"


def lay(key: str, there: Ends) -> None:
    """Drop everything at these ends, in one transaction; what was cut under this key before makes room for it.

    Raises:
        CannotReach: nft refuses.
    """
    run([program("nft"), "-f", "-"], "cut containers off", script(key, there))


def script(key: str, there: Ends) -> str:
    """The rules of a cut, in nft's language."""
    name, lines = table(key), []
    lines += [f"add table netdev {name}", f"delete table netdev {name}", f"table netdev {name} {{"]
    if there.devices:
        devices = ", ".join(f'"{one}"' for one in there.devices)
        for chain, hook in (("sent", "ingress"), ("got", "egress")):
            lines += [
                f"  chain {chain} {{",
                f"    type filter hook {hook} devices = {{ {devices} }} priority -500; policy drop;",
                "  }",
            ]
    lines += ["}", f"add table inet {name}", f"delete table inet {name}"]
    if there.cgroups:
        lines += [f"table inet {name} {{"]
        for chain, hook in (("sent", "output"), ("got", "input")):
            lines += [f"  chain {chain} {{", f"    type filter hook {hook} priority -400; policy accept;"]
            lines += [f"    {_matched(one)} drop" for one in there.cgroups]
            lines += ["  }"]
        lines += ["}"]
    return "\n".join(lines) + "\n"


def _matched(group: Path) -> str:
    """The level is counted in cgroup v2; the path in all of /sys/fs/cgroup, where a hybrid host has v2 as `unified`."""
    level = len(group.parts) - len(_top(group).parts)
    return f'socket cgroupv2 level {level} "{group.relative_to(_CGROUPS)}"'


def _top(group: Path) -> Path:
    return next(one for one in reversed(group.parents) if (one / "cgroup.controllers").exists())


def take_away(key: str) -> None:
    """Let everything through again.

    Raises:
        CannotReach: nft refuses.
    """
    name = table(key)
    lines = [f"{verb} table {family} {name}" for family in ("netdev", "inet") for verb in ("add", "delete")]
    run([program("nft"), "-f", "-"], "let containers talk again", "\n".join(lines) + "\n")


def look(key: str) -> Cut:
    """What is cut under this key."""
    listed = [_listed(family, table(key)) for family in ("netdev", "inet")]
    chains = [frozenset(re.findall(r"[^\s,\"]+", found[1] or found[2])) for found in _DEVICES.finditer(listed[0])]
    devices = chains[0] & chains[1] if len(chains) == 2 else frozenset()
    return Cut(bool(listed[0]), devices, frozenset(_GROUPS.findall(listed[1])))


def _listed(family: str, name: str) -> str:
    return run([program("nft"), "list", "table", family, name], "read what is cut off", absent=True)


def missing(there: Ends, cut: Cut) -> list[str]:
    """What is not cut off and should be, as sentences."""
    open_ends = [one for one in there.devices if one not in cut.devices]
    open_ends += [str(one) for one in there.cgroups if str(one.relative_to(_CGROUPS)) not in cut.cgroups]
    return [*(f"{one} is not cut off" for one in open_ends), *there.lacking]


def end_connections(groups: Sequence[Path]) -> None:
    """End the open connections of containers on the host's network: all of them, loopback is everybody's there."""
    for one in groups:
        with suppress(CannotReach):  # an older ss knows no cgroups; what is cut off stays silent all the same
            run([program("ss"), "-K", "-H", "-n", "-t", "-u", "state", "connected", "cgroup", str(one)], "end connections")


# Marks ------------------------------------------------------------------------------------------------------------------


def mark(key: str, word: str) -> None:
    """Write down in the kernel, as an empty table, what is to be done to a container as soon as it runs."""
    run([program("nft"), "-f", "-"], "leave a mark", f"add table netdev {table(key)}_{word}\n")


def unmark(key: str, word: str) -> None:
    """Take the mark away."""
    name = f"{table(key)}_{word}"
    run([program("nft"), "-f", "-"], "take a mark away", f"add table netdev {name}\ndelete table netdev {name}\n")


def marked(key: str, word: str) -> bool:
    """Whether the mark is there."""
    return bool(_listed("netdev", f"{table(key)}_{word}"))


def table(key: str) -> str:
    """The name of what we leave in the kernel for these containers."""
    return f"containment_{key}"
