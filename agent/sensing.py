"""Runs the sensors: each in a thread of its own, from its committed position; started again after a bug or with other wishes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.record import Record
from agent.streams.sensor import SENSOR, Batch, Sensor
from agent.workers import Crashed, watch_over

WAITING: Final = 64
"""Batches of events that may wait in the mailbox; a sensor that would put one more waits itself."""
REVIVE: Final = 5.0
"""Seconds until a sensor that ended with a bug is started again."""


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
        self._room = threading.BoundedSemaphore(WAITING)
        self._halts: dict[str, threading.Event] = {}
        self._revive: list[tuple[float, str]] = []
        self._over = False
        self.blind: dict[str, str] = {}
        """Source → why it cannot be read."""

    def begin(self) -> None:
        """Start all."""
        for name in self.sensors:
            self._start(name)

    def _start(self, name: str) -> None:
        sensor, wanted = self.sensors[name], self._wanted()
        halt, position = threading.Event(), self._position(sensor.source)
        self._halts[name] = halt
        watch_over(name, lambda: sensor.run(self._deliver, position, halt, wanted), self._mailbox)

    def _deliver(self, batch: Batch) -> None:
        """Called by sensor threads: waits while the owner is behind, so that a flood fills no memory."""
        self._room.acquire()
        self._mailbox.put(batch)

    def taken(self) -> None:
        """A batch has been worked off."""
        self._room.release()

    def heard(self, batch: Batch) -> list[Record]:
        """What a sensor says of itself, to be written down when it turns blind and when it sees again."""
        said = []
        for event in batch.events:
            if event.kind == SENSOR.name and (bool(event.get("ok")) == (batch.source in self.blind)):
                say = str(event.get("say"))
                said.append(Record("sensor", {"name": batch.source, "ok": event.get("ok"), "say": say}))
                self.blind = {**self.blind, batch.source: say}
                if event.get("ok"):
                    self.blind.pop(batch.source)
        return said

    def lost(self) -> list[str]:
        """Sources of sensors that have no position yet: where they will stand is not safe to tell."""
        return [one.source for one in self.sensors.values() if one.anchors and self._position(one.source) is None]

    def ended(self, crashed: Crashed, now: float) -> str:
        """A sensor's thread ended: started again at once where it was asked to end, later where it has a bug. The bug, or ''."""
        if self._over:
            return ""
        if self._halts[crashed.name].is_set():
            self._start(crashed.name)
            return ""
        self._revive.append((now + REVIVE, crashed.name))
        return f"sensor {crashed.name}: {crashed.error}"

    def revive(self, now: float) -> None:
        """Start again those whose time has come."""
        due = [name for at, name in self._revive if at <= now]
        self._revive = [(at, name) for at, name in self._revive if at > now]
        for name in due:
            self._start(name)

    def renew(self) -> None:
        """Have every sensor start again from where it is, because other kinds of events are wanted now."""
        for halt in self._halts.values():
            halt.set()

    def stop(self) -> None:
        """Have every sensor end."""
        self._over = True
        self.renew()
