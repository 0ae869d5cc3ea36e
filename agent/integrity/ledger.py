"""The baseline in the hands of the sensor: every change of it goes out as one numbered batch, with the position behind it.

A batch's rows are committed here first, then it is delivered, then the journal commits its events and its number. A start takes
back the rows whose number the journal has not: so what is told is told exactly once, wherever a kill comes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from agent.event import Event, Value
from agent.integrity import packages
from agent.integrity.baseline import Baseline, CannotUseBaseline, Unknown
from agent.integrity.compare import Compared
from agent.integrity.facts import Difference, Facts, differences, short
from agent.integrity.kinds import REFUSED, TAKEN, TAMPERED, UPDATED
from agent.integrity.words import Changed, Who, about_baseline, changed, shown
from agent.streams.sensor import Batch, Deliver, Outlet

_NAMED: Final = 50
"""Paths that the record of an update names."""


class Ledger:
    """Belongs to the sensor's thread. `delivered` is the last position that went out; `taken` the paths with a whole baseline."""

    def __init__(self, place: Path, source: str, deliver: Deliver, position: str | None) -> None:
        """Open the baseline as of a committed position, and say so if it is not the one that the position knows.

        Raises:
            CannotUseBaseline, sqlite3.Error, OSError: it cannot be read or written now.
        """
        self.place, self.outlet, self.delivered = place, Outlet(source, deliver), position
        self._source, self._deliver = source, deliver
        self._kept: deque[int] = deque()
        known = _read(position)
        broken = self._open()
        if known:
            self.base.back_to(known["batch"])
        else:
            self.base.untell()
        self._batch: int = max(known.get("batch", 0), self.base.last())
        self.taken = set(self.base.taken())
        now = self.base.digest() if self.taken else ""
        self._digest = known["baseline"] if known else now
        self._version, self.count = self.base.version(), self.base.count()
        self._anchor()
        if not known and now:
            self._found(now)
        elif broken or self._digest != now:
            changed_by = f"the baseline {place} is not the one that this agent knows: somebody changed it while no agent ran"
            self._tampered(broken or changed_by, now)

    base: Baseline

    def _open(self) -> str:
        """Open the file; a damaged one is set aside, and a new one begun. Why that was, or nothing."""
        try:
            self.base = Baseline(self.place, writing=True)
            self.base.digest()
        except (CannotUseBaseline, sqlite3.DatabaseError) as error:
            if isinstance(error.__cause__ or error, sqlite3.OperationalError | OSError):
                raise  # locked, full, or not ours to write: nobody has said that it is damaged
            aside = self.place.with_name(f"{self.place.name}.damaged-{int(time.time())}")
            self.place.rename(aside)
            self.base = Baseline(self.place, writing=True)
            return f"{error}; it was moved to {aside}, and a new one is taken from what is there now"
        return ""

    def close(self) -> None:
        """Let go of the file."""
        self.base.close()

    # Batches ----------------------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """The number of the next batch."""
        self._batch += 1
        return self._batch

    def _anchor(self) -> None:
        self.delivered = self._position()
        self.outlet.anchor(self.delivered)

    def _position(self) -> str:
        return json.dumps({"batch": self._batch, "baseline": self._digest})

    def _send(self, events: Sequence[Event], number: int) -> None:
        self.delivered, kept = self._position(), self._kept
        settled: Callable[[bool], None] = lambda safe: kept.append(number) if safe else None  # noqa: E731
        self._deliver(Batch(self._source, tuple(events), self.delivered, 0, time.time(), settled))
        self.outlet.send([], self.delivered)

    def settle(self) -> None:
        """Forget what batches replaced that the journal has by now."""
        while self._kept:
            self.base.settle(self._kept.popleft())

    # What is told ---------------------------------------------------------------------------------------------------------

    def put_right(self, path: bytes, now: Facts, root: bytes, number: int) -> bool:
        """Have a path be right as it is, where the baseline of its root is still being taken and does not have it yet."""
        if root in self.taken or self.base.of("baseline", path) is not Unknown.YES:
            return False
        self.base.put("baseline", path, now, number)
        return True

    def take(self, root: bytes) -> None:
        """All of a watched path is in the baseline."""
        number = self.number()
        self.base.whole(root, time.time(), number)
        self.base.commit()
        self.taken.add(root)
        before, self._digest, self.count = self._digest, self.base.digest(), self.base.count()
        count = sum(1 for _ in self.base.rows("baseline", root))
        say = f"the baseline of {shown(root)} was taken: {count} files"
        told = {"count": count, "paths": shown(root), "before": before, "after": self._digest}
        self._send([about_baseline(self._source, TAKEN, say, **told)], number)

    def changed(self, path: bytes, root: bytes, now: Facts | None, who: Who) -> Changed | None:
        """In what ways a path is not what was known of it; None where it is, or where nobody has said yet what is right."""
        if now and self.put_right(path, now, root, self._batch):
            return None
        old = self.base.expected(path)
        if now and now.error and old and now.size == old.size:  # what cannot be read is not known to be another content
            now = now._replace(sha256=old.sha256, part=old.part, error="")
        differ = differences(old, now)
        if differ and now and self.base.of("told", path) is not Unknown.YES and not differences(self.base.right(path), now):
            differ = [Difference("restored", short(old), short(now))]
        return Changed(path, root, old, now, differ, who) if differ else None

    def tell(self, found: Sequence[Changed]) -> None:
        """One event for each way in which a path changed."""
        wanted = [one.path for one in found if one.differences[0].what in ("created", "changed")]
        known, number = packages.shipped(wanted) if wanted else {}, self.number()
        events = list[Event]()
        for one in found:
            if differences(self.base.right(one.path), one.now):
                self.base.put("told", one.path, one.now, number)
            else:
                self.base.forget("told", one.path, number)
            by = known.get(one.path)
            package = packages.explains(one.path, one.root, one.now, one.old, by) if by and one.now else ""
            events += [changed(self._source, one, each, package) for each in one.differences]
        self.base.commit()
        self._send(events, number)

    # The baseline itself --------------------------------------------------------------------------------------------------

    def guarded(self) -> bool:
        """Whether it is as this thread left it; what somebody else did to it is told."""
        if self.base.replaced():
            self.base.close()
            broken = self._open()
            self.taken, self.count = set(self.base.taken()), self.base.count()
            self._tampered(broken or f"the baseline {self.place} was replaced or removed while the agent ran", self.base.digest())
            return False
        version = self.base.version()
        if version == self._version:
            return True
        self._version, self.taken = version, set(self.base.taken())
        if (now := self.base.digest()) == self._digest:
            return True
        self._tampered(f"somebody wrote into the baseline {self.place} while the agent ran", now)
        return False

    def _tampered(self, say: str, now: str) -> None:
        before, self._digest = self._digest, now if self.taken else ""
        self._batch = max(self._batch, self.base.last())
        told = {"paths": str(self.place), "before": before, "after": self._digest}
        self._send([about_baseline(self._source, TAMPERED, say, **told)], self.number())

    def _found(self, now: str) -> None:
        """There is a baseline of which the journal knows nothing: the agent died at its first start, or the journal was lost.

        What differs from it is told once more.
        """
        say = f"a baseline of {self.count} files was there, of which the evidence knew nothing; it counts from now on"
        told: dict[str, Value] = {"count": self.count, "paths": str(self.place), "before": "", "after": now}
        self._send([about_baseline(self._source, TAKEN, say, **told)], self.number())

    def refuse(self, say: str, **asked: Any) -> None:
        """Tell a person why the baseline stays as it is."""
        self._send([about_baseline(self._source, REFUSED, say, **asked)], self._batch)

    def accept(self, found: Compared, **asked: Any) -> None:
        """A person says that what is there is right."""
        number = self.number()
        for one in found.rows:
            if one.now is None:
                self.base.forget("baseline", one.path, number)
            else:
                self.base.put("baseline", one.path, one.now, number)
            self.base.forget("told", one.path, number)
        self.base.commit()
        before, self._digest, self.count = self._digest, self.base.digest(), self.base.count()
        more = f" and {len(found.rows) - _NAMED} more" if len(found.rows) > _NAMED else ""
        paths = ", ".join(shown(one.path) for one in found.rows[:_NAMED]) + more
        say = f"{len(found.rows)} files are right as they are: {paths}"
        told = {"count": len(found.rows), "paths": paths, "before": before, "after": self._digest}
        self._send([about_baseline(self._source, UPDATED, say, **told, **asked)], number)


def _read(position: str | None) -> dict[str, Any]:
    """The last committed position; nothing where there is none, or another one's."""
    try:
        plain = json.loads(position or "{}")
        return {"batch": int(plain["batch"]), "baseline": str(plain["baseline"])} if plain else {}
    except (ValueError, TypeError, KeyError):
        return {}
