"""The loop: mailbox → flow.step → notes committed → effects begun. The only module that reads the clock or handles signals.

One thread owns the state and the journal and blocks on the mailbox alone. Everything that may block runs in lanes and sensor
threads and answers through the mailbox. All that waits is worked off in one turn, with one commit and one batch per system.
"""

from __future__ import annotations

import gc
import logging
import queue
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent import flow, questions, rounds, sdnotify, state
from agent.action import CannotReach, System, from_text
from agent.check import events
from agent.control import Control
from agent.dispatch import Outside, carry_out
from agent.event import Event
from agent.evidence.journal import Journal
from agent.execute import Keep
from agent.grammar.problem import Problems
from agent.guard import Lifelines
from agent.messages import Asked, Effect, Learnt, Message, Note, Reply, Seen, Started, Tick
from agent.record import Record
from agent.schedule import Answered, Schedule
from agent.sensing import Sensing
from agent.streams.sensor import Batch, Sensor
from agent.turn import Agent, Reread, Turn, looks, watching
from agent.upkeep import Upkeep
from agent.workers import Crashed, Finished, Lanes

log = logging.getLogger("agent")

FLUSH: Final = 0.25
"""Seconds that events and positions may wait for a commit when nothing came of them."""
MANY: Final = 5000
"""Events that are committed at once, without waiting."""
A_TURN: Final = 512
"""Mailbox items worked off in one turn."""
DRAIN: Final = 10.0
"""Seconds that calls in flight have at a stop; systemd is told."""
ANCHOR: Final = 2.0
"""Seconds that a start waits for sensors to stand at their sources; for one whose source is not there yet, no longer."""
SNAPSHOT: Final = 50_000
"""Records between two snapshots."""
WARMED: Final = 200_000
"""Events of before a stop that fill the windows at start: the newest, for those are what an attack is made of."""
CYCLES: Final = (50_000, 20, 100)
"""How seldom Python looks for objects that only hold each other. As shipped it looks again and again through all that a burst of
offenders leaves in the state, which holds none: a third of the burst's time."""


@dataclass
class Parts:
    """Everything the daemon is made of; wiring.py gathers it. `told` hears of every record after its commit."""

    agent: Agent
    journal: Journal
    systems: Mapping[str, System]
    sensors: Mapping[str, Sensor]
    schedule: Schedule
    actions: Mapping[str, type[Any]]
    socket: Path
    reread: Callable[[], Reread]
    lifelines: Callable[[], Lifelines]
    state_kinds: frozenset[str]
    version: str
    ship: Callable[[str], str]
    told: Callable[[float, Record], None]
    keep: Keep
    saw: Callable[[Event], None] | None = None


class Daemon:
    """The running agent."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; nothing runs yet."""
        self.parts, self.agent, self.journal = parts, parts.agent, parts.journal
        self._mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lanes = Lanes(self._mailbox)
        self._control: Control | None = None
        self._events: list[Event] = []
        self._positions: dict[str, str] = {}
        self._stopping = ""
        self._drain_until = self._flush_at = self._sign_at = 0.0
        self._signs = sdnotify.watchdog_interval()
        self._snapshot_at = parts.journal.size + SNAPSHOT
        self.upkeep = Upkeep(parts.systems, parts.lifelines, self.agent, self._lanes, self._mailbox)
        self._outside = Outside(parts.systems, self._lanes, parts.keep, self.upkeep.count)
        self._sensing = Sensing(parts.sensors, self._mailbox, self._position, self._wanted)
        self._said: set[str] = set()
        self._up, self._lines, self._problems = time.time(), 0, ""
        self._restart: tuple[str, ...] = ()

    # Life -----------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start, work until told to stop, stop. What is in force stays in force.

        Raises:
            CannotReach: the control socket cannot be had, or the host does not say who it is.
            EvidenceLost: there is no room for evidence. Nothing is done without a record, so the agent ends.
        """
        try:
            self._begin()
            gc.freeze()  # what is there now stays
            while not self._drained():
                self._turn()
            self._end()
        finally:
            if self._control:
                self._control.close()
            self.journal.close()

    def _begin(self) -> None:
        for number, word in ((signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "reload")):
            signal.signal(number, lambda *_, word=word: self._mailbox.put(word))  # SimpleQueue.put is safe in a handler
        self.agent.lifelines = self.parts.lifelines()
        self.agent.watch = watching(self.agent)
        self._control = Control(self.parts.socket, self._mailbox.put)
        self._warm()
        now = time.time()
        self._finish_turn([*flow.step(self.agent, Started(self.parts.version), now), self._live("at start")], now)
        self.upkeep.begin()
        self._sensing.begin()
        self._await_sensors()
        sdnotify.notify("READY=1", "STATUS=watching")

    def _await_sensors(self) -> None:
        """A sensor without a position starts at the end of its source: be there before anybody is told that we are ready."""
        until = time.monotonic() + ANCHOR
        while self._sensing.lost() and time.monotonic() < until:
            self._turn()

    def _wanted(self) -> frozenset[str]:
        return self.agent.watch.wants()  # the watch is another one after each reload

    def _position(self, source: str) -> str | None:
        return self._positions.get(source) or self.journal.positions().get(source)

    def _warm(self) -> None:
        """Fill the windows with what was seen before the last stop, so that a restart forgives nobody."""
        since = time.time() - self.agent.watch.longest()
        for event in reversed(self.journal.events(since=since, limit=WARMED, newest_first=True)):
            self.agent.watch.feed(event, event.seen)

    def _live(self, because: str) -> Note:
        named = [{"name": name, "digest": one.digest} for name, one in self.agent.policies.items()]
        return Note(Record("policies", {"policies": named, "because": because}))

    def _stop(self) -> None:
        self._stopping = "asked to stop"
        self._drain_until = time.monotonic() + DRAIN
        self._sensing.stop()
        sdnotify.notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((DRAIN + 5) * 1_000_000)}")

    def _drained(self) -> bool:
        return bool(self._stopping) and (not self._lanes.changing or time.monotonic() > self._drain_until)

    def _end(self) -> None:
        stopped: list[Effect] = [Note(Record("stopped", {"because": self._stopping}))]
        self._commit(stopped, time.time())
        self._tell(stopped, time.time())
        self.journal.save_snapshot(state.snapshot(self.agent.state))
        self._ship(time.time())

    # One turn -------------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Work off everything that waits, commit once, begin what was decided."""
        items = self._gather()
        now = time.time()
        effects: list[Effect] = []
        for item in (*items, *self._lanes.late(time.monotonic())):
            effects += self._surely(item, now)
        if now >= rounds.next_due(self.agent, now):
            effects += self._surely(Tick(), now)
        self._finish_turn(effects, now)
        self._errands(now)

    def _gather(self) -> list[Any]:
        """Wait for the first item, then take what else is there."""
        try:
            items = [self._mailbox.get(timeout=self._patience())]
        except queue.Empty:
            return []
        while len(items) < A_TURN:
            try:
                items.append(self._mailbox.get_nowait())
            except queue.Empty:
                break
        return items

    def _patience(self) -> float:
        """Seconds until something is due even if nobody writes."""
        now = time.time()
        waits = [rounds.next_due(self.agent, now) - now, self._next_round() - time.monotonic()]
        waits += [self._flush_at - time.monotonic()] if self._events or self._positions else []
        waits += [0.1] if self._lanes.busy or self._stopping else []
        waits += [self._sign_at - time.monotonic()] if self._signs else []
        return max(0.0, min(waits))

    def _next_round(self) -> float:
        return min(self.parts.schedule.next_due(), self.upkeep.next_due)

    def _surely(self, item: Any, now: float) -> list[Effect]:
        """Work one item off; a bug in that is told, and the agent goes on."""
        try:
            return self._take(item, now)
        except Exception as error:  # one of the three places: the daemon's loop
            log.exception("a bug in the agent: %s was not worked off", type(item).__name__)
            return [_bug(item, error)]

    def _take(self, item: Any, now: float) -> list[Effect]:
        match item:
            case Batch():
                return self._seen(item, now)
            case Finished(_, message):
                return self._take(message, now) if self._lanes.accept(item) else []
            case list():
                return [effect for one in item for effect in self._take(one, now)]
            case Answered():
                one = self.parts.schedule.answered(item, now)
                return self._look(events(one.name, one.question, one.answers, now), now)
            case Asked():
                return self._asked(item, now)
            case Crashed():
                bug = self._sensing.ended(item, time.monotonic())
                return [Note(Record("bug", {"error": bug}))] if bug else []
            case "stop":
                self._stop()
                return []
            case "reload":
                return self._reload(now)
            case _:
                return self._step(item, now)

    def _step(self, message: Message, now: float) -> list[Effect]:
        turn = Turn(self.agent, now)
        try:
            flow.work(turn, message)
        except Exception as error:  # the same place: the daemon's loop
            log.exception("a bug in the agent: %s was worked off in part", type(message).__name__)
            turn.effects.append(_bug(message, error))
        return turn.effects

    def _seen(self, batch: Batch, now: float) -> list[Effect]:
        self._sensing.taken()
        self._lines += batch.lines
        if batch.position:
            self._positions[batch.source] = batch.position
        wanted = self.agent.watch.wants()
        self._events += [one for one in batch.events if one.kind in wanted and one.kind not in self.parts.state_kinds]
        return [*(Note(one) for one in self._sensing.heard(batch)), *self._look(batch.events, now)]

    def _look(self, seen: Any, now: float) -> list[Effect]:
        if self.parts.saw:
            for event in seen:
                self.parts.saw(event)
        return self._step(Seen(seen), now) if seen else []

    def _finish_turn(self, effects: list[Effect], now: float) -> None:
        """Nothing is begun before what announces it is durable."""
        self._commit(effects, now)
        carry_out(effects, self._outside, time.monotonic())
        for one in effects:
            if isinstance(one, Reply) and self._control:
                self._control.answer(self._answered(one, now))
        self._tell(effects, now)

    def _answered(self, one: Reply, now: float) -> Reply:
        try:
            return replace(one, body={**one.body, **questions.answer(self._facts(), one.asked, now)})
        except Exception as error:  # the same place: the daemon's loop
            log.exception("a bug in the agent: %s was not answered", one.asked.verb)
            return replace(one, body={"error": f"a bug in the agent: {type(error).__name__}: {error}; its log has more"})

    def _facts(self) -> questions.Facts:
        about = {
            "version": self.parts.version,
            "up": self._up,
            "lines": self._lines,
            "records": self.journal.size,
            "problems": self._problems,
            "sensors": sorted(self.parts.sensors),
            "blind": self._sensing.blind,
        }
        newest = lambda since, limit: self.journal.events(since=since, limit=limit, newest_first=True)  # noqa: E731
        return questions.Facts(self.agent, self.parts.schedule, self.upkeep.counters, newest, about)

    def _commit(self, effects: list[Effect], now: float) -> None:
        records = [one.record for one in effects if isinstance(one, Note)]
        idle = self._events or self._positions
        if not records and (not idle or (time.monotonic() < self._flush_at and len(self._events) < MANY)):
            return
        self.journal.commit(now, records, positions=self._positions, events=self._events)
        self._events, self._positions, self._flush_at = [], {}, time.monotonic() + FLUSH

    def _tell(self, effects: list[Effect], now: float) -> None:
        """Have the turn's records printed, last of all: nothing that is begun waits for a slow terminal."""
        for one in effects:
            if isinstance(one, Note):
                self.parts.told(now, one.record)

    # Errands --------------------------------------------------------------------------------------------------------------

    def _errands(self, now: float) -> None:
        """What comes round by itself: checks, life-lines, sensors to revive, checkpoints, a sign of life."""
        if not self._stopping:
            self.parts.schedule.begin(self._lanes, time.monotonic())
            self.upkeep.turn(time.monotonic())
            self._sensing.revive(time.monotonic())
        if self.journal.checkpoint_due(now):
            self._ship(now)
            self.journal.prune(now)
        if self.journal.size >= self._snapshot_at:
            self.journal.save_snapshot(state.snapshot(self.agent.state))
            self._snapshot_at = self.journal.size + SNAPSHOT
        if self._signs and time.monotonic() >= self._sign_at:
            sdnotify.notify("WATCHDOG=1")
            self._sign_at = time.monotonic() + self._signs

    def _ship(self, now: float) -> None:
        """Sign what there is, and send the note off this host; say where it went when that changes."""
        went = self.parts.ship(self.journal.checkpoint(now))
        for sentence in (went, self.journal.warning):
            if sentence and sentence not in self._said:
                log.log(logging.WARNING if sentence == self.journal.warning else logging.INFO, "%s", sentence)
        self._said = {went, self.journal.warning}

    def _reload(self, now: float) -> list[Effect]:
        """Read the policies again; a set with a single problem changes nothing."""
        sdnotify.reloading()
        try:
            fresh, lifelines = self.parts.reread(), self.parts.lifelines()
        except (Problems, CannotReach, OSError) as error:
            self._problems = str(error)
            log.error("the policies of before stay live:\n%s", error)
            count = sum(one.level == "error" for one in getattr(error, "found", ())) or 1
            sdnotify.notify("READY=1", "STATUS=watching; the policy files have problems, the policies of before are live")
            return [Note(Record("policies_refused", {"problems": count, "first": str(error).splitlines()[0]}))]
        wanted = self.agent.watch.wants()
        self.agent.settings, self.agent.policies = fresh.settings, {one.name: one for one in fresh.policies}
        self.agent.watch = watching(self.agent)
        self._rewant(wanted)
        self._problems, self._restart = "", fresh.restart
        sdnotify.notify("READY=1", "STATUS=watching")
        return [self._live("reloaded"), *self._step(Learnt(lifelines, self.agent.reading + 1), now)]

    def _rewant(self, before: frozenset[str]) -> None:
        """Have sensors start again from where they are when other kinds of events are wanted now."""
        if before != self.agent.watch.wants():
            self._sensing.renew()

    def _asked(self, asked: Asked, now: float) -> list[Effect]:
        """Questions are answered here, those about the systems after a fresh look; orders go through flow.step."""
        if asked.verb in questions.FRESH and (held := self.agent.state.in_force()):
            return [*looks(self.agent, held, asked)]
        if asked.verb in questions.ALL:
            return [Reply(asked, {})]
        if asked.verb == "reload":
            effects = self._reload(now)
            result = "failed" if self._problems else "reloaded"
            return [*effects, Reply(asked, {"result": result, "error": self._problems, "restart": list(self._restart)})]
        if asked.verb == "mode":
            before = self.agent.watch.wants()
            effects = self._step(asked, now)
            self._rewant(before)
            return effects
        if asked.verb == "do":
            try:
                asked = replace(asked, body={**asked.body, "action": self._action(asked.body)})
            except ValueError as error:
                return [Reply(asked, {"result": "usage", "problem": str(error)})]
        return self._step(asked, now)

    def _action(self, body: Mapping[str, Any]) -> Any:
        name = body.get("action", "")
        if name not in self.parts.actions:
            raise ValueError(f"no action `{name}`; known: {', '.join(sorted(self.parts.actions))}")
        return from_text(self.parts.actions[name], body.get("params", {}))


def _bug(item: Any, error: Exception) -> Note:
    return Note(Record("bug", {"error": f"{type(error).__name__}: {error}", "item": type(item).__name__}))
