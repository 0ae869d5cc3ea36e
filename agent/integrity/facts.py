"""What one file is: looked at without following a link, opening anything but a regular file, or trusting a name twice.

Every step from a watched path down is made with openat(2) and O_NOFOLLOW, so that a directory swapped for a link while we look
leads nowhere. The last one is opened with O_PATH: fstat says what it is before anything is opened for reading, and the reading
goes through /proc/self/fd, which is that very inode.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, NamedTuple

MOST_HASHED: Final = 256 << 20
"""Bytes of a file up to which all of it is hashed; of a larger one its size, its mtime, the first and the last MiB."""
_ENDS: Final = 1 << 20
_PIECE: Final = 1 << 20
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_TYPES: Final = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "dir"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "character device"),
)
SPECIAL: Final = stat.S_ISUID | stat.S_ISGID


class Facts(NamedTuple):
    """What a path was found to be. `mode` are the permission bits, `link` a link's target or a device's number.

    `sha256` is empty for what is no regular file, and where `error` says why it could not be read. A `part` is the digest of a
    file too large to be hashed whole.
    """

    type: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    sha256: str = ""
    caps: str = ""
    link: str = ""
    part: bool = False
    error: str = ""


class Difference(NamedTuple):
    """One way in which a path is not what it was, with both values in short."""

    what: str
    old: str
    new: str


class Stopped(Exception):  # noqa: N818 - reads as the sentence it is
    """Hashing was given up because the agent stops."""


def _on() -> None:
    """Nothing between two pieces of a file."""


@contextmanager
def opened(path: bytes, root: bytes, flags: int = 0) -> Iterator[int]:
    """A path at or below a root, opened with O_PATH and these flags, and no link followed from the root on.

    The way to the root itself is as its name says: whoever wrote that name meant it.

    Raises:
        OSError: it is not there, or may not be reached.
    """
    parent, name = os.path.split(root)
    names = [name, *path[len(root) :].split(b"/")] if name else path.split(b"/")
    names = [one for one in names if one] or [b"."]
    held = os.open(parent or b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for at, one in enumerate(names):
            last = at == len(names) - 1
            how = flags if last else os.O_DIRECTORY
            here = os.open(one, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | how, dir_fd=held)
            os.close(held)
            held = here
        yield held
    finally:
        os.close(held)


def look(path: bytes, root: bytes, breathe: Callable[[], None] = _on) -> Facts | None:
    """What a path is now; None where nothing is there. `breathe` is called between two MiB of a file.

    Raises:
        OSError: the way there may not be walked, or the host is out of something.
    """
    try:
        with opened(path, root) as fd:
            return _facts(fd, breathe)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _facts(fd: int, breathe: Callable[[], None]) -> Facts:
    there = os.fstat(fd)
    kind = next((name for fits, name in _TYPES if fits(there.st_mode)), "unknown")
    facts = Facts(kind, stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid)
    if kind == "dir":
        return facts
    if kind == "link":
        return facts._replace(mode=0o777, link=os.fsdecode(os.readlink(b"", dir_fd=fd)))
    if kind.endswith("device"):
        return facts._replace(link=f"{os.major(there.st_rdev)}:{os.minor(there.st_rdev)}")
    if kind != "file":
        return facts
    facts = facts._replace(size=there.st_size, mtime_ns=there.st_mtime_ns, inode=there.st_ino, caps=_caps(fd))
    try:
        return _hashed(fd, facts, breathe)
    except OSError as error:  # may not be read, or the disk cannot
        return facts._replace(error=error.strerror or str(error))


def _caps(fd: int) -> str:
    """A file's capabilities (capabilities(7)) as hex; empty for none, and where the file system knows no such thing."""
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", "security.capability").hex()
    except OSError:
        return ""


@contextmanager
def reading(fd: int) -> Iterator[int]:
    """A regular file that was opened with O_PATH, opened to be read.

    Raises:
        OSError: it may not be read.
    """
    held = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield held
    finally:
        os.close(held)


def _hashed(fd: int, facts: Facts, breathe: Callable[[], None]) -> Facts:
    with reading(fd) as file:
        if facts.size > MOST_HASHED:
            return facts._replace(sha256=_of_ends(file, facts), part=True)
        digest, left = sha256(), MOST_HASHED
        while left > 0 and (piece := os.read(file, min(_PIECE, left))):
            digest.update(piece)
            left -= len(piece)
            breathe()
        return facts._replace(sha256=digest.hexdigest())


def _of_ends(fd: int, facts: Facts) -> str:
    digest = sha256(f"{facts.size} {facts.mtime_ns} ".encode())
    digest.update(os.pread(fd, _ENDS, 0))
    digest.update(os.pread(fd, _ENDS, facts.size - _ENDS))
    return digest.hexdigest()


# Compared -----------------------------------------------------------------------------------------------------------------


def differences(old: Facts | None, new: Facts | None) -> list[Difference]:
    """In what ways a path is another one than it was; a new time or inode alone is none. The most telling comes first."""
    if old is None or new is None:
        if old is new:
            return []
        return [Difference("created", "", whole(new)) if new else Difference("deleted", whole(old), "")]
    if old.type != new.type:
        return [Difference("type", f"{old.type} {short(old)}".strip(), f"{new.type} {whole(new)}".strip())]
    pairs = {
        "changed": (old.sha256, new.sha256) if not (old.error or new.error) else (str(old.size), str(new.size)),
        "link": (old.link, new.link),
        "caps": (old.caps, new.caps),
        "owner": (f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"),
        "mode": (f"{old.mode:04o}", f"{new.mode:04o}"),
    }
    brief = {"changed": (short(old), short(new))}
    return [Difference(what, *brief.get(what, pair)) for what, pair in pairs.items() if pair[0] != pair[1]]


def whole(facts: Facts | None) -> str:
    """The same with who may do what with it: whoever accepts a file that is new accepts that, too."""
    if facts is None or facts.type == "link":
        return short(facts)
    caps = f", capabilities {facts.caps}" if facts.caps else ""
    return f"{short(facts)}, mode {facts.mode:04o}, owner {facts.uid}:{facts.gid}{caps}"


def short(facts: Facts | None) -> str:
    """A digest's beginning, a link's target, or what else it is, with the size of a file."""
    if facts is None:
        return ""
    if facts.type != "file":
        return facts.link or facts.type
    return f"{facts.sha256[:16] or 'unread'} ({facts.size} bytes{', in part' if facts.part else ''})"
