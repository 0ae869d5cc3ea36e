"""The files sensor on a real directory, and an owner that commits what it delivers, or dies before it does."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent.event import Event
from agent.sensors.files import Files
from agent.streams.sensor import Batch


class Quick(Files):
    """The sensor, for people who cannot wait two seconds."""

    coalesce = 0.2


class Owner:
    """Runs a sensor as the daemon would. `position` is the last one that is in the journal, `told` the events that are."""

    def __init__(self, place: Path, *paths: Path, kind: type[Quick] = Quick, **options: object) -> None:
        self.sensor = kind(paths=tuple(map(str, paths)), baseline=str(place / "baseline.db"), **options)  # type: ignore[arg-type]
        self.position: str | None = None
        self.told: list[Event] = []
        self.fresh: list[Event] = []
        self.batches: queue.Queue[Batch] = queue.Queue()

    def start(self) -> Owner:
        self._stop = threading.Event()
        run = (self.batches.put, self.position, self._stop)
        self._thread = threading.Thread(target=self.sensor.run, args=run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def die(self) -> None:
        """What was delivered and not yet committed is lost."""
        self.stop()
        self.batches = queue.Queue()

    def commit(self, batch: Batch) -> list[Event]:
        self.position = batch.position or self.position
        self.told += batch.events
        if batch.kept:
            batch.kept(True)
        return list(batch.events)

    def until(self, true: Callable[[Event], bool]) -> Event:
        """Commit what comes until there is an event of this sort that was not asked for before."""
        end = time.monotonic() + 30
        while not (found := [one for one in self.fresh if true(one)]):
            try:
                self.fresh += self.commit(self.batches.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"it was not told; what was: {[one.fields for one in self.told]}") from None
        self.fresh.remove(found[0])
        return found[0]

    def ready(self) -> Owner:
        """Until it has looked at everything."""
        self.until(lambda one: one.kind == "sensor" and "goes on" not in str(one.get("say")))
        return self

    def change(self, path: Path, what: str = "") -> Event:
        """Until this is told of a path."""
        return self.until(lambda one: one.get("path") == str(path) and what in ("", one.get("what")))

    def changes(self) -> list[tuple[str, str]]:
        """Everything that was told of files, in order: name and what."""
        return [(Path(str(one.get("path"))).name, str(one.get("what"))) for one in self.told if one.kind == "file.changed"]
