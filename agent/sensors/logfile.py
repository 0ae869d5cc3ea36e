"""Reads a log file as it grows, through rotations and restarts, and hands its lines to parsers and to fail2ban's filters."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from agent.fail2ban import filters as fail2ban
from agent.fail2ban.reading import Readings
from agent.schema import About, Flag
from agent.streams.follow import Follower
from agent.streams.inotify import Wake
from agent.streams.join import Join, Wrapped, unwrapped
from agent.streams.parser import Scan, discover_parsers
from agent.streams.sensor import Backoff, Deliver, Outlet, sensor
from agent.streams.tail import TURN

_POLL = 0.25
_QUIET = 0.5
"""Seconds between two looks where inotify wakes: a line that is not whole yet, rates that are due, and being asked to stop."""
LIVELY = 64 << 10
"""Bytes in one look that make a log lively: hundreds of lines came since the last one."""
GATHER = 0.005
"""Seconds that a lively log is left alone once all of it is read, so that one look takes what else would take five."""


@sensor
class Logfile:
    """The lines of one log file. The first start begins at its end, or at its start with `from_start`.

    `filters` are fail2ban's, as they stand in `filters_dir`: `filters: [sshd, "postfix[mode=aggressive]"]`.
    `inside: docker` reads a container's json-file log (/var/lib/docker/containers/ID/ID-json.log): the parsers get its own lines.
    """

    path: Annotated[str, About("the file", "/var/log/auth.log")]
    parsers: Annotated[tuple[str, ...], About("what its lines are read with, as in [sshd, sudo]")] = ()
    from_start: Annotated[Flag, About("true: the first start begins at its beginning, not its end", "true")] = False
    inside: Annotated[
        Literal["", "docker"], About("docker: the lines are wrapped as in a container's json-file log", "docker")
    ] = ""
    filters: Annotated[tuple[str, ...], About("fail2ban's filters, as in [sshd]")] = ()
    filters_dir: Annotated[str, About("where fail2ban's filters stand", "/etc/fail2ban/filter.d")] = fail2ban.WHERE

    def __post_init__(self) -> None:
        known = discover_parsers()
        if not self.parsers and not self.filters:
            raise ValueError("nothing reads this file; write parsers: [sshd], or filters: [sshd] for those of fail2ban")
        fail2ban.usable(self.filters, self.filters_dir, "file")
        for name in self.parsers:
            if name not in known:
                raise ValueError(f"cannot read with `{name}`: no such parser; there are {', '.join(known)}")
        if len({known[name].join for name in self.parsers} - {None}) > 1:
            raise ValueError(f"cannot read one file with {' and '.join(self.parsers)}: they take its lines together differently")

    @property
    def source(self) -> str:
        """As in `file:/var/log/auth.log`."""
        return f"file:{self.path}"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:
        """Read until stopped; a file that is missing or not ours to read is told and waited for."""
        known = discover_parsers()
        used = [known[name] for name in self.parsers]
        join = Wrapped() if self.inside else next((one.join for one in used if one.join), None)
        beside = Readings((fail2ban.load(self.filters_dir, one) for one in self.filters), self.source, wanted)
        scan = replace(Scan.of(used, self.source, wanted), beside=beside.each)
        reading = _Reading(self.path, join, scan, Outlet(self.source, deliver), beside)
        try:
            reading.start(position, from_start=self.from_start, stop=stop)
            while not stop.is_set():
                reading.turn(stop)
        finally:
            reading.close()


class _Reading:
    """One run: the follower, what wakes it, and where its events go."""

    def __init__(self, path: str, join: Join | None, scan: Scan, outlet: Outlet, filters: Readings) -> None:
        self._path, self._scan, self._outlet, self._filters = path, scan, outlet, filters
        self._follower, self._wake, self._backoff = Follower(Path(path), join), Wake([Path(path)]), Backoff()
        self._unwrap = isinstance(join, Wrapped)

    def start(self, position: str | None, *, from_start: bool, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                lost = self._follower.start(position, from_start=from_start)
            except OSError as error:
                self._cannot(error, stop)
                continue
            if not self._unwrap:
                self._filters.hold_again(position, self._follower.before, time.time())
            self._outlet.anchor(self._position())
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
            events = self._scan.events(unwrapped(lines) if self._unwrap else lines, seen) + self._scan.tick(seen)
            self._outlet.send(events, self._position(), lines=lines.count(b"\n"), size=len(lines))
        else:
            self._outlet.send(self._scan.tick(seen))
        self._tell()
        if not lines:
            self._wake.wait(_POLL if self._wake.why_slow else _QUIET)
        elif LIVELY <= len(lines) < TURN:
            stop.wait(GATHER)

    def _position(self) -> str:
        """Where to go on, and which lines behind that are held to be judged with the next ones."""
        return self._follower.position if self._unwrap else self._filters.with_held(self._follower.position, time.time())

    def close(self) -> None:
        self._follower.close()
        self._wake.close()
        self._filters.close()

    def _tell(self) -> None:
        if self._follower.missing():
            say = f"cannot read {self._path}: no such file; it will be read from its start when it appears"
            self._outlet.tell(ok=False, say=say)
        else:
            say = self._wake.why_slow or f"reads {self._path}"
            say += f"; {skipped}" if (skipped := self._filters.trouble()) else ""
            forgotten = sum(meter.forgotten for _, meter in self._scan.meters)
            self._outlet.tell(ok=True, say=say, lag=self._follower.lag, forgotten=forgotten)

    def _cannot(self, error: OSError, stop: threading.Event) -> None:
        hint = (
            "; let the agent's user read it (Debian: adduser containment-agent adm)" if isinstance(error, PermissionError) else ""
        )
        self._outlet.tell(ok=False, say=f"cannot read {self._path}: {error.strerror}{hint}")
        self._backoff.wait(stop)
