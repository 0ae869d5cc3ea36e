"""Wakes up when something happens in a directory: inotify(7) through libc, for a file's follower that also polls.

inotify is only the alarm clock. It is silent on network file systems and for other containers' overlays, and its watches can
run out, so nobody may depend on it: `Wake.wait` returns after its timeout in any case.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_MODIFY, _MOVED_FROM, _MOVED_TO, _CREATE = 0x2, 0x40, 0x80, 0x100
_WATCH_AGAIN: Final = 2.0
_HEAD: Final = struct.Struct("iIII")
"""struct inotify_event: watch, mask, cookie, length of the name that follows."""


class Wake:
    """Watches the directories of some files, so that new, renamed and rotated ones wake it too.

    Attributes:
        why_slow: why changes are only seen by polling, empty where they wake at once.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = frozenset(paths)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.why_slow = "" if self._fd >= 0 else _why("cannot use inotify")
        self._poll = select.poll()
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
        self._watch()

    def wait(self, seconds: float) -> None:
        """Return when one of the files changed, or after the time."""
        if time.monotonic() - self._watched > _WATCH_AGAIN:
            self._watch()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._poll.poll(left * 1000) and self._ours():
                return

    def _watch(self) -> None:
        """Watch every directory, again and again: a directory can appear, be replaced, or a link lead elsewhere."""
        self._watched = time.monotonic()
        if self._fd < 0:
            return
        files = self._paths | {Path(os.path.realpath(path)) for path in self._paths}
        self._names = {os.fsencode(path.name) for path in files}
        failed = [at for at in {path.parent for path in files} if self._add(at) < 0]
        self.why_slow = _why(f"cannot watch {failed[0]}") if failed else ""

    def _add(self, directory: Path) -> int:
        return int(self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _MODIFY | _MOVED_FROM | _MOVED_TO | _CREATE))

    def close(self) -> None:
        """Give the watches back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ours(self) -> bool:
        try:
            read = os.read(self._fd, 65536)
        except BlockingIOError:
            return False
        return any(name in self._names for name in _names(read))


def _names(read: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(read):
        *_, length = _HEAD.unpack_from(read, at)
        at += _HEAD.size + length
        yield read[at - length : at].rstrip(b"\0")


def _why(what: str) -> str:
    return f"{what}: {os.strerror(ctypes.get_errno())}; looking every 250 ms instead"
