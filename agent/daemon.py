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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent import attachment, flow, rounds, sdnotify, snapshot
from agent.action import Change
from agent.alerts import hearing
from agent.check import events
from agent.clock import Clock
from agent.control import Control
from agent.desk import Desk, Parts, bug
from agent.dispatch import Outside, carry_out
from agent.event import ALERT, Event
from agent.feeds.listing import Followed
from agent.fold import fold
from agent.guard import barred
from agent.loss import bereft
from agent.loss.degraded import withheld
from agent.mail import Mail
from agent.messages import Asked, ClockSet, Disturbed, Effect, Message, Note, Plan, Reply, Seen, Started, Tick
from agent.parsers.canary import CANARY
from agent.people import lists, reporting
from agent.record import Record
from agent.report.downtime import changed
from agent.scans.sift import imported, sift
from agent.schedule import Answered
from agent.sensing import Sensing
from agent.streams.sensor import Batch
from agent.turn import Turn, watching
from agent.upkeep import Upkeep
from agent.workers import Crashed, Finished, Lanes

log = logging.getLogger("agent")

FLUSH: Final = 0.25
"""Seconds that events and positions may wait for a commit when nothing came of them."""
MANY: Final = 5000
"""Events that are committed at once, without waiting."""
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


class Daemon:
    """The running agent."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; nothing runs yet."""
        self.parts, self.agent, self.journal = parts, parts.agent, parts.journal
        self._mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._mail = Mail(self._mailbox)
        self._meters = parts.meters
        self._meters.queues = lambda: {"mailbox": self._mailbox.qsize(), "batches": self._sensing.batches}
        self._meters.lanes = lambda: self._lanes.busy
        self._lanes = Lanes(self._mailbox, self._meters)
        self._control: Control | None = None
        self._events: list[Event] = []
        self._positions: dict[str, str] = {}
        self._kept: list[Callable[[bool], None]] = []
        self._stopping = ""
        self._drain_until = self._flush_at = self._sign_at = 0.0
        self._signs = sdnotify.watchdog_interval()
        self._snapshot_at = parts.journal.size + SNAPSHOT
        self.upkeep = Upkeep(parts.systems, parts.lifelines, self.agent, self._lanes, self._mailbox)
        doors = (self._door, self._door_again)
        world = (parts.systems, self._lanes, parts.keep, self.upkeep.count)
        self._outside = Outside(*world, *doors, parts.outlive, parts.courier, parts.meters)
        self._sensing = Sensing(parts.sensors, self._mailbox, self._position, self._wanted)
        self._said: set[str] = set()
        self._clock = Clock(time.time(), time.monotonic())
        self._desk = Desk(parts, self._step, self._sensing, self.upkeep)

    def _door(self, changes: Sequence[Change]) -> Mapping[int, str]:
        """What may not be done at this moment; asked from a lane's thread, of what never changes once it is there."""
        return barred(changes, self.agent.lifelines, self.agent.settings.protected)

    def _door_again(self, changes: Sequence[Change]) -> Mapping[int, str]:
        """The same for what is put back: nobody gets off because it was gone for a moment, in which they connected."""
        return barred(changes, self.agent.lifelines.certain, self.agent.settings.protected)

    # Life -----------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start, work until told to stop, stop. What is in force stays in force.

        Raises:
            CannotReach: the control socket cannot be had, or the host does not say who it is.
        """
        try:
            self._begin()
            gc.freeze()  # what is there now stays
            gc.enable()
            while not self._drained():
                self._turn()
            self._end()
        finally:
            if self._control:
                self._control.close()
            for server in (self.parts.pages, self.parts.metrics):
                if server:
                    server.close()
            self.journal.close()

    def _begin(self) -> None:
        for number, word in ((signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "reload")):
            signal.signal(number, lambda *_, word=word: self._mailbox.put(word))  # SimpleQueue.put is safe in a handler
        lists.know(self.agent, self.parts.lifelines())
        self.agent.feeds = {name: Followed(one.restore(time.time())) for name, one in self.parts.feeds.items()}
        self.agent.watch = watching(self.agent)
        self._control = Control(self.parts.socket, self._mailbox.put)
        self._warm()
        now = time.time()
        by = Clock(*stamp).jumped(now, time.monotonic()) if (stamp := self.journal.stamp()) else 0.0
        effects = flow.step(self.agent, ClockSet(by), now) if by else []  # set while nobody ran
        effects += [*flow.step(self.agent, Started(self.parts.version), now), *self._desk.live("at start", now)]
        self._finish_turn(effects, now)
        self.upkeep.begin()
        if self.journal.blank or self.journal.gap or self.agent.state.mishaps.bereft:
            bereft.ask(self.agent, self.parts, self._lanes, self._mailbox.put)
        self._sensing.begin()
        if self.parts.pages:
            self.parts.pages.begin(self._control.ask)
        if self.parts.metrics:
            self.parts.metrics.begin(self._control.ask, self._desk.health)
        self._await_sensors()
        sdnotify.notify("READY=1", "STATUS=watching")
        self.journal.started_well()

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
            self.agent.watch.recall(event, event.seen)

    def _stop(self) -> None:
        self._stopping = "asked to stop"
        self.agent.stopping = True
        self._drain_until = time.monotonic() + DRAIN
        self._sensing.stop()
        sdnotify.notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((DRAIN + 5) * 1_000_000)}")

    def _drained(self) -> bool:
        if not self._stopping:
            return False
        return not (self._lanes.changing or self._sensing.closing) or time.monotonic() > self._drain_until

    def _end(self) -> None:
        stopped: list[Effect] = [Note(Record("stopped", {"because": self._stopping}))]
        self._commit(stopped, time.time())
        self._tell(stopped, time.time())
        self.journal.save_snapshot(snapshot.snapshot(self.agent.state))
        self._ship(time.time())

    # One turn -------------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Work off everything that waits, commit once, begin what was decided."""
        items = self._gather()
        now, begun = time.time(), time.monotonic()
        effects: list[Effect] = []
        if by := self._clock.jumped(now, time.monotonic()):
            effects += self._surely(ClockSet(by), now)
        for item in (*items, *self._lanes.late(time.monotonic())):
            effects += self._surely(item, now)
        if now >= rounds.next_due(self.agent, now):
            effects += self._surely(Tick(), now)
        self._finish_turn(self._plan(effects, now), now)
        self._errands(now)
        self._meters.turned(time.monotonic() - begun)

    def _gather(self) -> list[Any]:
        """Wait for the first item, then take what else is there."""
        return self._sensing.in_turn(self._mail.gather(self._patience))

    def _patience(self) -> float:
        """Seconds until something is due even if nobody writes."""
        now = time.time()
        waits = [rounds.next_due(self.agent, now) - now, self._next_round() - time.monotonic()]
        waits += [self._flush_at - time.monotonic()] if self._events or self._positions else []
        waits += [0.1] if self._lanes.busy or self._stopping else []
        waits += [self._sign_at - time.monotonic()] if self._signs else []
        waits += [0.0] if self._sensing.waiting else []
        return max(0.0, min(waits))

    def _next_round(self) -> float:
        return min(self.parts.schedule.next_due(), self.upkeep.next_due)

    def _surely(self, item: Any, now: float) -> list[Effect]:
        """Work one item off; a bug in that is told, and the agent goes on."""
        try:
            return self._take(item, now)
        except Exception as error:  # one of the three places: the daemon's loop
            log.exception("a bug in the agent: %s was not worked off", type(item).__name__)
            return [bug(item, error)]

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
                news = changed(self.parts.schedule.said, one.name, one.answers, self.agent.policies.values())
                return [*news, *self._look(events(one.name, one.question, one.answers, now, one.about), now)]
            case Asked():
                return self._asked(item, now)
            case Crashed():
                bug = self._sensing.ended(item, time.monotonic())
                return [Note(Record("bug", {"error": bug}))] if bug else []
            case Disturbed():
                return self._step(self.upkeep.disturbed(item), now)
            case "stop":
                self._stop()
                return []
            case "reload":
                return self._desk.reload(now)
            case _:
                return self._step(item, now)

    def _imported(self, asked: Asked, now: float) -> list[Effect]:
        """A part of a scan that a person brings: what is new of it is seen and kept like a sensor's events."""
        fresh, effects = imported(self.agent, asked, now)
        self._events += [one for one in fresh if one.kind in self.agent.watch.wants()]
        return [*effects, *self._look(fresh, now)]

    def _asked(self, asked: Asked, now: float) -> list[Effect]:
        """A person. What is attached to a report is kept first; a report is an event, too, kept for windows like a sensor's."""
        if asked.verb == "import":
            return self._imported(asked, now)
        if asked.verb != "report":
            return self._desk.take(asked, now)
        if "attached" in asked.body:
            self._lanes.start(attachment.LANE, attachment.job(asked, self.parts.keep), time.monotonic())
            return []
        effects = self._desk.take(asked, now)
        self._events += [one for one in reporting.said(effects) if one.kind in self.agent.watch.wants()]
        return effects

    def _step(self, message: Message, now: float) -> list[Effect]:
        turn = Turn(self.agent, now)
        try:
            flow.work(turn, message)
        except Exception as error:  # the same place: the daemon's loop
            log.exception("a bug in the agent: %s was worked off in part", type(message).__name__)
            turn.effects.append(bug(message, error))
        return turn.effects

    def _seen(self, batch: Batch, now: float) -> list[Effect]:
        self._sensing.taken(batch)
        self._meters.read(batch)
        fresh, scanned = sift(self.agent, batch.events, now)
        batch = batch._replace(events=tuple(fresh))
        self._desk.lines += batch.lines
        if batch.kept:
            self._kept.append(batch.kept)
        if batch.position:
            self._positions[batch.source] = batch.position
        wanted = self.agent.watch.wants()
        kept = wanted - self.parts.state_kinds - {CANARY.name} | {ALERT.name}
        self._events += [one for one in batch.events if one.kind in kept and not hearing.repeated(self.agent, one)]
        news = self._step(batch.news, now) if batch.news else []
        return [*scanned, *news, *(Note(one) for one in self._sensing.heard(batch)), *self._look(batch.events, now)]

    def _look(self, seen: Any, now: float) -> list[Effect]:
        if self.parts.saw:
            for event in seen:
                self.parts.saw(event)
        return self._step(Seen(seen), now) if seen else []

    def _plan(self, effects: list[Effect], now: float) -> list[Effect]:
        """Go on with the plans that are made at once, so that a finding and what follows from it are one commit."""
        plans = [one for one in effects if isinstance(one, Plan)]
        if not plans:
            return effects
        rest = [one for one in effects if not isinstance(one, Plan)]
        return rest + [effect for item in self._mail.planned(plans, self._outside) for effect in self._surely(item, now)]

    def _finish_turn(self, effects: list[Effect], now: float) -> None:
        """Nothing is begun before what announces it is durable."""
        self._commit(effects, now)
        going, answers = withheld(self.agent, effects)
        carry_out(going, self._outside, time.monotonic())
        for answer in answers:
            self._mailbox.put(answer)
        for one in effects:
            if isinstance(one, Reply) and self._control:
                self._control.answer(self._desk.answered(one, now))
        self._tell(effects, now)

    def _commit(self, effects: list[Effect], now: float) -> None:
        records = [one.record for one in effects if isinstance(one, Note)]
        idle = self._events or self._positions
        early = time.monotonic() < self._flush_at and len(self._events) < MANY and not self._kept
        if not records and (not idle or early):
            self._tell_kept()
            return
        for one in records:
            if one.kind == "bug":  # nothing else is said of one by somebody who folds it
                fold(self.agent.state, one, now)
        begun = time.monotonic()
        self.journal.commit(now, records, positions=self._positions, events=self._events)
        self._meters.commits.add(time.monotonic() - begun)
        self._events, self._positions, self._flush_at = [], {}, time.monotonic() + FLUSH
        self.agent.evidence, self.agent.no_copy = self.journal.failing, self.journal.no_copy
        self._tell_kept()

    def _tell_kept(self) -> None:
        """Say to those who wait for it whether what they handed over is durable."""
        for kept in self._kept:
            kept(not self.journal.failing)
        self._kept.clear()

    def _tell(self, effects: list[Effect], now: float) -> None:
        """Have the turn's records counted and printed, last of all: nothing that is begun waits for a slow terminal."""
        records = [one.record for one in effects if isinstance(one, Note)]
        try:
            self._meters.noted(records, self.agent.state.mitigations)
        except Exception:  # the same place: the daemon's loop
            log.exception("a bug in the agent: a turn's records were not counted")
        for one in records:
            self._print(now, one)

    def _print(self, now: float, record: Record) -> None:
        try:
            self.parts.told(now, record)
        except Exception:  # the same place: the daemon's loop. It is in the journal, and the agent goes on
            log.exception("a bug in the agent: a record of the kind %s was not printed", record.kind)

    # Errands --------------------------------------------------------------------------------------------------------------

    def _errands(self, now: float) -> None:
        """What comes round by itself: checks, life-lines, sensors to revive, checkpoints, a sign of life."""
        if not self._stopping:
            self.parts.schedule.begin(self._lanes, time.monotonic())
            self.upkeep.turn(time.monotonic())
            self.parts.outlive.turn(self._lanes, time.monotonic())
            self._sensing.revive(time.monotonic())
            if self.parts.canary:
                self.parts.canary.turn(now, self._mailbox.put)
        self.journal.turn(now)
        self.agent.evidence, self.agent.no_copy = self.journal.failing, self.journal.no_copy
        if self.journal.checkpoint_due(now):
            self._ship(now)
            self.journal.prune(now)
        if self.journal.size >= self._snapshot_at:
            self.journal.save_snapshot(snapshot.snapshot(self.agent.state))
            self._snapshot_at = self.journal.size + SNAPSHOT
        if self._signs and time.monotonic() >= self._sign_at:
            sdnotify.notify("WATCHDOG=1")
            self._sign_at = time.monotonic() + self._signs

    def _ship(self, now: float) -> None:
        """Sign what there is, and send the note off this host; say where it went when that changes."""
        if not (note := self.journal.checkpoint(now)):
            return
        went = self.parts.ship(note)
        for sentence in (went, self.journal.warning):
            if sentence and sentence not in self._said:
                log.log(logging.WARNING if sentence == self.journal.warning else logging.INFO, "%s", sentence)
        self._said = {went, self.journal.warning}
