"""What is kept up beside the turns: life-lines learnt, the kernel's own list of them, open connections, drop counters."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from agent.action import CannotReach, System
from agent.guard import Lifelines
from agent.messages import Counted, Disturbed, Learnt, Message
from agent.turn import Agent
from agent.workers import Job, Lanes

log = logging.getLogger("agent")

LEARN: Final = 2.0
"""Seconds between two looks at this host's life-lines."""
KEEP: Final = 30.0
"""Seconds between two looks after what must be there before an emergency: open connections, logins that are renewed, names."""
COUNT: Final = 30.0
"""Seconds between two readings of what was stopped, where a policy ends what is quiet."""
PATIENCE: Final = 10.0
_BESIDE: Final = {"firewall": ("firewall", "perimeter")}
"""Systems that live in the same part of the kernel: whoever changed one may have changed the other."""


class Upkeep:
    """Called by the owner's thread; whatever may block goes to a lane. `counters` are packets and bytes stopped, by key."""

    def __init__(
        self,
        systems: Mapping[str, System],
        lifelines: Callable[[], Lifelines],
        agent: Agent,
        lanes: Lanes,
        mailbox: queue.SimpleQueue[Any],
    ) -> None:
        """Nothing is done yet."""
        self._lifelines, self._agent, self._lanes, self._mailbox = lifelines, agent, lanes, mailbox
        self._firewall: Any = systems["firewall"]
        self._systems = systems
        self._keepers = {name: one.keep for name, one in systems.items() if hasattr(one, "keep")}
        self._keep_due = 0.0
        self._unkept: set[str] = set()
        self._talk, self._disturbers = threading.Lock(), dict[str, str]()
        self._belt: Lifelines | None = None
        self._belt_due = self._count_due = 0.0
        self._learning = False
        self.counters: Mapping[str, tuple[int, int]] = {}
        self.next_due = 0.0

    def begin(self) -> None:
        """At start: what is needed first in an emergency is there before it; and hear of others' changes from now on.

        The firewall knows the life-lines before it makes a table, so that no block is ever there without their belt.
        """
        self._buckle(time.monotonic())
        holding = any(one.change.apply.system == "firewall" for one in self._agent.state.in_force())
        if holding or any(self._agent.mode(one) == "enforce" for one in self._agent.policies.values()):
            self._lanes.start("firewall", Job("prepare the ruleset", self._prepare, self._unprepared, PATIENCE), time.monotonic())
        for name, system in self._systems.items():
            if hasattr(system, "watch"):
                self._watch(name, system)

    def _watch(self, name: str, system: Any) -> None:
        try:
            system.watch(lambda who: self._tell(name, str(who)))
        except CannotReach as error:
            log.warning("%s; changes by others are noticed within a minute instead of at once", error)

    def _tell(self, name: str, who: str) -> None:
        """Called by threads that listen: however often others change a system, one word about it waits in the mailbox."""
        for system in _BESIDE.get(name, (name,)):
            with self._talk:
                waits, self._disturbers[system] = system in self._disturbers, who
            if not waits:
                self._mailbox.put(Disturbed(system, who))

    def disturbed(self, one: Disturbed) -> Disturbed:
        """The word is taken: it names whoever was last, and what happens from here on needs another one."""
        with self._talk:
            return Disturbed(one.system, self._disturbers.pop(one.system, one.who))

    def turn(self, now: float) -> None:
        """Do what is due; `now` is monotonic."""
        if now >= self.next_due:
            self.next_due = now + LEARN
            if not self._learning:
                self._learning = True
                learn = partial(self._learn, self._agent.reading)
                self._lanes.start("host", Job("learn life-lines", learn, self._unlearnt, PATIENCE), now)
        if now >= self._keep_due:
            self._keep_due = now + KEEP
            for name in self._keepers:
                self._lanes.start(name, self._keep(name), now)
        if now >= self._count_due and any(one.recover.quiet for one in self._agent.policies.values()):
            self._count_due = now + COUNT
            self._lanes.start("firewall", Job("read drop counters", self._counted, lambda _: [], PATIENCE), now)
        if self._agent.lifelines.certain is not self._belt and now >= self._belt_due:
            self._buckle(now)

    def _buckle(self, now: float) -> None:
        """Give the kernel the life-lines. Not those that a stranger can bring about: whoever is blocked would get off by them."""
        self._belt, self._belt_due = self._agent.lifelines.certain, now + LEARN  # one that fails comes again then
        protect = partial(self._protect, self._belt)
        self._lanes.start("firewall", Job("protect life-lines", protect, self._unprotected, PATIENCE), now)

    def count(self) -> None:
        """Read what the kernel stopped; called in the firewall's lane."""
        self.counters = {str(one.undo): (one.packets, one.bytes) for one in self._firewall.held()}

    def _counted(self) -> list[Message]:
        self.count()
        return [Counted(self.counters)]

    def _learn(self, reading: int) -> list[Message]:
        lifelines = self._lifelines()
        self._learning = False
        return [Learnt(lifelines, reading)] if lifelines.given != self._agent.learnt.given else []

    def _unlearnt(self, why: str) -> list[Message]:
        self._learning = False
        log.warning("%s; the life-lines known before stay", why)
        return []

    def _protect(self, belt: Lifelines) -> list[Message]:
        self._firewall.protect([one.network for one in belt.lines])
        return []

    def _unprotected(self, why: str) -> list[Message]:
        log.warning("%s; the guard alone keeps life-lines safe", why)
        self._belt = None
        return []

    def _prepare(self) -> list[Message]:
        self._firewall.prepare()
        return []

    def _unprepared(self, why: str) -> list[Message]:
        log.error("%s; until that is mended, nothing can be blocked", why)
        return []

    def _keep(self, name: str) -> Job:
        def work() -> list[Message]:
            try:
                self._keepers[name]()
            except CannotReach as error:
                return failed(str(error))
            self._unkept.discard(name)
            return []

        def failed(why: str) -> list[Message]:
            if name not in self._unkept:
                log.warning("%s; it is tried again soon", why)
            self._unkept.add(name)
            return []

        return Job(f"keep {name} at hand", work, failed, PATIENCE)
