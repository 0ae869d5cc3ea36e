"""Follows one log file through every rotation, and loses or repeats no line of it.

A file is known by its inode and its first bytes, never by its name alone:

    renamed          the old file is read to its end, and for a minute longer, since writers reopen late
    copytruncate     shrunk, or begins differently: what was unread is looked for in the copy beside it
    while away       files that were rotated meanwhile are found by inode or first bytes, and read in the order of their times

`read` hands over whole lines; `position` says, as JSON, where to go on after everything that was handed over.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Final

from agent.streams.join import Join
from agent.streams.tail import TURN, Opened, Place, digest_of

_LOOK_AGAIN: Final = 1.0
_ROTATING: Final = 5.0
_LINGER: Final = 60.0
_MOST_FILES: Final = 16
_FIELDS: Final = tuple(one.name for one in fields(Place))
_TRIES: Final = 8
"""Looks at a directory in which logrotate is just renaming file after file."""


class Follower:
    """Reads one path and whatever it was rotated into, in lines, or in records of a join. The newest file is the last."""

    def __init__(self, path: Path, join: Join | None = None) -> None:
        self._path, self._join = path, join
        self._files: list[Opened] = []
        self._retired: list[Place] = []
        self._missing_since: float | None = None
        self._looked, self._held_since = 0.0, time.monotonic()

    def start(self, position: str | None, *, from_start: bool) -> str:
        """Find what the position speaks of, or begin. The sentence says what cannot be found any more; usually it is empty.

        Raises:
            OSError: the path cannot be read; starting may be tried again.
        """
        self.close()
        if position is None:
            self._look()
            if self._files and not from_start:
                self._files[-1].skip_to_end()
            return ""
        places = [Place(**one) for one in json.loads(position)["files"]]
        found = [place for place in places if self._find_again(place)]
        self._look(places[-1] if places else None)
        if places[-1:] == found[-1:]:
            return ""
        return f"cannot find the rest of what {self._path} was when the agent stopped: it was compressed or removed"

    @property
    def position(self) -> str:
        """Where to go on, as JSON; `files` is empty while there is none, so that one that appears is read whole."""
        places = (*self._retired, *(one.place() for one in self._files))
        return json.dumps({"files": [{name: getattr(place, name) for name in _FIELDS} for place in places]})

    def read(self) -> bytes:
        """The next whole lines of all files, oldest first; empty where nothing waits.

        Raises:
            OSError: the path cannot be read.
        """
        if time.monotonic() - self._looked >= _LOOK_AGAIN:  # also while an old file is still being written all the time
            self._look()
        found: list[bytes] = []
        try:
            changed = self._read_into(found)
        except OSError:
            if not found:
                raise
            changed = False  # what was found counts as read already; the error comes again next time
        if found or changed:
            return b"".join(found) or self.read()
        self._retire()
        self._look()
        return b""

    def _read_into(self, found: list[bytes]) -> bool:
        """One turn over the files; True if rotation changed which they are, so that it is worth another."""
        for one in tuple(self._files):
            if not one.head and one.size():  # never seen until now: older content may have been rotated away unseen
                self._get_to_know(one)
                return True
            waits = self._held(one) or (bool(found) and len(found[-1]) > TURN // 2)  # the file before has more, and that is older
            lines = None if waits and one.changed() else b"" if waits else one.read()
            if lines is None:
                self._truncated(one)
                return True
            if lines:
                found.append(lines)
        return False

    def before(self, size: int) -> bytes:
        """The last bytes that were handed over, as far as the files still hold them: for those who look at lines together."""
        found = b""
        for one in reversed(self._files):
            begin = max(0, one.offset - size + len(found))
            found = os.pread(one.fd, one.offset - begin, begin) + found
        return found

    def _held(self, one: Opened) -> bool:
        """Whether a file before it holds a record that is not whole yet, which is older; for 5 s in a row at most."""
        now = time.monotonic()
        before = self._files[: self._files.index(one)]
        if not self._join or not any(other.size() > other.offset for other in before):
            if one is self._files[-1]:
                self._held_since = now
            return False
        return now - self._held_since < _ROTATING

    def lag(self) -> int:
        """Bytes that wait to be read."""
        return sum(max(0, one.size() - one.offset) for one in self._files)

    def missing(self) -> bool:
        """True while there is nothing at the path; for less than 5 s that is a rotation going on."""
        since = self._missing_since
        return since is not None and (not self._files or time.monotonic() - since >= _ROTATING)

    def close(self) -> None:
        """Close every file."""
        for one in self._files:
            os.close(one.fd)
        self._files = []

    # Rotation ---------------------------------------------------------------------------------------------------------

    def _look(self, after: Place | None = None) -> None:
        """Open what stands at the path now, if it is not the file being read, and what came and went since `after`."""
        self._looked = time.monotonic()
        opened = self._opened()
        last = after or (self._files[-1].place() if self._files and opened else None)
        if last:
            self._files += self._between(last, opened)
        self._files += [opened] if opened else []

    def _opened(self) -> Opened | None:
        """The file at the path, if it is not being read. Its first bytes are known from here on: no truncate is missed."""
        try:
            state = self._path.stat()
            opened = None if self._knows(state.st_dev, state.st_ino) else Opened.at(self._path, self._join)
        except FileNotFoundError:
            self._missing_since = self._missing_since or time.monotonic()
            return None
        self._missing_since = None
        if opened and self._knows(opened.dev, opened.ino):  # renamed since it was asked for
            os.close(opened.fd)
            return None
        if opened:
            opened.look()
        return opened

    def _truncated(self, one: Opened) -> None:
        """Begin the file anew, after the unread end that logrotate's copytruncate saved in a copy."""
        place = one.place()
        one.look()
        copy = self._find(place)
        self._insert_before(one, [*([copy] if copy else []), *self._between(place)])
        one.offset, one.cut, one.inside = 0, False, False

    def _insert_before(self, one: Opened, older: list[Opened]) -> None:
        at = self._files.index(one)
        self._files[at:at] = older

    def _get_to_know(self, one: Opened) -> None:
        """A file that was empty until now: older content of it may have been rotated away unseen; or it is a copy being made."""
        place = one.place()
        one.look()
        others = [other for other in self._files if other is not one]
        if one is not self._files[-1] and any(one.copies(other) for other in others):
            os.close(one.fd)
            self._files = others
        else:
            self._insert_before(one, self._between(place))

    def _retire(self) -> None:
        """Close rotated files that have been quiet for a minute."""
        now = time.monotonic()
        for one in self._files[:-1]:
            if now - one.grown > _LINGER or len(self._files) > _MOST_FILES:
                self._retired = [*self._retired, one.place()][-_MOST_FILES:]
                os.close(one.fd)
                self._files.remove(one)

    # Looking for a file under another name -------------------------------------------------------------------------------

    def _find_again(self, place: Place) -> bool:
        found = self._find(place)
        if found is not None:
            self._files.append(found)
        return found is not None

    def _find(self, place: Place) -> Opened | None:
        """The file that was left at this place, or its copy, opened there."""
        candidates = self._unread(with_path=True)
        fitting = [one for one in candidates if place.fits(one)]
        same = [one for one in fitting if one.ino == place.ino]  # the device's number can change with a reboot
        copies = [one for one in fitting if place.head]
        chosen = next(iter(same + copies), None)
        for one in candidates:
            if one is not chosen:
                os.close(one.fd)
        if chosen:
            chosen.go_on(place)
        return chosen

    def _between(self, place: Place, newest: Opened | None = None) -> list[Opened]:
        """Rotated files that were written after the one we know, oldest first: they came and went while nobody looked.

        A copy whose original is not truncated yet is none of them: it is looked for once that happens. `newest` is what stands
        at the path, where that is not being read yet.
        """
        found = []
        others = [*self._files, *([newest] if newest else [])]
        for one in self._unread(with_path=False):
            read_before = any(past.ino == one.ino and past.fits(one) for past in self._retired)
            copy_of_it = place.head > 0 and digest_of(one.first(place.head)) == place.digest
            known = newest is not None and (one.dev, one.ino) == (newest.dev, newest.ino)
            if one.mtime < place.mtime or read_before or copy_of_it or known or any(one.copies(other) for other in others):
                os.close(one.fd)
            else:
                one.look()
                found.append(one)
        return sorted(found, key=lambda one: one.mtime)

    def _unread(self, *, with_path: bool) -> list[Opened]:
        """The rotated files that can be read and are not being read, newest first; each once, though renamed meanwhile."""
        for left in range(_TRIES, 0, -1):
            found: dict[tuple[int, int], Opened] = {}
            listed = self._listed(with_path=with_path)
            for path in listed:
                with suppress(OSError):  # gone, compressed or not ours since the directory was listed
                    one = Opened.at(path, self._join)
                    if (one.dev, one.ino) in found or self._knows(one.dev, one.ino):
                        os.close(one.fd)
                    else:
                        found[one.dev, one.ino] = one
            if left == 1 or self._listed(with_path=with_path).items() == listed.items():
                break
            for one in found.values():
                os.close(one.fd)
        return list(found.values())

    def _listed(self, *, with_path: bool) -> dict[Path, tuple[int, int]]:
        """Which file each name means at the moment."""
        found = {}
        for path in [*([self._path] if with_path else []), *self._siblings()]:
            with suppress(OSError):
                state = path.stat()
                found[path] = state.st_dev, state.st_ino
        return found

    def _knows(self, dev: int, ino: int) -> bool:
        return any((one.dev, one.ino) == (dev, ino) for one in self._files)

    def _siblings(self) -> list[Path]:
        """What logrotate may have made of the path, newest first: app.log.1, app.log-20261123, app-20261123.log, app.1.log."""
        stem, suffix = re.escape(self._path.stem), re.escape(self._path.suffix)
        rotated = re.compile(rf"(?:{stem}{suffix}[.-]\d[\d.:TZ_-]*|{stem}[.-]\d[\d.:TZ_-]*{suffix})")
        try:
            found = [(one.stat().st_mtime, one) for one in self._path.parent.iterdir() if rotated.fullmatch(one.name)]
        except OSError:
            return []
        return [one for _, one in sorted(found, reverse=True)[:_MOST_FILES]]
