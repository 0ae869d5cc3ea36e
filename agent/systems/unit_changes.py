"""What is done to units over D-Bus: hold down, let up again, restart, freeze, thaw; and whether that holds.

Facts that shape it (systemd 252, measured):

- A runtime mask does nothing against a unit file in /etc, which comes first on systemd's path. Over those the mask goes into
  /run/systemd/system.control, which comes before /etc.
- A mask that systemd has read takes the unit's ExecStop=, KillMode= and KillSignal= away from the running service, and a
  database would be killed. So the order is: write the mask, stop, and only then have systemd read it.
- A masked service breaks the sockets and timers that start it, and a socket refuses to start while its service runs. So they
  are stopped with it, and let up before it, in one change: no two changes could be undone in the right order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.action import CannotReach, Holds, InProgress
from agent.systems.system_bus import Bus, Refused
from agent.systems.unit_facts import MANAGER, MANAGER_PATH, UnitFacts, read_facts

CONTROL: Final = "run/systemd/system.control"


# Hold down -----------------------------------------------------------------------------------------------------------------


def hold_down(bus: Bus, root: Path, facts: UnitFacts, triggers: Iterable[str], *, link: bool) -> None:
    """Stop a unit and what starts it, and mask it until it is let up or the host starts anew.

    Raises:
        InProgress: it takes long to stop; the mask is written, and is read once this is done again.
        CannotReach: the mask does not take, or systemd refuses.
    """
    unit = facts.name
    _mask(bus, root, unit, link=link)
    for one in (*triggers, unit):
        _job(bus, "StopUnit", one)
    bus.ask(MANAGER_PATH, f"{MANAGER}.Reload")
    after = read_facts(bus, unit, f"stop {unit}")
    if after.load != "masked":
        raise CannotReach(f"cannot stop {unit} for good: its mask does not take over {after.fragment}")
    if after.up:  # something started it between the stop and the mask
        _job(bus, "StopUnit", unit)


def _mask(bus: Bus, root: Path, unit: str, *, link: bool) -> None:
    if not link:
        bus.ask(MANAGER_PATH, f"{MANAGER}.MaskUnitFiles", "asbb", [unit], True, False)
        return
    place = root / CONTROL / unit
    try:
        place.parent.mkdir(mode=0o755, exist_ok=True)
        if not _is_mask(place):
            place.symlink_to("/dev/null")
    except OSError as error:
        raise CannotReach(f"cannot mask {unit}: {place}: {error.strerror}; this needs root") from error


def _is_mask(place: Path) -> bool:
    try:
        return str(place.readlink()) == "/dev/null"
    except OSError:
        return False


def _masked_by_us(root: Path, unit: str) -> bool:
    return any(_is_mask(root / folder / unit) for folder in (CONTROL, "run/systemd/system"))


def let_up(bus: Bus, root: Path, unit: str, running: Iterable[str]) -> None:
    """Take the mask away, and start what ran: first what starts the unit, then the unit, then what depends on it.

    Raises:
        CannotReach: some of it does not start, or not at once; the rest was ordered all the same.
    """
    bus.ask(MANAGER_PATH, f"{MANAGER}.UnmaskUnitFiles", "asb", [unit], True)
    place = root / CONTROL / unit
    try:
        if _is_mask(place):
            place.unlink()
    except OSError as error:
        raise CannotReach(f"cannot take the mask off {unit}: {place}: {error.strerror}; this needs root") from error
    bus.ask(MANAGER_PATH, f"{MANAGER}.Reload")
    if read_facts(bus, unit, f"start {unit}").load == "masked":  # somebody else wants it down
        return
    failed = []
    for one in running:
        try:
            _job(bus, "StartUnit", one)
        except CannotReach as error:
            failed.append(str(error))
    if failed:
        raise CannotReach("; ".join(failed))


def is_held_down(bus: Bus, root: Path, unit: str, triggers: tuple[str, ...], running: tuple[str, ...]) -> bool | Holds:
    """Whether the unit is masked and does not run, nor does what starts it."""
    facts = read_facts(bus, unit, f"see whether {unit} is stopped")
    ours = _masked_by_us(root, unit)
    if facts.active == "deactivating":
        raise InProgress(f"{unit} is stopping")
    awake = [one for one in triggers if one in facts.triggers]
    if facts.load == "masked" and (ours or facts.file_state == "masked"):
        return _held(bus, facts, awake, ours=ours)
    if ours:
        return Holds("partly", f"{unit} is {facts.state}, and systemd has not read the mask yet")
    return _let_go(bus, facts, [one for one in triggers if one not in awake], running)


def _held(bus: Bus, facts: UnitFacts, awake: list[str], *, ours: bool) -> bool | Holds:
    if not ours:
        return Holds("no", f"somebody else has masked {facts.name} for good; it is {facts.state}")
    if facts.up:
        return Holds("partly", f"{facts.name} is masked, yet it runs")
    if awake:
        return Holds("partly", f"{', '.join(awake)} runs and would start {facts.name}")
    left = _processes(bus, facts)
    if not left:
        return True
    mend = f"`systemctl kill --signal=KILL {facts.name}` ends them"
    return Holds("partly", f"{facts.name} is stopped, and its KillMode= lets {left} of its processes live on; {mend}")


def _processes(bus: Bus, facts: UnitFacts) -> int:
    """How many are left. systemd forgets a unit that is stopped and masked, but not one whose cgroup is not empty."""
    try:
        (left,) = bus.ask(MANAGER_PATH, f"{MANAGER}.GetUnitProcesses", "s", facts.name) if facts.cgroup else ((),)
    except Refused as error:
        if error.kind == "NoSuchUnit":
            return 0
        raise
    return len(left)


def _let_go(bus: Bus, facts: UnitFacts, asleep: list[str], running: tuple[str, ...]) -> bool | Holds:
    """Nothing is masked: of what ran before, is all running again?"""
    if facts.in_a_loop:
        return Holds("no", f"{facts.name} is let go, and does not stay up: {facts.state}")
    if facts.name in running and not facts.up:
        return Holds("partly", f"{facts.name} is not masked, but does not run either: {facts.state}")
    if asleep:
        return Holds("partly", f"{', '.join(asleep)} ran before, and does not run")
    others = [one for one in running if one != facts.name]
    states = [read_facts(bus, one, f"see whether {one} runs") for one in others]
    down = [f"{one.name} is {one.state}" for one in states if not one.up]
    return Holds("no", f"{facts.name} is let go; stopped with it: {', '.join(down)}") if down else False


def _job(bus: Bus, verb: str, unit: str) -> None:
    try:
        result = bus.run_job(MANAGER_PATH, f"{MANAGER}.{verb}", unit)
    except Refused as error:
        if verb == "StopUnit" and error.kind == "NoSuchUnit":  # a trigger that was taken away meanwhile
            return
        raise
    if result not in ("done", "skipped"):
        verb = verb.removesuffix("Unit").lower()
        raise CannotReach(f"cannot {verb} {unit}: systemd says `{result}`; `systemctl status {unit}` says more")


# Restart -------------------------------------------------------------------------------------------------------------------


def restart(bus: Bus, facts: UnitFacts, invocation: str) -> None:
    """Restart a unit, unless the run that was to be ended has ended already.

    Raises:
        CannotReach: it does not come up again.
        InProgress: it takes its time.
    """
    if facts.invocation == invocation:
        _job(bus, "RestartUnit", facts.name)


def is_restarted(facts: UnitFacts, invocation: str) -> bool | Holds:
    """Whether the unit runs, and in another run than that one."""
    if facts.in_a_loop:
        return Holds("no", f"{facts.name} does not stay up: {facts.state}")
    if facts.active not in ("active", "inactive", "failed"):
        raise InProgress(f"{facts.name} is {facts.state}")
    if facts.invocation == invocation:
        return False
    return facts.active == "active" or Holds("no", f"{facts.name} was started anew, and is {facts.state}")


# Freeze --------------------------------------------------------------------------------------------------------------------


def freeze(bus: Bus, cgroups: Path, facts: UnitFacts) -> None:
    """Stop every process of a unit where it stands, memory and connections kept."""
    if facts.freezer.startswith("frozen"):
        if _stands_still(cgroups, facts):
            return
        thaw(bus, facts)  # systemd refuses to freeze what it believes to be frozen
    bus.ask(MANAGER_PATH, f"{MANAGER}.FreezeUnit", "s", facts.name)


def thaw(bus: Bus, facts: UnitFacts) -> None:
    """Let a frozen unit's processes go on."""
    if facts.freezer != "running":
        bus.ask(MANAGER_PATH, f"{MANAGER}.ThawUnit", "s", facts.name)


def is_frozen(cgroups: Path, facts: UnitFacts, invocation: str) -> bool | Holds:
    """Whether that run of the unit is frozen, in systemd's word and the kernel's."""
    if facts.freezer in ("freezing", "thawing"):
        raise InProgress(f"{facts.name} is {facts.freezer}")
    if facts.freezer.startswith("frozen"):
        still = _stands_still(cgroups, facts)
        return still or Holds("partly", f"systemd believes that {facts.name} is frozen, and the kernel lets it run")
    if facts.invocation != invocation or not facts.up:
        return Holds("no", f"{facts.name} was stopped or restarted meanwhile, which thaws it; it is {facts.state}")
    return False


def _stands_still(cgroups: Path, facts: UnitFacts) -> bool:
    """What the kernel says (cgroups(7), cgroup.events): systemd 252 does not notice who writes to cgroup.freeze beside it."""
    events = cgroups / facts.cgroup.lstrip("/") / "cgroup.events"
    try:
        return "frozen 1" in events.read_text(encoding="ascii")
    except OSError as error:
        raise CannotReach(f"cannot see whether {facts.name} is frozen: {events}: {error.strerror}") from error
