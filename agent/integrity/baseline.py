"""The baseline: what every watched file was when somebody said that it is right, and what was told of it since. SQLite.

Each row belongs to a numbered batch, and the journal holds, as the sensor's position, the number of the last batch that it has
committed with the events of that batch. So the two can never disagree: what a crash kept from being committed there is taken
back here at the next start, and told again. What is committed there is never told twice.

One thread writes it. It is no journal: its digest stands in the evidence, so that whoever changes it is found.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from agent.integrity.facts import Facts
from agent.integrity.tree import within

FILE_NAME: Final = "baseline.db"
"""In the state directory."""
Layer = Literal["baseline", "told", "root"]
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS known (
    layer TEXT NOT NULL, path BLOB NOT NULL, batch INTEGER NOT NULL, facts TEXT,
    PRIMARY KEY (layer, path, batch)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_batch ON known (batch);
"""
_GONE: Final = "null"
_PAGE: Final = 1000
_VERSION: Final = 1


class Unknown(Enum):
    """No row says anything of a path."""

    YES = 1


class CannotUseBaseline(Exception):  # noqa: N818 - reads as the sentence it is
    """The file is no baseline, is damaged, or cannot be opened."""


class Baseline:
    """One baseline file: a path's facts as they are right (`baseline`), or as they were `told` last; None: nothing was there."""

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        """Open it; `writing` makes it where there is none.

        Raises:
            CannotUseBaseline: it cannot be read, or is something else.
        """
        self.path = path
        try:
            if writing:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=10, isolation_level=None)
            self._begin(writing=writing)
        except (OSError, sqlite3.Error) as error:
            raise CannotUseBaseline(f"cannot use the baseline {path}: {error}") from error
        there = path.stat()
        self.inode = (there.st_dev, there.st_ino)

    def _begin(self, *, writing: bool) -> None:
        if not writing:
            self._db.execute("PRAGMA query_only = 1")
            self._db.execute("SELECT 1 FROM known LIMIT 1")
            return
        self._db.execute("PRAGMA synchronous = FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"it is of version {version}, which this agent does not know")
        if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("it is damaged")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def close(self) -> None:
        """Let go of the file; what was not committed is not kept."""
        self._db.close()

    # Reading --------------------------------------------------------------------------------------------------------------

    def of(self, layer: Layer, path: bytes) -> Facts | Unknown | None:
        """What a layer has of a path."""
        row = self._db.execute(
            "SELECT facts FROM known WHERE layer = ? AND path = ? ORDER BY batch DESC LIMIT 1", (layer, path)
        ).fetchone()
        return Unknown.YES if row is None or row[0] is None else _read(row[0])

    def expected(self, path: bytes) -> Facts | None:
        """What a path was when something was told of it last; else what the baseline has."""
        for layer in ("told", "baseline"):
            if not isinstance(known := self.of(layer, path), Unknown):
                return known
        return None

    def right(self, path: bytes) -> Facts | None:
        """What the baseline has of a path; None where nothing is right to be there."""
        known = self.of("baseline", path)
        return None if isinstance(known, Unknown) else known

    def rows(self, layer: Layer, under: bytes = b"") -> Iterator[tuple[bytes, Facts | None]]:
        """All that a layer knows, or just what lies at or below a path, in order; the layer may be written meanwhile."""
        after, stem = b"", under.rstrip(b"/")
        while True:
            page = self._db.execute(
                "SELECT path, facts, max(batch) FROM known WHERE layer = ?1 AND path > ?2"
                " AND (?3 = x'' OR path = ?3 OR (path >= ?4 AND path < ?5)) GROUP BY path ORDER BY path LIMIT ?6",
                (layer, after, under, stem + b"/", stem + b"0", _PAGE),
            ).fetchall()
            yield from ((path, _read(facts)) for path, facts, _ in page if facts is not None)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def taken(self) -> dict[bytes, float]:
        """Watched paths of which the baseline is whole, and when it was taken (Unix seconds)."""
        found = self._db.execute("SELECT path, facts, max(batch) FROM known WHERE layer = 'root' GROUP BY path").fetchall()
        return {path: float(facts) for path, facts, _ in found if facts is not None}

    def digest(self) -> str:
        """SHA-256 of all that it says is right, under the paths of which it is whole."""
        made, roots = sha256(), sorted(self.taken())
        for root in roots:
            made.update(b"root " + root + b"\0")
        for path, facts in self.rows("baseline"):
            if any(within(path, root) for root in roots):
                made.update(path + b"\0" + _written(facts).encode() + b"\0")
        return made.hexdigest()

    def count(self) -> int:
        """How many paths it has."""
        return int(self._db.execute("SELECT count(DISTINCT path) FROM known WHERE layer = 'baseline'").fetchone()[0])

    def last(self) -> int:
        """The highest number of a batch."""
        return int(self._db.execute("SELECT max(batch) FROM known").fetchone()[0] or 0)

    def version(self) -> int:
        """A number that is another one after somebody else wrote to the file."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def replaced(self) -> bool:
        """Whether another file, or none, stands in its place."""
        try:
            there = self.path.stat()
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != self.inode

    # Writing --------------------------------------------------------------------------------------------------------------

    def put(self, layer: Layer, path: bytes, facts: Facts | None, batch: int) -> None:
        """Have a layer say this of a path."""
        self._write(layer, path, batch, _written(facts))

    def forget(self, layer: Layer, path: bytes, batch: int) -> None:
        """Have a layer say nothing of a path."""
        self._write(layer, path, batch, None)

    def whole(self, root: bytes, at: float, batch: int) -> None:
        """The baseline has all of a watched path."""
        self._write("root", root, batch, repr(at))

    def _write(self, layer: Layer, path: bytes, batch: int, facts: str | None) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", (layer, path, batch, facts))

    def commit(self) -> None:
        """Have what was written outlive a crash."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def back_to(self, batch: int) -> None:
        """Take back what the journal does not know of."""
        self._db.execute("DELETE FROM known WHERE batch > ?", (batch,))

    def untell(self) -> None:
        """Nothing counts as told."""
        self._db.execute("DELETE FROM known WHERE layer = 'told'")

    def settle(self, batch: int) -> None:
        """The journal has committed this batch: what it replaced is not needed any more."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "DELETE FROM known WHERE batch < ?1 AND EXISTS"
            " (SELECT 1 FROM known AS new WHERE new.batch = ?1 AND new.layer = known.layer AND new.path = known.path)"
            " AND path IN (SELECT path FROM known WHERE batch = ?1)",
            (batch,),
        )
        self._db.execute("DELETE FROM known WHERE batch = ? AND facts IS NULL", (batch,))
        self.commit()


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(path.absolute()))


def _written(facts: Facts | None) -> str:
    return _GONE if facts is None else json.dumps(facts, separators=(",", ":"))


def _read(text: str) -> Facts | None:
    try:
        plain = json.loads(text)
        return None if plain is None else Facts(*plain)
    except (ValueError, TypeError) as error:  # somebody else has written that
        raise sqlite3.DatabaseError(f"a row cannot be read: {error}") from error
