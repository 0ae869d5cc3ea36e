"""Which paths are watched, and a walk over all that is there now."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Final

from agent.integrity.facts import opened

MOST: Final = 100_000
"""Files that are watched; what is beyond is told, and not looked at."""


@dataclass(frozen=True)
class Cover:
    """What is watched: paths with all below them, without what a pattern of `skip` matches by its name or whole path."""

    paths: tuple[str, ...]
    skip: tuple[str, ...] = ()

    @cached_property
    def roots(self) -> tuple[bytes, ...]:
        """The paths, each once, without those that lie below another."""
        whole = sorted({os.path.normpath(os.fsencode(one)) for one in self.paths})
        return tuple(one for one in whole if not any(other != one and within(one, other) for other in whole))

    @cached_property
    def _skipped(self) -> re.Pattern[str] | None:
        return re.compile("|".join(translate(one) for one in self.skip)) if self.skip else None

    def root_of(self, path: bytes) -> bytes | None:
        """The watched path at or above this one; None where it is not watched."""
        root = next((one for one in self.roots if within(path, one)), None)
        if root is None or self._skipped is None:
            return root
        below = root
        for name in (b"", *path[len(root) :].split(b"/")):
            below = below + b"/" + name if name else below
            if self.skips(below):
                return None
        return root

    def skips(self, path: bytes) -> bool:
        """Whether a pattern leaves out just this path."""
        text = os.fsdecode(path)
        return bool(self._skipped and (self._skipped.match(text) or self._skipped.match(text.rpartition("/")[2])))


def within(path: bytes, root: bytes) -> bool:
    """Whether a path is another one, or lies below it."""
    return path == root or path.startswith(root.rstrip(b"/") + b"/")


@dataclass
class Walk:
    """A walk over what is there. `enter` is called with each directory before it is listed, so that whoever watches it misses
    nothing that comes after; `trouble` hears what cannot be listed. What is mounted below a path is left out: it needs a path
    of its own.
    """

    cover: Cover
    enter: Callable[[bytes], None]
    trouble: Callable[[bytes, OSError], None]

    def over(self, start: bytes) -> Iterator[bytes]:
        """Every path at or below `start` that is watched, a directory before what is in it; lazily, in no order."""
        root = self.cover.root_of(start)
        if root is None:
            return
        yield start
        waiting, device = deque([start]), None
        while waiting:
            place = waiting.popleft()
            listing = self._listing(place, root)
            if listing is None:
                continue
            try:
                device = device or os.fstat(listing).st_dev
                if os.fstat(listing).st_dev == device:
                    yield from self._inside(listing, place, waiting)
            except OSError as error:
                self.trouble(place, error)
            finally:
                os.close(listing)

    def _listing(self, place: bytes, root: bytes) -> int | None:
        try:
            with opened(place, root, os.O_DIRECTORY) as held:
                self.enter(place)
                return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
        except (NotADirectoryError, FileNotFoundError):  # a file, or gone meanwhile
            return None
        except OSError as error:
            self.trouble(place, error)
            return None

    def _inside(self, fd: int, place: bytes, waiting: deque[bytes]) -> Iterator[bytes]:
        with os.scandir(fd) as found:
            for one in found:
                path = place.rstrip(b"/") + b"/" + os.fsencode(one.name)
                if self.cover.skips(path):
                    continue
                yield path
                if one.is_dir(follow_symlinks=False):
                    waiting.append(path)
