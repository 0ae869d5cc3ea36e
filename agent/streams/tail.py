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

TURN: Final = 256 << 10
"""Bytes that one turn reads of one file."""
LONGEST_LINE: Final = 64 << 10
CUT: Final = b" [cut]\n"
"""What a line ends with that was too long or never ended; so it fits no pattern that is read from the right."""

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

    def fits(self, opened: Opened) -> bool:
        """True if the file begins as it did and holds at least what was read of it."""
        return opened.size() >= self.offset and digest_of(opened.first(self.head)) == self.digest


@dataclass
class Opened:
    """One file being read. `cut`: the rest of the current line is skipped."""

    fd: int
    dev: int
    ino: int
    offset: int = 0
    cut: bool = False
    head: bytes = b""
    mtime: float = 0.0
    grown: float = field(default_factory=time.monotonic)
    _partial: tuple[int, float] = (-1, 0.0)

    @classmethod
    def at(cls, path: Path) -> Opened:
        """Open a regular file.

        Raises:
            OSError: it is missing, not ours to read, or no regular file.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return cls(fd, state.st_dev, state.st_ino, mtime=state.st_mtime)

    def look(self) -> None:
        """Get to know the file's first bytes."""
        self.head = self.first(_HEAD)

    def place(self) -> Place:
        """Where reading stopped."""
        return Place(self.dev, self.ino, self.offset, len(self.head), digest_of(self.head), self.mtime, self.cut)

    def go_on(self, place: Place) -> None:
        """Read on from where reading stopped, in this file or in its original."""
        self.offset, self.cut, self.head = place.offset, place.cut, self.first(place.head)

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self.fd).st_size

    def first(self, size: int) -> bytes:
        """The file's first bytes."""
        return os.pread(self.fd, size, 0)

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
            data = os.pread(self.fd, TURN, self.offset)
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
        end = data.rfind(b"\n") + 1
        if end:
            self.offset += end
            return data[:end]
        if len(data) >= LONGEST_LINE:
            return self._cut_off(data[:LONGEST_LINE])
        return self._cut_off(data) if data and self._waited() else b""

    def _cut_off(self, line: bytes) -> bytes:
        self.offset += len(line)
        self.cut = True
        return line + CUT

    def _waited(self) -> bool:
        """True once the line at this offset has been without its end for 5 s."""
        now = time.monotonic()
        if self._partial[0] != self.offset:
            self._partial = (self.offset, now)
        return now - self._partial[1] >= _PARTIAL


def digest_of(head: bytes) -> str:
    """A hash, so that no text of the log stands in the journal's positions."""
    return hashlib.sha256(head).hexdigest()[:32]
