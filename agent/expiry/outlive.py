"""Ends that come although the agent is dead. What its system does not end by itself gets a capsule before it is done, and, where
systemd runs, a timer: shortly after the end it starts `contain expire`, which undoes whatever is over and not yet ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent import execute
from agent.action import CannotReach, Change
from agent.expiry import capsule
from agent.expiry.capsule import Capsule, ends_elsewhere, place_of
from agent.expiry.timers import AGAIN, PATIENCE, Timers
from agent.incident import Mitigation
from agent.state import State
from agent.turn import Agent
from agent.workers import Job, Lanes

log = logging.getLogger("agent")

EVERY: Final = 1.0
LOOK: Final = 20.0
"""Seconds between two looks at what there is: capsules that somebody deleted, timers that somebody stopped."""


class Outlive:
    """Keeps capsules and timers as the state wants them. `alone` says of a mitigation why only the living agent ends it."""

    def __init__(self, agent: Agent, *, socket: Path, config: Path) -> None:
        """Nothing is looked at yet; `config` is the agent.yaml by which the systems are reached later."""
        self._agent, self._socket, self._config = agent, socket.absolute(), config.absolute()
        self._place = place_of(socket)
        self._timers = Timers(self._place)
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self._unwritten: dict[str, str] = {}
        self._timed = False
        self._watched: set[str] = set()
        self._due = self._look_at = 0.0
        self._out = False
        self._said: set[str] = set()
        self.alone: dict[str, str] = agent.alone

    # Before an act ------------------------------------------------------------------------------------------------------

    def capsules(self, made: Iterable[execute.Job]) -> list[Capsule]:
        """What must be written before these are made: nothing for what ends elsewhere. Called by the owner's thread."""
        here = [name for name, change in made if not ends_elsewhere(change)]
        self._watched.update(here)
        known = (self._agent.state.mitigations.get(name) for name in here)
        return [self._capsule(one, one.until) for one in known if one and one.until is not None]

    def _capsule(self, one: Mitigation, until: float) -> Capsule:
        return Capsule(
            host=self._agent.settings.host,
            mitigation=one.id,
            incident=one.incident,
            action=one.action,
            target=one.target,
            actor=one.actor,
            until=until,
            config=self._config,
            socket=self._socket,
            change=one.change,
        )

    def arm(self, capsules: Sequence[Capsule]) -> None:
        """Have these end without the agent. What cannot be had is said, and stops nothing. Called in lanes."""
        if not capsules:
            return
        with self._lock:
            for one in capsules:
                self._write(one)
            self._time()

    def _write(self, one: Capsule) -> None:
        if self._ends.get(one.mitigation) == one.until:
            return
        try:
            capsule.write(self._place, one, known=one.mitigation in self._ends)
        except CannotReach as error:
            self._unwritten[one.mitigation] = str(error)
            return
        self._ends[one.mitigation] = one.until
        self._unwritten.pop(one.mitigation, None)

    def _time(self) -> None:
        """Bring the timers to what the capsules say, and tell what neither holds."""
        why = self._timers.keep(self._ends.values()) if self._ends or self._timed else ""
        self._timed = bool(self._ends)
        alone = {**(dict.fromkeys(self._ends, why) if why else {}), **self._unwritten}
        for gone in self.alone.keys() - alone.keys():
            del self.alone[gone]
        self.alone.update(alone)
        self._say(why or next(iter(self._unwritten.values()), ""))

    def _say(self, why: str) -> None:
        if why and why not in self._said:
            log.warning("%s; until then it ends only while the agent runs, or at its next start", why)
        self._said = {why} if why else set()

    # Kept up ------------------------------------------------------------------------------------------------------------

    def turn(self, lanes: Lanes, now: float) -> None:
        """Bring capsules and timers to what the state says: extended, confirmed, over. `now` is monotonic; the owner's thread."""
        if self._out or now < self._due:
            return
        self._due, looks = now + (AGAIN if self._unwritten else EVERY), now >= self._look_at
        held = self._agent.state.mitigations
        if looks:
            self._look_at = now + LOOK
            self._watched.update(name for name, one in held.items() if one.active and not ends_elsewhere(one.change))
        self._watched = {name for name in self._watched if (one := held.get(name)) and one.active}
        ends = {name: until for name in self._watched if (until := held[name].until) is not None}
        changed = [self._capsule(held[name], until) for name, until in ends.items() if self._ends.get(name) != until]
        over = [name for name in (*self._ends, *self._unwritten) if name not in ends]
        if looks or changed or over:
            self._out = True
            work = partial(self._keep, changed, over, looks=looks)
            lanes.start("timers", Job("keep capsules and timers", work, self._unkept, 6 * PATIENCE), now)

    def _keep(self, changed: Sequence[Capsule], over: Sequence[str], *, looks: bool) -> list[Any]:
        with self._lock:
            if looks:
                self._look()
            for one in changed:
                self._write(one)
            for name in over:
                self._remove(name)
            self._time()
        self._out = False
        return []

    def _unkept(self, why: str) -> list[Any]:
        self._say(why)
        self._out, self._due = False, time.monotonic() + AGAIN
        return []

    def _remove(self, name: str) -> None:
        try:
            capsule.remove(capsule.file_of(self._place, name))
        except OSError as error:
            self._say(f"cannot remove the capsule of {name}: {error.strerror}")
            return
        self._ends.pop(name, None)
        self._unwritten.pop(name, None)

    def _look(self) -> None:
        """What there is, as the files say. Those of nobody that the state knows are left for `stray`, and for their end; once
        they are adopted under another name, and have a capsule by that, they are not needed any more.
        """
        known, ours = self._agent.state, dict[str, float]()
        for path, one in _readable(self._place, known):
            made, other = known.mitigations.get(one.mitigation), known.holding(one.key)
            if made and made.key == one.key and path == capsule.file_of(self._place, one.mitigation):
                ours[one.mitigation] = one.until
            elif other and other.id in self._ends:
                capsule.remove(path)
        self._ends = ours
        self._timers.forget()


# After a lost journal ---------------------------------------------------------------------------------------------------


class Adopted(NamedTuple):
    """What a capsule says is in force, and the state does not know. `until` is Unix seconds."""

    action: str
    target: str
    change: Change
    until: float | None
    incident: str
    mitigation: str


def stray(socket: Path, state: State) -> list[Adopted]:
    """The capsules of the agent that listens there whose mitigations its state knows nothing of, as they were made."""
    found = [one for _, one in _readable(place_of(socket), state) if not _known(one, state)]
    found.sort(key=lambda one: one.number)
    return [Adopted(one.action, one.target, one.change, one.until, one.incident, one.mitigation) for one in found]


def _known(one: Capsule, state: State) -> bool:
    """By its name, or because another means the same in the world."""
    made = state.mitigations.get(one.mitigation)
    return (made is not None and made.key == one.key) or state.holding(one.key) is not None


def _readable(place: Path, state: State) -> list[tuple[Path, Capsule]]:
    """Those that can be used; of the others a warning tells what is wrong."""
    found = []
    for path in capsule.written(place):
        try:
            found.append((path, capsule.read(path, state.systems)))
        except CannotReach as error:
            log.warning("%s", error)
    return found
