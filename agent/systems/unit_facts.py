"""What systemd says about one unit, and which units no action may ever change."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

from agent.action import CannotReach, Protected
from agent.systems.system_bus import Bus

SYSTEMD: Final = "org.freedesktop.systemd1"
MANAGER_PATH: Final = "/org/freedesktop/systemd1"
MANAGER: Final = f"{SYSTEMD}.Manager"
MOST: Final = 256
"""Processes, list entries and units in one answer; more is left out."""
_KINDS: Final = "service|socket|device|mount|automount|swap|target|path|timer|slice|scope"  # systemd.unit(5)
_NAME: Final = re.compile(rf"[A-Za-z0-9:_.\\@-]{{1,240}}\.({_KINDS})")
_UP: Final = ("active", "activating", "reloading")
_FALL_WITH: Final = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")  # systemd.unit(5)
_PACKAGED: Final = ("/usr/", "/lib/", "/run/systemd/generator/", "/run/systemd/generator.late/")
_SECRET: Final = re.compile(r"Environment|SetCredential.*|StandardInputData")

NEVER: Final[Mapping[str, str]] = {
    "systemd-*": "systemd itself is made of it",
    "init.scope": "it is systemd itself",
    "*.slice": "the whole host lives in it",
    "dbus*": "every order to systemd goes through it",
    "polkit*": "it decides who may give systemd orders",
    "ssh.*": "people get in by it",
    "ssh@*": "people get in by it",
    "sshd*": "people get in by it",
    "*getty@*": "people get in by it",
    "*-getty.service": "people get in by it",
    "user@*": "people's sessions live in it",
    "user-runtime-dir@*": "people's sessions live in it",
    "networking.service": "the host is reached through it",
    "NetworkManager*": "the host is reached through it",
    "wpa_supplicant*": "the host is reached through it",
    "ifup@*": "the host is reached through it",
    "dhcpcd*": "the host is reached through it",
    "wg-quick@*": "people may come in through it",
    "openvpn*": "people may come in through it",
    "tailscaled*": "people may come in through it",
}
"""Patterns for units that are never changed, and why; agent.yaml can only add to them."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """One unit as a plan needs it. `name` is its real one, where an alias was asked for.

    `invocation` names this very run of it; `triggers` are the running sockets, timers and paths that start it; `deny` and
    `allow` are its IP filter; `cgroup` is where its processes live.
    """

    name: str
    load: str
    active: str
    sub: str
    result: str
    file_state: str
    invocation: str
    fragment: str
    transient: bool
    triggers: tuple[str, ...]
    freezer: str
    can_freeze: bool
    watchdog: bool
    deny: tuple[Network, ...]
    allow: tuple[Network, ...]
    drop_ins: tuple[str, ...]
    cgroup: str

    @property
    def up(self) -> bool:
        """Whether it runs, or is about to."""
        return self.active in _UP

    @property
    def needs_link(self) -> bool:
        """Whether its file lies where a runtime mask of systemd's own does not reach."""
        return bool(self.fragment) and not self.fragment.startswith(_PACKAGED)

    @property
    def in_a_loop(self) -> bool:
        """Whether it ended by itself and waits for systemd to start it again."""
        return self.sub == "auto-restart"

    @property
    def state(self) -> str:
        """For sentences: `active`, `failed (exit-code)`, `activating (auto-restart, exit-code)`."""
        more = ", ".join(filter(None, ("auto-restart" if self.in_a_loop else "", self.result.removeprefix("success"))))
        return f"{self.active} ({more})" if more else self.active


def well_formed(name: str) -> bool:
    """Whether any unit can have that name."""
    return _NAME.fullmatch(name) is not None


def refuse_protected(names: Iterable[str], what: str) -> None:
    """Let nothing pass that must never be changed, this agent's own unit included.

    Raises:
        Protected: `cannot <what>: …`, with the reason.
    """
    own = _own_units()
    for name in names:
        if name in own:
            raise Protected(f"cannot {what}: this agent runs in {name}")
        if why := next((why for pattern, why in NEVER.items() if fnmatchcase(name, pattern)), None):
            raise Protected(f"cannot {what}: {name} is never touched: {why}")


def _own_units() -> set[str]:
    """The services and scopes that this process is in: cgroup paths are made of unit names."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    parts = {part for line in lines for part in line.split(":", 2)[2].split("/")}
    return {part for part in parts if part.endswith((".service", ".scope"))}


def read_facts(bus: Bus, unit: str, what: str) -> UnitFacts:
    """The facts of one unit.

    Raises:
        Protected: it must never be changed, by this or another of its names.
        CannotReach: no unit can have that name.
    """
    if not well_formed(unit):
        raise CannotReach(f"cannot {what}: no unit is called `{unit}`; write it in full, as in nginx.service")
    refuse_protected([unit], what)
    (path,) = bus.ask(MANAGER_PATH, f"{MANAGER}.LoadUnit", "s", unit)
    found = bus.properties(path)
    refuse_protected([found["Id"], *found["Names"]], what)
    return UnitFacts(
        name=found["Id"],
        load=found["LoadState"],
        active=found["ActiveState"],
        sub=found["SubState"],
        result=found.get("Result", ""),
        file_state=found["UnitFileState"],
        invocation=bytes(found["InvocationID"]).hex(),
        fragment=found["FragmentPath"],
        transient=found["Transient"],
        triggers=_up(bus, found["TriggeredBy"]),
        freezer=found.get("FreezerState", "running"),
        can_freeze=found.get("CanFreeze", False),
        watchdog=found.get("WatchdogUSec", 0) not in (0, 2**64 - 1),
        deny=networks(found.get("IPAddressDeny", ())),
        allow=networks(found.get("IPAddressAllow", ())),
        drop_ins=tuple(found["DropInPaths"]),
        cgroup=found.get("ControlGroup", ""),
    )


def _up(bus: Bus, names: Iterable[str]) -> tuple[str, ...]:
    wanted = sorted(names)[:MOST]
    (listed,) = bus.ask(MANAGER_PATH, f"{MANAGER}.ListUnitsByNames", "as", wanted) if wanted else ((),)
    return tuple(name for name, _, _, active, *_ in listed if active in _UP)


def dependents(bus: Bus, unit: str) -> tuple[str, ...]:
    """The running units that systemd stops when it stops this one, those that stop with them, and so on."""
    seen: dict[str, None] = {unit: None}
    ahead = [unit]
    while ahead and len(seen) < MOST:
        (path,) = bus.ask(MANAGER_PATH, f"{MANAGER}.LoadUnit", "s", ahead.pop())
        found = bus.properties(path)
        new = _up(bus, {name for kind in _FALL_WITH for name in found.get(kind, ())} - set(seen))
        seen.update(dict.fromkeys(new))
        ahead += new
    return tuple(seen)[1:]


def networks(listed: Iterable[tuple[int, bytes, int]]) -> tuple[Network, ...]:
    """An IP filter as systemd gives it, in the order it gives it."""
    return tuple(ipaddress.ip_network((bytes(address), length)) for _, address, length in listed)


# For evidence -----------------------------------------------------------------------------------------------------------


def show(bus: Bus, unit: str) -> dict[str, Any]:
    """A unit's properties without its environment and credentials, and its processes: pid, cgroup and command line."""
    (path,) = bus.ask(MANAGER_PATH, f"{MANAGER}.LoadUnit", "s", unit)
    properties = bus.properties(path)
    (processes,) = bus.ask(MANAGER_PATH, f"{MANAGER}.GetUnitProcesses", "s", unit)
    return {
        "properties": {name: _plain(value) for name, value in sorted(properties.items()) if not _SECRET.fullmatch(name)},
        "processes": [{"pid": pid, "cgroup": cgroup, "command": line[:1000]} for cgroup, pid, line in processes[:MOST]],
        "processes_left_out": max(0, len(processes) - MOST),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:MOST].hex()
    if isinstance(value, str):
        return value[:1000]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value[:MOST]]
    return value if isinstance(value, bool | int | float) else str(value)[:1000]
