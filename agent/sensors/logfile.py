"""Reads a log file as it grows, through rotations and restarts, and hands its lines to parsers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from agent.schema import Flag
from agent.streams.follow import Follower
from agent.streams.inotify import Wake
from agent.streams.parser import Scan, discover_parsers
from agent.streams.sensor import Backoff, Deliver, Outlet, sensor

_POLL = 0.25


@sensor
class Logfile:
    """The lines of one log file. The first start begins at its end, or at its start with `from_start`."""

    path: str
    parsers: tuple[str, ...]
    from_start: Flag = False

    def __post_init__(self) -> None:
        known = discover_parsers()
        for name in self.parsers:
            if name not in known:
                raise ValueError(f"cannot read with `{name}`: no such parser; there are {', '.join(known)}")

    @property
    def source(self) -> str:
        """As in `file:/var/log/auth.log`."""
        return f"file:{self.path}"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:
        """Read until stopped; a file that is missing or not ours to read is told and waited for."""
        known = discover_parsers()
        scan = Scan.of([known[name] for name in self.parsers], self.source, wanted)
        reading = _Reading(self.path, scan, Outlet(self.source, deliver))
        try:
            reading.start(position, from_start=self.from_start, stop=stop)
            while not stop.is_set():
                reading.turn(stop)
        finally:
            reading.close()


class _Reading:
    """One run: the follower, what wakes it, and where its events go."""

    def __init__(self, path: str, scan: Scan, outlet: Outlet) -> None:
        self._path, self._scan, self._outlet = path, scan, outlet
        self._follower, self._wake, self._backoff = Follower(Path(path)), Wake([Path(path)]), Backoff()

    def start(self, position: str | None, *, from_start: bool, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                lost = self._follower.start(position, from_start=from_start)
            except OSError as error:
                self._cannot(error, stop)
                continue
            self._outlet.anchor(self._follower.position)
            if lost:
                self._outlet.tell(ok=False, say=lost)
            return

    def turn(self, stop: threading.Event) -> None:
        """Read what waits and deliver it, or wait for more."""
        try:
            lines = self._follower.read()
        except OSError as error:
            self._cannot(error, stop)
            return
        self._backoff.reset()
        seen = time.time()
        if lines:
            events = self._scan.events(lines, seen) + self._scan.tick(seen)
            self._outlet.send(events, self._follower.position, lines=lines.count(b"\n"), size=len(lines))
        else:
            self._outlet.send(self._scan.tick(seen))
        self._tell()
        if not lines:
            self._wake.wait(_POLL)

    def close(self) -> None:
        self._follower.close()
        self._wake.close()

    def _tell(self) -> None:
        if self._follower.missing():
            say = f"cannot read {self._path}: no such file; it will be read from its start when it appears"
            self._outlet.tell(ok=False, say=say)
        else:
            say = self._wake.why_slow or f"reads {self._path}"
            forgotten = sum(meter.forgotten for _, meter in self._scan.meters)
            self._outlet.tell(ok=True, say=say, lag=self._follower.lag, forgotten=forgotten)

    def _cannot(self, error: OSError, stop: threading.Event) -> None:
        hint = (
            "; let the agent's user read it (Debian: adduser containment-agent adm)" if isinstance(error, PermissionError) else ""
        )
        self._outlet.tell(ok=False, say=f"cannot read {self._path}: {error.strerror}{hint}")
        self._backoff.wait(stop)
