"""One log file being read: whole lines from an offset on, and whether it still is the file it was.

The offset is always the start of a line that nobody was given yet, so nothing read is ever kept in memory, and a position
is exact.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.streams.join import CUT, Join

TURN: Final = 256 << 10
"""Bytes that one turn reads of one file."""
LONGEST_LINE: Final = 64 << 10

_HEAD: Final = 256
_PARTIAL: Final = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stopped in one file. `head` is how many first bytes are known, `digest` what they were."""

    dev: int
    ino: int
    offset: int
    head: int
    digest: str
    mtime: float
    cut: bool = False
    inside: bool = False

    def fits(self, opened: Opened) -> bool:
        """True if the file begins as it did and holds at least what was read of it."""
        return opened.size() >= self.offset and digest_of(opened.first(self.head)) == self.digest


@dataclass
class Opened:
    """One file being read. `cut`: the rest of the current line is skipped; `inside`: that of the current record.

    `join` says which lines make a record, where a line alone does not.
    """

    fd: int
    dev: int
    ino: int
    offset: int = 0
    cut: bool = False
    head: bytes = b""
    mtime: float = 0.0
    grown: float = field(default_factory=time.monotonic)
    join: Join | None = None
    inside: bool = False
    _partial: tuple[int, float] = (-1, 0.0)

    @classmethod
    def at(cls, path: Path, join: Join | None = None) -> Opened:
        """Open a regular file.

        Raises:
            OSError: it is missing, not ours to read, or no regular file.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return cls(fd, state.st_dev, state.st_ino, mtime=state.st_mtime, join=join)

    def look(self) -> None:
        """Get to know the file's first bytes."""
        self.head = self.first(_HEAD)

    def place(self) -> Place:
        """Where reading stopped."""
        return Place(self.dev, self.ino, self.offset, len(self.head), digest_of(self.head), self.mtime, self.cut, self.inside)

    def go_on(self, place: Place) -> None:
        """Read on from where reading stopped, in this file or in its original."""
        self.offset, self.cut, self.head = place.offset, place.cut, self.first(place.head)
        self.inside = place.inside and self.join is not None

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self.fd).st_size

    def first(self, size: int) -> bytes:
        """The file's first bytes."""
        return os.pread(self.fd, size, 0)

    def copies(self, other: Opened) -> bool:
        """True if this is, as far as it goes, a copy of another file, as long as that one has not been truncated."""
        size = self.size()
        head, at = min(size, len(other.head)), max(0, size - _HEAD)
        if not head or other.size() < size or self.first(head) != other.head[:head]:
            return False
        return os.pread(self.fd, size - at, at) == os.pread(other.fd, size - at, at)

    def skip_to_end(self) -> None:
        """Leave out what is there; a line that is being written now is left out whole."""
        self.look()
        self.offset = self.size()
        self.cut = self.offset > 0 and os.pread(self.fd, 1, self.offset - 1) != b"\n"

    def changed(self) -> bool:
        """True if the file was truncated and holds something else now."""
        state, head = os.fstat(self.fd), self.first(_HEAD)
        if state.st_size < self.offset or not head.startswith(self.head):
            return True
        self.head, self.mtime = head, state.st_mtime
        return False

    def read(self) -> bytes | None:
        """The next whole lines, up to one turn; empty where nothing waits. None: the file holds something else now."""
        while True:
            waits = min(self.size() - self.offset, TURN)  # a buffer of a whole turn costs more than what is mostly in it
            data = os.pread(self.fd, waits, self.offset) if waits > 0 else b""
            if self.changed():  # asked after reading: so what was read was still the old content
                return None
            before = self.offset
            lines = self._lines(data)
            if self.offset == before:
                return b""
            self.grown = time.monotonic()
            if lines:  # else only a hole, or the rest of a line that was cut, went by
                return lines

    def _lines(self, data: bytes) -> bytes:
        if self.cut:
            rest = data.find(b"\n") + 1
            self.offset += rest or len(data)
            self.cut = rest == 0
            return self._lines(data[rest:]) if rest else b""
        if data.startswith(b"\0"):  # the hole that a writer without O_APPEND leaves when its file is truncated
            kept = data.lstrip(b"\0")
            self.offset += len(data) - len(kept)
            return self._lines(kept) if kept else b""
        if self.inside and self.join:
            return self._skipped(data, self.join)
        end = data.rfind(b"\n") + 1
        if end and self.join:
            end = self._joined(data[:end], self.join)
        if end:
            self.offset += end
            return data[:end]
        if len(data) >= LONGEST_LINE:
            return self._cut_off(data[:LONGEST_LINE], long=True)
        return self._cut_off(data) if data and self._waited() else b""

    def _joined(self, lines: bytes, join: Join) -> int:
        """How many bytes are whole records; after the join's patience, what it says of the rest."""
        return join.whole(lines, late=False) or (join.whole(lines, late=True) if self._waited() else 0)

    def _skipped(self, data: bytes, join: Join) -> bytes:
        """What stands behind the record that was cut."""
        skip, ended = join.rest(data)
        self.offset += skip
        self.inside = not ended
        if not skip and len(data) >= LONGEST_LINE:  # no such record goes on like that
            self.inside, self.cut = False, True
        return self._lines(data[skip:]) if not self.inside else b""

    def _cut_off(self, line: bytes, *, long: bool = False) -> bytes:
        """The beginning of what is too long or never ended. Only of what is too long is the record's end looked for."""
        at = self.join.cut_at(line) if self.join and long else 0
        self.inside, self.cut = at > 0, at == 0
        line = line[: at or len(line)]
        self.offset += len(line)
        return self.join.closed(line) if self.join else line + CUT

    def _waited(self) -> bool:
        """True once the line at this offset has been without its end for 5 s, a record for as long as its join has patience."""
        now = time.monotonic()
        if self._partial[0] != self.offset:
            self._partial = (self.offset, now)
        return now - self._partial[1] >= (self.join.patience if self.join else _PARTIAL)


def digest_of(head: bytes) -> str:
    """A hash, so that no text of the log stands in the journal's positions."""
    return hashlib.sha256(head).hexdigest()[:32]
