"""One run of the files sensor: hear of a path, look at it, hold it against the baseline, tell it once; now and then, look at all.

Everything happens in the sensor's one thread, in short turns, so that a whole look at slow disks holds up no live change and no
person's update.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

import psutil

from agent.integrity import packages
from agent.integrity.compare import compare
from agent.integrity.facts import Facts, Stopped, differences, look, opened
from agent.integrity.ledger import Ledger
from agent.integrity.tree import MOST, Cover, Walk
from agent.integrity.watcher import Heard, Watcher
from agent.integrity.words import Who, shown, who

COALESCE: Final = 2.0
"""Seconds from the first word of a change to the look at it."""
CALM: Final = 60.0
"""Seconds between two looks at a path that changes again and again: 2, 4, 8 … up to this."""
HOLD: Final = 60.0
"""Seconds that a change is held back at most while dpkg is at work, whose lists do not have its files yet."""
POLL: Final = 60.0
"""Seconds between two looks at everything where not all of it can be watched live."""
AGAIN: Final = 2.0
"""Seconds between two looks whether watched paths, and the baseline's file, are there and the same."""
TURN: Final = 0.5
"""Seconds that a turn waits for something to happen."""
SLICE: Final = 0.2
"""Seconds of a whole look in one turn."""
RATE: Final = 50 << 20
"""Bytes a second that a whole look reads at most, with idle I/O priority."""
MOST_PENDING: Final = 5_000
"""Paths that wait to be looked at; with more, everything is looked at instead."""
AT_ONCE: Final = 500
"""Paths that are told in one batch."""
_PIECE: Final = 1 << 20
_NOBODY: Final = Who()
_LAYERS: Final[tuple[Literal["baseline", "told"], ...]] = ("baseline", "told")


@dataclass
class Pending:
    """A path to be looked at. Times are monotonic seconds."""

    first: float
    due: float
    who: Who = _NOBODY


class Pace(NamedTuple):
    """Seconds between two looks at everything, and from the first word of a change to the look at it; files of one look."""

    every: float
    coalesce: float = COALESCE
    most: int = MOST


class Looking:
    """One run. `inbox` brings people's updates (`Asked`)."""

    def __init__(
        self, cover: Cover, pace: Pace, ledger: Ledger, ears: Watcher, inbox: queue.SimpleQueue[Any], stop: threading.Event
    ) -> None:
        """Nothing is looked at yet."""
        self._cover, self._pace, self._ledger, self._ears, self._inbox, self._stop = cover, pace, ledger, ears, inbox, stop
        self._pending: dict[bytes, Pending] = {}
        self._calm: dict[bytes, tuple[float, float]] = {}
        self._scans: deque[Iterator[None]] = deque()
        self._unread: dict[bytes, str] = {}
        self._blind: set[bytes] = set()
        self._deaf: dict[bytes, str] = {}
        self._full = self._whole = False
        self._next_whole = self._next_again = self._rest = 0.0
        self._read = self._seen = 0
        self._process = psutil.Process(threading.get_native_id())

    def run(self) -> None:
        """Look until stopped.

        Raises:
            CannotUseBaseline, sqlite3.Error, OSError: the baseline cannot be read or written; whoever runs this tries again.
        """
        with contextlib.suppress(Stopped):
            while not self._stop.is_set():
                self._turn()

    def _turn(self) -> None:
        self._hear(self._ears.wait(self._patience()))
        self._ledger.settle()
        self._orders()
        self._tell_due()
        self._again()
        self._scan_on()
        self._say()
        self._ledger.outlet.send([])

    def _patience(self) -> float:
        """Seconds until something is due even if nothing happens."""
        now = time.monotonic()
        if len(self._pending) >= AT_ONCE:
            return 0.0
        times = [now + TURN, *(one.due for one in self._pending.values()), *([self._rest] if self._scans else [])]
        return max(0.0, min(times) - now)

    # Hearing --------------------------------------------------------------------------------------------------------------

    def _hear(self, heard: Heard) -> None:
        now, whom = time.monotonic(), dict[int, Who]()
        for one in heard.touched:
            if self._cover.root_of(one.path) is None:
                continue
            if one.pid not in whom:
                whom[one.pid] = who(one.pid)
            self._suspect(one.path, now + self._pace.coalesce, whom[one.pid])
            if one.tree:
                self._scans.append(self._scan(one.path, self._pace.coalesce))
        if heard.lost or max(len(self._pending), len(self._scans)) > MOST_PENDING:
            self._look_at_all()

    def _suspect(self, path: bytes, due: float, by: Who = _NOBODY) -> None:
        """Have a path looked at; whoever is known to have touched it is remembered, the last one of several."""
        now = time.monotonic()
        one = self._pending.setdefault(path, Pending(now, max(due, self._calm.get(path, (0.0, 0.0))[0])))
        if by.exe or (by.pid and not one.who.exe):
            one.who = by

    def _again(self) -> None:
        """What comes round: everything; watched paths that were not there; whether the baseline's file is still ours alone."""
        now = time.monotonic()
        if now >= self._next_whole or (self._deaf and self._next_whole - now > POLL):
            self._look_at_all()
        if now < self._next_again:
            return
        self._next_again = now + AGAIN
        for root in self._cover.roots:
            self._listen(root.rpartition(b"/")[0] or b"/")
            if os.path.lexists(root) != (self._ledger.base.expected(root) is not None) and root in self._ledger.taken:
                self._scans.append(self._scan(root))
        if not self._ledger.guarded():
            self._look_at_all()

    def _listen(self, directory: bytes) -> None:
        try:
            self._ears.add(directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            if len(self._deaf) < MOST_PENDING:
                self._deaf[directory] = error.strerror or str(error)
            return
        self._deaf.pop(directory, None)

    # Looking --------------------------------------------------------------------------------------------------------------

    def _look_at_all(self) -> None:
        """Begin to look at everything."""
        self._scans.clear()
        self._pending = dict(islice(self._pending.items(), MOST_PENDING // 2))
        self._unread.clear()
        self._blind.clear()
        self._full, self._seen = False, 0
        self._scans.extend(self._scan(root, whole=True) for root in self._cover.roots)
        self._scans.append(self._over())
        self._next_whole = time.monotonic() + (min(self._pace.every, POLL) if self._deaf else self._pace.every)

    def _over(self) -> Iterator[None]:
        self._whole = True
        yield

    def _scan_on(self) -> None:
        """Go on with what is being looked at, for a moment; then the disk rests as long as it takes to stay below the rate."""
        if time.monotonic() < self._rest or len(self._pending) >= MOST_PENDING:
            return
        begun, self._read, over = time.monotonic(), 0, object()
        with self._idly():
            while self._scans and time.monotonic() - begun < SLICE and self._read < RATE * SLICE:
                if next(self._scans[0], over) is over:
                    self._scans.popleft()
        took = time.monotonic() - begun
        self._rest = begun + took + max(took / 2, self._read / RATE - took)

    @contextlib.contextmanager
    def _idly(self) -> Iterator[None]:
        if not self._scans:
            yield
            return
        with contextlib.suppress(psutil.Error, OSError):
            self._process.ionice(psutil.IOPRIO_CLASS_IDLE)
        try:
            yield
        finally:
            with contextlib.suppress(psutil.Error, OSError):
                self._process.ionice(psutil.IOPRIO_CLASS_NONE)

    def _scan(self, start: bytes, wait: float = 0.0, *, whole: bool = False) -> Iterator[None]:
        """Look at all that is at or below a path, then for what should be there; the first time it becomes the baseline.

        What differs is looked at once more `wait` seconds later, when it is known who did it.
        """
        root = self._cover.root_of(start)
        if root is None:
            return
        number, walked = self._ledger.number(), set[bytes]()
        walk = Walk(self._cover, self._listen, self._cannot).over(start)
        for count, path in enumerate(walk, self._seen + 1 if whole else 1):  # looks at parts must not use up the room for all
            self._seen = count if whole else self._seen
            if count > self._pace.most:
                self._full = True
                break
            walked.add(path)
            if self._differs(path, root, number):
                self._suspect(path, time.monotonic() + wait)
            yield
        for layer in _LAYERS:
            for path, facts in self._ledger.base.rows(layer, start):
                if facts and path not in walked and self._cover.root_of(path) and self._missed(path, root, number):
                    self._suspect(path, time.monotonic() + wait)
                yield
        if start == root and root not in self._ledger.taken:
            self._ledger.take(root)

    def _differs(self, path: bytes, root: bytes, number: int) -> bool:
        known, now = self._look(path, root, self._breathe)
        if not known or (now and self._ledger.put_right(path, now, root, number)):
            return False
        return bool(differences(self._ledger.base.expected(path), now))

    def _missed(self, path: bytes, root: bytes, number: int) -> bool:
        """Whether what is known has gone; where the walk did not come to all, whether it is another one, and it is watched."""
        if not self._full:
            return not self._there(path, root)
        self._listen(path.rpartition(b"/")[0] or b"/")
        return self._differs(path, root, number)

    def _look(self, path: bytes, root: bytes, breathe: Any) -> tuple[bool, Facts | None]:
        """Whether that can be known, and what a path is now."""
        try:
            now = look(path, root, breathe)
        except OSError as error:
            self._cannot(path, error)
            return False, None
        if now and now.error:  # its mode, owner and size are watched all the same
            self._note_unread(path, now.error)
        elif now:
            self._unread.pop(path, None)
        return True, now

    def _there(self, path: bytes, root: bytes) -> bool:
        try:
            with opened(path, root):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            return error.errno != errno.ELOOP

    def _breathe(self) -> None:
        self._live()
        self._read += _PIECE

    def _live(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _cannot(self, path: bytes, error: OSError) -> None:
        if path in self._cover.roots:
            self._blind.add(path)
        self._note_unread(path, error.strerror or str(error))

    def _note_unread(self, path: bytes, why: str) -> None:
        if len(self._unread) < MOST_PENDING:
            self._unread[path] = why

    # Telling --------------------------------------------------------------------------------------------------------------

    def _tell_due(self) -> None:
        now = time.monotonic()
        ready = list(islice((path for path, one in self._pending.items() if one.due <= now), AT_ONCE))
        if ready and packages.at_work():
            for one in map(self._pending.__getitem__, ready):
                one.due = max(one.due, min(now + COALESCE, one.first + HOLD))
            ready = [path for path in ready if self._pending[path].due <= now]
        found = []
        for path in ready:
            one, root = self._pending.pop(path), self._cover.root_of(path) or path
            known, facts = self._look(path, root, self._live)
            if known and (changed := self._ledger.changed(path, root, facts, one.who)):
                found.append(changed)
                self._soothe(path, now)
        if found:
            self._ledger.tell(found)

    def _soothe(self, path: bytes, now: float) -> None:
        """A path that changes again and again is looked at less and less often."""
        until, wait = self._calm.get(path, (0.0, 0.0))
        soon = self._pace.coalesce
        wait = min(CALM, 2 * wait) if wait and now - until < 2 * wait + soon else soon
        if len(self._calm) >= MOST_PENDING:
            self._calm.clear()
        self._calm[path] = (now + wait, wait)

    def _orders(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._update(self._inbox.get_nowait())

    def _update(self, asked: Any) -> None:
        """A person says that what is there is right: what they were shown, and nothing that changed since."""
        body, who_asks = asked.body, {"actor": asked.actor, "ticket": asked.ticket, "why": asked.body["why"]}
        try:
            found = compare(self._ledger.base, self._cover, body.get("paths", ()), self._live)
        except ValueError as error:
            self._ledger.refuse(f"cannot update the baseline: {error}", **who_asks)
            return
        if found.digest != body["shown"]:
            say = "what is there is not what was shown: it changed meanwhile, or you may not read all that the agent reads"
            self._ledger.refuse(f"{say}; look again: contain baseline diff", **who_asks)
            return
        self._ledger.accept(found, **who_asks)

    def _say(self) -> None:
        blind = next((root for root in self._cover.roots if root in self._blind), None)
        if blind is not None:
            hint = "let the agent run as root, or give it CAP_DAC_READ_SEARCH"
            self._ledger.outlet.tell(ok=False, say=f"cannot look at {shown(blind)}: {self._unread.get(blind, '')}; {hint}")
            return
        how = f"by {self._ears.how}"
        if self._deaf:
            place, why = next(iter(self._deaf.items()))
            how = f"{how}, and all of them again every minute, for {shown(place)} cannot be watched: {why}"
        say = [f"watches {self._ledger.count} files {how}"]
        if self._unread:
            path, why = next(iter(self._unread.items()))
            say.append(f"{len(self._unread)} cannot be read, as {shown(path)}: {why}")
        if self._full:
            say.append(f"there are more than {self._pace.most:,} files, and new ones beyond that are not seen: watch fewer paths")
        if not self._whole:
            say.append("the first look at all of them goes on")
        self._ledger.outlet.tell(ok=True, say="; ".join(say))
