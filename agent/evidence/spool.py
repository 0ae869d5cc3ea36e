"""Where records wait while the journal cannot be written: in memory, beside it in a file that outlives a kill, and as text in
syslog. Bounded, redacted, in order, each with its own time.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from pydantic_core import from_json

from agent.event import Event
from agent.evidence.leaf import nanoseconds, pack, read_record, write_events, write_record
from agent.evidence.redact import Redactor
from agent.record import Record, Stored

ROOM: Final = 50_000
"""Records that wait, beyond which nobody may act; a fifth more is kept for what comes of what was begun, and for ends."""
ROOM_BYTES: Final = 64 << 20
EVENT_BYTES: Final = 16 << 20
"""Bytes of packed events that wait; the oldest are left out, and counted."""

_SAFELY: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Neither through a link, nor waiting for the other end of a pipe."""

Batch = tuple[float, float, bytes]
"""The events of one commit as a row: seen first, seen last (Unix seconds), packed."""
Ship = Callable[[Sequence[bytes]], str]
"""Sends lines of text off; says why not all of them went, empty when they did."""


class Spooled(NamedTuple):
    """A record that waits: Unix and monotonic nanoseconds, and its redacted JSON as the journal will hash it."""

    ts: int
    mono: int
    tail: bytes


class Spool:
    """Used by the owner's thread alone. `left_out` counts records that only syslog has, `events_left_out` batches of events."""

    def __init__(self, path: Path, redact: Redactor, ship: Ship) -> None:
        """Take over what a killed agent left in the file, if it is ours alone."""
        self._path, self._redact, self._ship = path, redact, ship
        self.records: list[Spooled] = []
        self.events: deque[Batch] = deque()
        self.positions: dict[str, str] = {}
        self.left_out = self.events_left_out = 0
        self.unheard = ""
        self._bytes = self._event_bytes = self._length = 0
        self._digest = sha256()
        self._file_why = self._unsent = ""
        self._take_over()

    @property
    def digest(self) -> str:
        """What the file holds, as a hash: a journal that names it has these records already."""
        return self._digest.hexdigest()

    @property
    def no_copy(self) -> str:
        """Why nobody may act: there is no room for another record, or no copy of the last ones would survive a kill."""
        if len(self.records) >= ROOM or self._bytes >= ROOM_BYTES:
            return f"{len(self.records):,} records wait already, and there is no room for more"
        return self.unheard

    @property
    def places(self) -> str:
        """Where copies of the records are, for people."""
        kept = [*(() if self._file_why else (str(self._path),)), *(() if self._unsent else ("syslog",))]
        return " and ".join(kept) or "nowhere else"

    def add(self, now: float, records: Sequence[Record]) -> None:
        """Keep records, and send each off at once.

        Raises:
            CannotRecord: a value has no JSON form; nothing was kept.
        """
        if not records:
            return
        fresh = self.stamped(now, records)
        room = [one for one in fresh if self._fits(one)]
        self.left_out += len(fresh) - len(room)
        filed = self._file(room) and len(room) == len(fresh)
        self._unsent = not_shipped = self._ship([_line(one) for one in fresh])
        self.unheard = "" if filed or not not_shipped else f"no copy of a record can be kept: {not_shipped}; {self._file_why}"

    def stamped(self, now: float, records: Sequence[Record]) -> list[Spooled]:
        """Records as they would be kept."""
        ts, mono = nanoseconds(now), time.monotonic_ns()
        return [Spooled(ts, mono, tail) for tail in self._redact.clean([write_record(record) for record in records])]

    def see(self, positions: Mapping[str, str], events: Sequence[Event]) -> None:
        """Keep how far sensors have read, and the events behind that."""
        self.positions |= positions
        for one in pack_events(events, self._redact):
            self.events.append(one)
            self._event_bytes += len(one[2])
        while self._event_bytes > EVENT_BYTES:
            self._event_bytes -= len(self.events.popleft()[2])
            self.events_left_out += 1

    def stored(self) -> Iterator[Stored]:
        """The records as if they were read back from a journal, which has not numbered them yet."""
        for one in self.records:
            yield read_record(-1, b'{"seq":-1,"ts":%d,%b' % (one.ts, one.tail[1:]), b"")

    def clear(self) -> None:
        """Everything is in the journal now."""
        self.records, self.events, self.positions = [], deque(), {}
        self._bytes = self._event_bytes = self._length = self.left_out = self.events_left_out = 0
        self._digest, self._file_why, self.unheard = sha256(), "", ""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._file_why = f"{self._path}: {error.strerror}"

    # How ----------------------------------------------------------------------------------------------------------------

    def _fits(self, one: Spooled) -> bool:
        if len(self.records) >= ROOM * 6 // 5 or self._bytes + len(one.tail) > ROOM_BYTES * 6 // 5:
            return False
        self.records.append(one)
        self._bytes += len(one.tail)
        return True

    def _file(self, fresh: Sequence[Spooled]) -> bool:
        """Append to the file; what a full disk cut off is taken back, so that every line is whole."""
        if self._file_why:
            return False
        data = b"".join(b"%d %d %b\n" % one for one in fresh)
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | _SAFELY, 0o600)
            try:
                _refuse_others(descriptor)
                os.ftruncate(descriptor, self._length)
                if os.pwrite(descriptor, data, self._length) != len(data):
                    os.ftruncate(descriptor, self._length)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
        except OSError as error:  # later records would stand behind a hole
            self._file_why = f"{self._path}: {error.strerror}"
            return False
        self._length += len(data)
        self._digest.update(data)
        return True

    def _take_over(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | _SAFELY)
            with os.fdopen(descriptor, "rb") as file:
                _refuse_others(descriptor)
                data = file.read(ROOM_BYTES * 2)
        except OSError:
            return
        if b"\n" not in data:  # the crash came before the first line was whole
            self.clear()
        for line in data.splitlines(keepends=True):
            one = _read(line)
            if one is None or not self._fits(one):
                break
            self._length += len(line)
            self._digest.update(line)


def _refuse_others(descriptor: int) -> None:
    """See that an opened file is ours alone, and a file.

    Raises:
        OSError: somebody else put it there, has it under another name, or may write it.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022 or found.st_nlink > 1:
        raise OSError(errno.EPERM, "what is there is not the agent's alone")


def pack_events(events: Sequence[Event], redact: Redactor) -> list[Batch]:
    """The one row that all events of a commit become; none where there are none."""
    if not events:
        return []
    body = write_events(events)
    if redact.suspects(body):  # whose lines hold a secret pay for it, not every line of the burst
        body = b"[%b]" % b",".join(redact.clean([write_events([event])[1:-1] for event in events]))
    seen = [event.seen for event in events]
    return [(min(seen), max(seen), pack(body))]


def _line(one: Spooled) -> bytes:
    return b'evidence {"ts":%d,%b' % (one.ts, one.tail[1:])


def _read(line: bytes) -> Spooled | None:
    """A line of the file; None where a crash cut it off."""
    try:
        ts, mono, tail = line.split(b" ", 2)
        if not tail.endswith(b"}\n") or from_json(tail).keys() != {"kind", "incident", "mitigation", "body"}:
            return None
        return Spooled(int(ts), int(mono), tail[:-1])
    except (ValueError, AttributeError):
        return None
