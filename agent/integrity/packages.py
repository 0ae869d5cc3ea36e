"""Which Debian package ships exactly this content under this path: read from dpkg's own lists, with no program started.

`/var/lib/dpkg/info/*.md5sums` has the files, `/var/lib/dpkg/status` the configuration files (dpkg(1), deb-conffiles(5)). It is
an explanation for people and policies, and no proof: whoever is root can write there too, and MD5 is what dpkg has.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from hashlib import md5
from pathlib import Path
from typing import Final

from agent.integrity.facts import SPECIAL, Facts, opened, reading

DPKG: Final = Path("/var/lib/dpkg")
_MERGED: Final = (b"/usr/bin/", b"/usr/sbin/", b"/usr/lib/", b"/usr/lib32/", b"/usr/lib64/")
"""Directories that dpkg knows by the names they had before /usr was merged."""
_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock on 64 bits: type, whence, start, length, pid."""
_PIECE: Final = 1 << 20


def at_work(dpkg: Path = DPKG) -> bool:
    """Whether dpkg is changing the host just now: what it has written is in no list of its yet."""
    try:
        fd = os.open(dpkg / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        asked = fcntl.fcntl(fd, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        return bool(_FLOCK.unpack(asked)[0] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)


def shipped(paths: Collection[bytes], dpkg: Path = DPKG) -> dict[bytes, tuple[str, str]]:
    """Path → the package that has it and the MD5 of its content; one pass over dpkg's lists, whatever the number of paths.

    A path that is in no list, or a host without dpkg, has none.
    """
    wanted = {spelled: path for path in paths for spelled in _spellings(path)}
    found = dict[bytes, tuple[str, str]]()
    if not wanted:
        return found
    for package, path, digest in _conffiles(dpkg):
        if path in wanted:
            found[wanted[path]] = (package, digest)
    for package, path, digest in _sums(dpkg, wanted):
        found.setdefault(wanted[path], (package, digest))
    return found


def _spellings(path: bytes) -> Iterator[bytes]:
    yield path
    if path.startswith(_MERGED):
        yield path[len(b"/usr") :]


def _sums(dpkg: Path, wanted: Mapping[bytes, bytes]) -> Iterator[tuple[str, bytes, str]]:
    try:
        lists = [one for one in os.scandir(dpkg / "info") if one.name.endswith(".md5sums")]
    except OSError:
        return
    for one in lists:
        try:
            text = Path(one.path).read_bytes()
        except OSError:
            continue
        package = one.name.removesuffix(".md5sums").partition(":")[0]
        for line in text.split(b"\n"):
            digest, _, name = line.partition(b"  ")
            if name and (path := b"/" + name) in wanted:
                yield package, path, digest.decode("ascii", "replace")


def _conffiles(dpkg: Path) -> Iterator[tuple[str, bytes, str]]:
    try:
        text = (dpkg / "status").read_bytes()
    except OSError:
        return
    package = ""
    for line in text.split(b"\n"):
        if line.startswith(b"Package: "):
            package = line[len(b"Package: ") :].decode("ascii", "replace")
        elif line.startswith(b" /"):
            name, _, digest = line[1:].removesuffix(b" obsolete").rpartition(b" ")
            if len(digest) == len(md5(b"", usedforsecurity=False).hexdigest()):
                yield package, name, digest.decode("ascii", "replace")


def explains(path: bytes, root: bytes, facts: Facts, was: Facts | None, known: tuple[str, str]) -> str:
    """The package, where what stands at the path is what it ships: the content, and no more rights than the file had before.

    dpkg's lists say nothing of owners and modes, so a program that becomes setuid, or gets capabilities, is explained by nothing.
    """
    package, wanted = known
    if facts.type != "file" or facts.error or facts.part or facts.uid != (was.uid if was else 0):
        return ""
    if (facts.mode & SPECIAL, facts.caps) != ((was.mode & SPECIAL, was.caps) if was else (0, "")):
        return ""
    digest = md5(usedforsecurity=False)
    try:
        with opened(path, root) as fd, reading(fd) as file:
            if os.fstat(file).st_mtime_ns != facts.mtime_ns or os.fstat(file).st_ino != facts.inode:
                return ""
            while piece := os.read(file, _PIECE):
                digest.update(piece)
    except OSError:
        return ""
    return package if digest.hexdigest() == wanted else ""
