"""Hears at once that something changed in a directory, and by which process where the kernel says so.

fanotify(7) with FAN_REPORT_DFID_NAME (Linux 5.9, root) gives the directory's file handle, the name and the pid; inotify(7) gives
directory and name. Both are only the alarm clock: whoever hears of a path looks at it again; after an overflow, at everything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

_AT_FDCWD: Final = -100
_FAN_INIT: Final = 0x1 | 0x2 | 0x20 | 0x400 | 0x800
"""CLOEXEC, NONBLOCK, UNLIMITED_MARKS, REPORT_DIR_FID, REPORT_NAME."""
_FAN_ADD: Final = 0x1 | 0x8
"""MARK_ADD, MARK_ONLYDIR."""
_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_MASK: Final = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_ON_CHILD, _ONDIR, _FAN_OVERFLOW = 0x08000000, 0x40000000, 0x4000
_IN_OVERFLOW, _IN_IGNORED, _IN_ONLYDIR = 0x4000, 0x8000, 0x01000000
_FAN_HEAD: Final = struct.Struct("=IBBHQii")
"""struct fanotify_event_metadata: length, version, reserved, its own length, mask, descriptor, pid."""
_FAN_INFO: Final = struct.Struct("=BBH8sIi")
"""struct fanotify_event_info_fid up to the handle: type, pad, length, file system, the handle's length and type."""
_DFID_NAME: Final = 2
_IN_HEAD: Final = struct.Struct("=iIII")
_HANDLE: Final = 128
_READ: Final = 1 << 18
_MOST: Final = 250_000
"""Directories that fanotify's marks are known by; it does not say which of them have gone."""


class Touched(NamedTuple):
    """A path that something was done to. `tree` says that it is, or was, a directory: all below it has changed its place."""

    path: bytes
    tree: bool = False
    pid: int = 0


class Heard(NamedTuple):
    """What came since the last time; `lost` says that some of it did not."""

    touched: list[Touched]
    lost: bool = False


class Watcher(Protocol):
    """Hears of changes in the directories it was given. `how` is told to people."""

    how: str

    def add(self, directory: bytes) -> None:
        """Hear of this directory as well.

        Raises:
            OSError: it cannot be watched.
        """

    def wait(self, seconds: float) -> Heard:
        """What changed; after the time at the latest."""

    def close(self) -> None:
        """Let go of it."""


def watcher() -> Watcher:
    """The best that this host has: fanotify, else inotify, else nothing but looking again and again."""
    why = []
    for kind in (Fanotify, Inotify):
        try:
            return kind()
        except OSError as error:
            why.append(f"{kind.__name__.lower()}: {error.strerror}")
    return Deaf(", ".join(why))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


class _Handle(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_ubyte * _HANDLE))


def _handle(directory: bytes) -> bytes:
    """What fanotify calls a directory: the type and bytes of its handle (name_to_handle_at(2))."""
    made, mount = _Handle(size=_HANDLE), ctypes.c_int()
    _checked(
        _LIBC.name_to_handle_at(_AT_FDCWD, directory, ctypes.byref(made), ctypes.byref(mount), 0), "cannot have a file handle"
    )
    return struct.pack("=i", made.type) + bytes(made.bytes[: made.size])


class Fanotify:
    """fanotify marks on directories, each known by its file handle. Needs CAP_SYS_ADMIN."""

    how = "fanotify"

    def __init__(self, most: int = _MOST) -> None:
        """Open it. With more than `most` directories, those that are there are asked for again.

        Raises:
            OSError: this kernel or this user cannot.
        """
        _LIBC.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
        self._fd = _checked(_LIBC.fanotify_init(_FAN_INIT, os.O_RDONLY | os.O_CLOEXEC), "cannot use fanotify")
        self._places: dict[bytes, bytes] = {}
        self._most, self._forgot = most, False
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        try:
            self.add(b"/")  # a kernel or container that has fanotify, and no handles for it, is found out here
            _LIBC.fanotify_mark(self._fd, 0x2 | 0x8, _MASK | _ON_CHILD | _ONDIR, _AT_FDCWD, b"/")
            self._places.clear()
        except OSError:
            self.close()
            raise

    def add(self, directory: bytes) -> None:
        """Hear of a directory; once more is harmless, and gives it the name that it has now."""
        handle = _handle(directory)
        mask = _MASK | _ON_CHILD | _ONDIR
        _checked(_LIBC.fanotify_mark(self._fd, _FAN_ADD, mask, _AT_FDCWD, directory), "cannot watch")
        if len(self._places) >= self._most:
            self._places.clear()
            self._forgot = True
        self._places[_device(directory) + handle] = directory

    def wait(self, seconds: float) -> Heard:
        """What changed in them."""
        touched, lost = list[Touched](), self._forgot
        self._forgot = False
        if not self._poll.poll(0 if lost else max(0.0, seconds) * 1000):
            return Heard(touched, lost)
        while data := _read(self._fd):
            for mask, pid, info in _events(data):
                lost = lost or bool(mask & _FAN_OVERFLOW)
                if (path := self._path(info)) is not None:
                    touched.append(Touched(path, bool(mask & _ONDIR), pid))
        return Heard(touched, lost)

    def _path(self, info: bytes) -> bytes | None:
        if len(info) < _FAN_INFO.size:
            return None
        kind, _, length, where, size, type_ = _FAN_INFO.unpack_from(info)
        if kind != _DFID_NAME:
            return None
        begin = _FAN_INFO.size + size
        place = self._places.get(where + struct.pack("=i", type_) + info[_FAN_INFO.size : begin])
        name = info[begin:length].split(b"\0", 1)[0]
        if place is None:
            return None
        return place if name in (b"", b".") else place.rstrip(b"/") + b"/" + name

    def close(self) -> None:
        """All marks go with it."""
        os.close(self._fd)


def _device(directory: bytes) -> bytes:
    """The file system's id as fanotify gives it: two ints of statfs(2), which os.statvfs folds into one number."""
    buffer = ctypes.create_string_buffer(256)
    _checked(_LIBC.statfs(directory, buffer), "cannot ask the file system")
    return buffer.raw[_FSID : _FSID + 8]


_FSID: Final = 7 * ctypes.sizeof(ctypes.c_long)
"""Where `f_fsid` stands in struct statfs: after seven words, on all that Debian runs on with 64 bits."""


def _events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + _FAN_HEAD.size <= len(data):
        length, _, _, head, mask, _, pid = _FAN_HEAD.unpack_from(data, at)
        if length < _FAN_HEAD.size:
            return
        yield mask, pid, data[at + head : at + length]
        at += length


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _READ)
    except BlockingIOError:
        return b""


class Inotify:
    """inotify watches on directories: no pid."""

    how = "inotify, which does not say who it was"

    def __init__(self) -> None:
        """Open it.

        Raises:
            OSError: too many are open on this host.
        """
        self._fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "cannot use inotify")
        self._places: dict[int, bytes] = {}
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def add(self, directory: bytes) -> None:
        """Hear of a directory; once more is harmless, and gives it the name that it has now."""
        mask = _MASK | _IN_ONLYDIR
        number = _checked(_LIBC.inotify_add_watch(self._fd, directory, mask), "cannot watch")
        self._places[number] = directory

    def wait(self, seconds: float) -> Heard:
        """What changed in them."""
        touched, lost = list[Touched](), False
        if not self._poll.poll(max(0.0, seconds) * 1000):
            return Heard(touched)
        while data := _read(self._fd):
            at = 0
            while at < len(data):
                number, mask, _, length = _IN_HEAD.unpack_from(data, at)
                name = data[at + _IN_HEAD.size : at + _IN_HEAD.size + length].split(b"\0", 1)[0]
                at += _IN_HEAD.size + length
                lost = lost or bool(mask & _IN_OVERFLOW)
                if mask & _IN_IGNORED:
                    self._places.pop(number, None)
                elif (place := self._places.get(number)) is not None:
                    path = place.rstrip(b"/") + b"/" + name if name else place
                    touched.append(Touched(path, bool(mask & _ONDIR) and bool(name)))
        return Heard(touched, lost)

    def close(self) -> None:
        """All watches go with it."""
        os.close(self._fd)


class Deaf:
    """Hears nothing: whoever asks looks again and again."""

    def __init__(self, why: str) -> None:
        """`why` there is nothing better."""
        self.how = f"looking again and again ({why})"
        self._never = select.poll()

    def add(self, directory: bytes) -> None:
        """Nothing hears of it.

        Raises:
            OSError: always.
        """
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), directory)

    def wait(self, seconds: float) -> Heard:
        """Time."""
        self._never.poll(max(0.0, seconds) * 1000)
        return Heard([])

    def close(self) -> None:
        """Nothing to let go of."""
