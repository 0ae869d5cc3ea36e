"""Runs the sensors: each in a thread of its own, from its committed position; started again after a bug or with other wishes.

Overload loses nothing that stands in a file: a sensor whose batches wait for the owner waits itself, and reads on later. Each
has places of its own, so that a flooded log holds up no other one, and the owner takes their batches in turn, behind people's
orders and the systems' answers. Only what exists for a moment, a sample of the kernel's counters, is dropped, and counted.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from agent.event import Event, Value
from agent.record import Record
from agent.schema import rough
from agent.streams.sensor import SENSOR, Batch, Sensor
from agent.workers import Crashed, watch_over

PLACES: Final = 4
"""Batches of one sensor that may wait for the owner; with one more, the sensor waits."""
EVENTS: Final = 2_000
"""Events after which a turn takes no further batch: a person's order waits no longer than these take."""
REVIVE: Final = 5.0
"""Seconds until a sensor that ended with a bug is started again; twice as long for each time it did not live for LIVED."""
LONGEST: Final = 300.0
LIVED: Final = 600.0
MUTE: Final = 180.0
"""Seconds after which a sensor that has said nothing counts as hung: each says once a minute how it is."""
TELL: Final = 60.0
"""Seconds between two words about one that hangs."""


class Sensing:
    """All sensors. The owner's thread calls it; `position` and `wanted` tell where to go on and which kinds are wanted."""

    def __init__(
        self,
        sensors: Mapping[str, Sensor],
        mailbox: queue.SimpleQueue[Any],
        position: Callable[[str], str | None],
        wanted: Callable[[], frozenset[str]],
    ) -> None:
        """Nothing runs yet."""
        self.sensors, self._mailbox, self._position, self._wanted = sensors, mailbox, position, wanted
        self._places = {one.source: threading.Semaphore(PLACES) for one in sensors.values()}
        self._patience = {one.source: every.total_seconds() for one in sensors.values() if (every := _every(one))}
        self._lines: dict[str, deque[Batch | Crashed]] = {}
        self._spoke: dict[str, float] = {}
        self._scolded: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._waits: dict[str, float] = {}
        self._halts: dict[str, threading.Event] = {}
        self._revive: list[tuple[float, str]] = []
        self._over, self._serving = False, set[str]()
        self._dropped: Counter[str] = Counter()
        self._forgotten: dict[str, int] = {}
        self.lag: dict[str, int] = {}
        """Source → bytes that it had still to read, when it said so last."""
        self.blind: dict[str, str] = {}
        """Source → why it cannot be read."""
        self.silent: dict[str, str] = {}
        """Source → how long it has said nothing, where that is too long."""

    def begin(self) -> None:
        """Start all."""
        for name in self.sensors:
            self._start(name)

    def _start(self, name: str) -> None:
        sensor, wanted = self.sensors[name], self._wanted()
        halt, position = threading.Event(), self._position(sensor.source)
        self._halts[name] = halt
        self._spoke[sensor.source] = self._begun[name] = time.monotonic()
        watch_over(name, lambda: sensor.run(self._deliver, position, halt, wanted), self._mailbox)

    def _deliver(self, batch: Batch) -> None:
        """Called by sensor threads: waits while the owner is behind. A sample is dropped when the next one is due."""
        self._spoke[batch.source] = time.monotonic()
        if self._places[batch.source].acquire(timeout=self._patience.get(batch.source)):
            self._mailbox.put(batch)
        else:
            self._dropped[batch.source] += 1
        self._spoke[batch.source] = time.monotonic()

    # A turn ---------------------------------------------------------------------------------------------------------------

    def in_turn(self, items: Iterable[Any]) -> list[Any]:
        """What a turn works off: all that is no sensor's first, then batches, one of each sensor in turn. The rest waits here.

        That a sensor ended stays behind its batches: whoever starts it again must know how far it had read.
        """
        first = []
        for item in items:
            match item:
                case Batch(source=source):
                    self._lines.setdefault(source, deque()).append(item)
                case Crashed(name=name):
                    self._lines.setdefault(self.sensors[name].source, deque()).append(item)
                case _:
                    first.append(item)
        return [*first, *self._next()]

    def _next(self) -> Iterator[Batch | Crashed]:
        events = 0
        while self._lines and events < EVENTS:
            source, line = next(iter(self._lines.items()))
            del self._lines[source]
            item = line.popleft()
            if line:
                self._lines[source] = line  # behind all others
            events += len(item.events) if isinstance(item, Batch) else 0
            yield item

    @property
    def batches(self) -> int:
        """How many are left for the next turn."""
        return sum(map(len, self._lines.values()))

    @property
    def waiting(self) -> bool:
        """Whether something is left for the next turn."""
        return bool(self._lines)

    def taken(self, batch: Batch) -> None:
        """A batch is being worked off: its sensor may put another one."""
        self._places[batch.source].release()

    def heard(self, batch: Batch) -> list[Record]:
        """What a sensor says of itself, to be written down when it turns blind or silent, and when it is well again."""
        said = []
        for event in batch.events:
            if event.kind != SENSOR.name:
                continue
            say, blind, silent = str(event.get("say")), not event.get("ok"), bool(event.get("overdue"))
            name = str(event.get("name"))  # the sensor's source, or one of the senders that it hears
            self._forgotten[name] = int(event.get("forgotten") or 0)
            if (lag := event.get("lag_bytes")) is not None:
                self.lag[name] = int(lag)
            if (blind, silent) != (name in self.blind, name in self.silent):
                said.append(Record("sensor", {"name": name, "ok": not (blind or silent), "say": say}))
            self.blind = _with(self.blind, name, say if blind else "")
            self.silent = _with(self.silent, name, say if silent else "")
        return said

    def evictions(self) -> dict[str, int]:
        """What was let go: samples that nobody had time for, clients that were counted and not told of."""
        return {"samples": self._dropped.total(), "clients": sum(self._forgotten.values())}

    # Life -----------------------------------------------------------------------------------------------------------------

    def lost(self) -> list[str]:
        """Sources of sensors that have no position yet: where they will stand is not safe to tell."""
        return [one.source for one in self.sensors.values() if one.anchors and self._position(one.source) is None]

    def ended(self, crashed: Crashed, now: float) -> str:
        """A sensor's thread ended: started again at once where it was asked to end, later where it has a bug. The bug, or ''."""
        if self._over:
            self._serving.discard(crashed.name)
            return ""
        if self._halts[crashed.name].is_set():
            self._start(crashed.name)
            return ""
        lived = now - self._begun.get(crashed.name, now)
        wait = self._waits[crashed.name] = (
            REVIVE if lived > LIVED else min(2 * self._waits.get(crashed.name, REVIVE / 2), LONGEST)
        )
        self._revive.append((now + wait, crashed.name))
        self._speak_for(self.sensors[crashed.name].source, f"ended with a bug, and is started again: {crashed.error}")
        return f"sensor {crashed.name}: {crashed.error}"

    def revive(self, now: float) -> None:
        """Start again those whose time has come, and say of those that hang that nothing is read."""
        due = [name for at, name in self._revive if at <= now]
        self._revive = [(at, name) for at, name in self._revive if at > now]
        for name in due:
            self._start(name)
        for source, at in self._spoke.items():
            if now - at >= max(MUTE, 3 * self._patience.get(source, 0.0)) and now - self._scolded.get(source, -MUTE) >= TELL:
                self._scolded[source] = now
                self._speak_for(source, f"hangs: its thread has not said a word for {rough(timedelta(seconds=now - at))}")

    def _speak_for(self, source: str, say: str) -> None:
        """Say in a sensor's place that it reads nothing, unless what it said itself still waits to be heard."""
        if self._places[source].acquire(blocking=False):
            fields: dict[str, Value] = {"name": source, "ok": False, "say": say, "overdue": False}
            self._mailbox.put(Batch(source, (Event(SENSOR.name, time.time(), fields, source),), "", 0, time.time()))

    def renew(self) -> None:
        """Have every sensor start again from where it is, because other kinds of events are wanted now."""
        for name, halt in self._halts.items():
            if not getattr(self.sensors[name], "serves", False):
                halt.set()

    def stop(self) -> None:
        """Have every sensor end."""
        self._over = True
        serving = {name for name in self._halts if getattr(self.sensors[name], "serves", False)}
        self._serving = serving - {name for _, name in self._revive}  # without those that ended by themselves
        for halt in self._halts.values():
            halt.set()

    @property
    def closing(self) -> bool:
        """Whether a sensor that serves others still says goodbye to them."""
        return bool(self._serving)


def _every(sensor: Sensor) -> timedelta | None:
    """The period of a sensor that samples what is true for a moment; None for one that reads on from a position."""
    every = getattr(sensor, "every", None)
    return every if isinstance(every, timedelta) and not sensor.anchors else None


def _with(known: Mapping[str, str], source: str, say: str) -> dict[str, str]:
    """The same with, or without, what is said of a source."""
    rest = {name: one for name, one in known.items() if name != source}
    return {**rest, source: say} if say else rest
