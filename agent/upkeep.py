"""What is kept up beside the turns: life-lines learnt, the kernel's own list of them, open connections, drop counters."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from agent.action import CannotReach, System
from agent.guard import Lifeline, Lifelines
from agent.messages import Disturbed, Learnt, Message
from agent.turn import Agent
from agent.workers import Job, Lanes

log = logging.getLogger("agent")

LEARN: Final = 2.0
"""Seconds between two looks at this host's life-lines."""
KEEP: Final = 60.0
"""Seconds between two looks after what must be there before an emergency: open connections, logins that are renewed."""
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
        self._belt: tuple[Lifeline, ...] = ()
        self._belt_due = 0.0
        self._learning = False
        self.counters: Mapping[str, tuple[int, int]] = {}
        self.next_due = 0.0

    def begin(self) -> None:
        """At start: what is needed first in an emergency is there before it; and hear of others' changes from now on."""
        if any(self._agent.mode(one) == "enforce" for one in self._agent.policies.values()):
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
        for system in _BESIDE.get(name, (name,)):
            self._mailbox.put(Disturbed(system, who))

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
        lines = self._agent.lifelines.lines if self._agent.state.active.get("") else ()
        if lines and lines != self._belt and now >= self._belt_due:
            self._belt, self._belt_due = lines, now + LEARN  # one that fails comes again then, and not with every turn
            self._lanes.start("firewall", Job("protect life-lines", self._protect, self._unprotected, PATIENCE), now)

    def count(self) -> None:
        """Read what the kernel stopped; called in the firewall's lane."""
        self.counters = {str(one.undo): (one.packets, one.bytes) for one in self._firewall.held()}

    def _learn(self, reading: int) -> list[Message]:
        lifelines = self._lifelines()
        self._learning = False
        return [Learnt(lifelines, reading)] if lifelines.lines != self._agent.lifelines.lines else []

    def _unlearnt(self, why: str) -> list[Message]:
        self._learning = False
        log.warning("%s; the life-lines known before stay", why)
        return []

    def _protect(self) -> list[Message]:
        self._firewall.protect([one.network for one in self._belt])
        return []

    def _unprotected(self, why: str) -> list[Message]:
        log.warning("%s; the guard alone keeps life-lines safe", why)
        self._belt = ()
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
                log.warning("%s; it is tried again every minute", why)
            self._unkept.add(name)
            return []

        return Job(f"keep {name} at hand", work, failed, PATIENCE)
