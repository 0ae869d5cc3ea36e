"""systemd's units, asked and ordered over D-Bus: one call for any number of them, no fork."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from agent.action import Call, CannotReach, Holds, System, call, slow
from agent.systems import cgroup_filter, unit_changes, unit_filter, unit_starts
from agent.systems.restart_counts import RestartCounts
from agent.systems.system_bus import SYSTEM_BUS, Bus, open_bus
from agent.systems.unit_commands import in_shell
from agent.systems.unit_facts import (
    MANAGER,
    MANAGER_PATH,
    SYSTEMD,
    UnitFacts,
    dependents,
    read_facts,
    refuse_protected,
    show,
    well_formed,
)
from agent.systems.unit_filter import IpFilter

ASK: Final = timedelta(seconds=3)
CHANGE: Final = timedelta(seconds=6)
LONG: Final = timedelta(seconds=14)
"""Seconds for a question, for a change, and for one in which systemd reads all its unit files anew."""
CHANGED: Final = ("service", "socket", "timer", "path")
"""Kinds of units that actions may change."""


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as systemd has it. `result` says why a service failed, `restarts` how often systemd started it again by itself
    within the span that was asked about."""

    name: str
    load: str
    active: str
    sub: str
    result: str = ""
    restarts: int = 0


class Units(System):
    """The units of this host's systemd. Any user may read them; changing them needs root or polkit."""

    name = "units"
    rights = "root, by the drop-in root.conf"

    def __init__(self, bus: str = SYSTEM_BUS, root: str = "/", long: timedelta = LONG) -> None:
        """`root` is where that systemd's files are found, /sys among them; `long` the patience with a stop or start."""
        self._bus, self._root, self._long = bus, Path(root), long
        self._restarts = RestartCounts()

    # States for checks --------------------------------------------------------------------------------------------

    def states(self, names: Sequence[str], *, restarts_within: timedelta, within: timedelta) -> list[UnitState]:
        """The state of each named unit, in order; one that does not exist is there with load `not-found`.

        Restarts are counted from the first time a unit was asked about.

        Raises:
            CannotReach: no system bus, no systemd on it, or no answer `within`; a name that no unit can have.
        """
        for name in names:
            if not well_formed(name):  # systemd leaves such a name out of its reply, and the rest would move up
                mend = "no unit has such a name; write it in full, as in nginx.service"
                raise CannotReach(f"cannot ask for the unit `{name}`: {mend}")
        with open_bus(self._bus, SYSTEMD, "ask systemd", within) as bus:
            return self._ask(bus, names, restarts_within)

    def _ask(self, bus: Bus, names: Sequence[str], restarts_within: timedelta) -> list[UnitState]:
        found = []
        (listed,) = bus.ask(MANAGER_PATH, f"{MANAGER}.ListUnitsByNames", "as", list(names))
        for asked, (_, _, load, active, sub, _, path, *_) in zip(names, listed, strict=True):
            service = load == "loaded" and asked.endswith(".service")
            result = _property(bus, path, "Result") if service and active == "failed" else ""
            restarts = self._restarts.note(asked, _property(bus, path, "NRestarts"), restarts_within) if service else 0
            found.append(UnitState(asked, load, active, sub, result, restarts))
        return found

    # Facts for plans ----------------------------------------------------------------------------------------------

    def facts(self, unit: str, what: str, kinds: Sequence[str] = CHANGED) -> UnitFacts:
        """What a plan must know of one unit; `what` is to be done to it, as in `stop nginx.service`.

        Raises:
            Protected: it must never be changed.
            CannotReach: there is no such unit, or it is not of these kinds; no answer from systemd.
        """
        with self._open(what, ASK) as bus:
            found = read_facts(bus, unit, what)
        if found.load not in ("loaded", "masked"):
            raise CannotReach(f"cannot {what}: {unit} is {found.load}; `systemctl list-units --all` names those there are")
        if found.name.rpartition(".")[2] not in kinds:
            raise CannotReach(f"cannot {what}: this is for a unit of the kind {' or '.join(kinds)}")
        alone = (self._root / "sys/fs/cgroup/cgroup.controllers").exists()  # beside version 1, systemd says yes and refuses then
        return replace(found, can_freeze=found.can_freeze and alone)

    def dependents(self, unit: str, what: str) -> tuple[str, ...]:
        """The running units that systemd stops or restarts with this one.

        Raises:
            Protected: one of them must never be changed.
        """
        with self._open(what, ASK) as bus:
            found = dependents(bus, unit)
        refuse_protected(found, f"{what}, which takes others with it")
        return found

    def restarts(self, unit: str, most: int, within: timedelta) -> int:
        """How many times a unit was started again `within` this time, counted up to `most`, by whomever.

        Raises:
            CannotReach: the journal cannot be read.
        """
        return unit_starts.restarts(unit, most, within, str(self._root))

    def can_filter(self, allow: Sequence[Any]) -> None:
        """Find out whether it could be seen that a filter which allows only this holds.

        Raises:
            CannotReach: it could not, or it would allow nearly everything.
        """
        unit_filter.strangers(allow)
        cgroup_filter.may_see()

    def cuts(self, facts: UnitFacts, wanted: IpFilter) -> bool:
        """Whether the unit has that filter already, and the kernel enforces it.

        Raises:
            CannotReach: the kernel does not say.
        """
        return unit_filter.cuts(self._cgroups, facts, wanted)

    # Hold down ----------------------------------------------------------------------------------------------------

    @call
    @slow(10)
    def hold_down(self, unit: str, triggers: tuple[str, ...], link: bool) -> None:
        """Stop a unit and what starts it, and mask it; `link` where a mask of systemd's own does not reach."""
        with self._open(f"stop {unit}", self._long) as bus:
            refuse_protected(triggers, f"stop {unit}")
            facts = read_facts(bus, unit, f"stop {unit}")
            unit_changes.hold_down(bus, self._root, facts, triggers, link=link)

    @call
    @slow(10)
    def let_up(self, unit: str, running: tuple[str, ...]) -> None:
        """Take the mask away, and start those of these units that do not run."""
        with self._open(f"let {unit} up", self._long) as bus:
            refuse_protected([unit, *running], f"let {unit} up")
            unit_changes.let_up(bus, self._root, unit, running)

    @call
    def is_held_down(self, unit: str, triggers: tuple[str, ...], running: tuple[str, ...]) -> bool | Holds:
        """Whether the unit is masked and neither it nor what starts it runs."""
        with self._open(f"see whether {unit} is stopped", ASK) as bus:
            return unit_changes.is_held_down(bus, self._root, unit, triggers, running)

    # Restart ------------------------------------------------------------------------------------------------------

    @call
    def restart(self, unit: str, invocation: str) -> None:
        """Restart the unit, unless that run of it has ended already."""
        with self._open(f"restart {unit}", CHANGE) as bus:
            unit_changes.restart(bus, read_facts(bus, unit, f"restart {unit}"), invocation)

    @call
    def is_restarted(self, unit: str, invocation: str) -> bool | Holds:
        """Whether the unit runs, and in another run than that one."""
        with self._open(f"see whether {unit} was restarted", ASK) as bus:
            return unit_changes.is_restarted(read_facts(bus, unit, f"restart {unit}"), invocation)

    # Freeze -------------------------------------------------------------------------------------------------------

    @call
    def freeze(self, unit: str) -> None:
        """Stop every process of the unit where it stands."""
        with self._open(f"freeze {unit}", CHANGE) as bus:
            unit_changes.freeze(bus, self._cgroups, read_facts(bus, unit, f"freeze {unit}"))

    @call
    def thaw(self, unit: str) -> None:
        """Let the unit's processes go on."""
        with self._open(f"thaw {unit}", CHANGE) as bus:
            unit_changes.thaw(bus, read_facts(bus, unit, f"thaw {unit}"))

    @call
    def is_frozen(self, unit: str, invocation: str) -> bool | Holds:
        """Whether that run of the unit is frozen."""
        with self._open(f"see whether {unit} is frozen", ASK) as bus:
            return unit_changes.is_frozen(self._cgroups, read_facts(bus, unit, f"freeze {unit}"), invocation)

    # Cut off ------------------------------------------------------------------------------------------------------

    @call
    def cut(self, unit: str, wanted: IpFilter) -> None:
        """Give the unit this IP filter, and see that the kernel enforces it."""
        with self._open(f"cut {unit} off", CHANGE) as bus:
            facts = read_facts(bus, unit, f"cut {unit} off")
            unit_filter.cut(bus, self._root, self._cgroups, facts, wanted)

    @call
    @slow(10)
    def uncut(self, unit: str, ours: IpFilter, before: IpFilter, new: tuple[str, ...]) -> None:
        """Give the unit the IP filter it had; `new` are the properties that no drop-in set before."""
        with self._open(f"let {unit} talk again", self._long) as bus:
            facts = read_facts(bus, unit, f"let {unit} talk again")
            unit_filter.uncut(bus, self._root, facts, ours, before, new)

    @call
    def is_cut(self, unit: str, wanted: IpFilter, before: IpFilter) -> bool | Holds:
        """Whether systemd has that filter for the unit, and the kernel enforces it."""
        with self._open(f"see whether {unit} is cut off", ASK) as bus:
            facts = read_facts(bus, unit, f"cut {unit} off")
            return unit_filter.is_cut(self._cgroups, facts, wanted, before)

    # Evidence -----------------------------------------------------------------------------------------------------

    @call
    def show(self, unit: str) -> dict[str, Any]:
        """The unit's properties without its environment, and its processes."""
        with self._open(f"look at {unit}", ASK) as bus:
            return show(bus, unit)

    # ----------------------------------------------------------------------------------------------------------------

    def native(self, one: Call) -> str:
        """The same as commands for a shell."""
        return in_shell(one)

    @property
    def _cgroups(self) -> Path:
        """Where the second version of cgroups is mounted: beside the first on a hybrid host."""
        hybrid = self._root / "sys/fs/cgroup/unified"
        return hybrid if hybrid.is_dir() else self._root / "sys/fs/cgroup"

    def _open(self, what: str, within: timedelta) -> AbstractContextManager[Bus]:
        return open_bus(self._bus, SYSTEMD, what, within)


def _property(bus: Bus, path: str, name: str) -> Any:
    ((_, value),) = bus.ask(path, "org.freedesktop.DBus.Properties.Get", "ss", f"{SYSTEMD}.Service", name)
    return value
