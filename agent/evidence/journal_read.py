"""Read the journal: its records with their proof, its checkpoints, its events, also while the agent writes."""

from __future__ import annotations

import hmac
import logging
import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import from_json

from agent.event import Event
from agent.evidence.journal_file import (
    CannotUseJournal,
    CorruptJournal,
    NewerJournal,
    Unwritable,
    layout_of,
    open_to_read,
    telling,
)
from agent.evidence.leaf import nanoseconds, read_events, read_record
from agent.evidence.lift import SNAPSHOT as VERSION
from agent.evidence.lift import TooNew, lift_snapshot
from agent.evidence.merkle import Verdict, chain_hash, genesis, leaf_hash, verify
from agent.record import Stored

if TYPE_CHECKING:
    from agent.evidence.keys import Key

# A flipped bit can turn a stored value into one of another type, or null. These bring every value here as what it should be,
# so that hashes and signatures find the damage.
RECORD: Final = "select seq, ifnull(cast(leaf as blob), x''), ifnull(cast(chain as blob), x'') from record"
CHECKPOINT: Final = """select ifnull(cast(size as integer), 0), ifnull(cast(ts as real), 0.0), ifnull(cast(note as text), ''),
    ifnull(cast(peaks as blob), x'') from checkpoint"""
SNAPSHOT: Final = """select ifnull(cast(size as integer), 0), ifnull(cast(chain as blob), x''), ifnull(cast(plain as blob), x''),
    ifnull(cast(seal as blob), x''), ifnull(cast({version} as integer), 1) from snapshot"""
POSITION: Final = "select ifnull(cast(source as text), ''), ifnull(cast(value as text), '') from position"
EVENTS: Final = "select ifnull(cast(body as blob), x'') from events"
EVENTS_ON: Final = """select id, ifnull(cast(body as blob), x'') from events
    where id > ? and last >= ? and first <= ? order by id limit 100"""
OF_KINDS: Final = f"""{RECORD} where seq > ? and instr(?, ' ' || json_extract(cast(leaf as text), '$.kind') || ' ')
    and json_extract(cast(leaf as text), '$.ts') between ? and ? order by seq limit 500"""
EVENTS_SIZES: Final = "select id, ifnull(cast(last as real), 0.0), ifnull(length(cast(body as blob)), 0) from events"

_NOT_ALL: Final = """select seq from record where instr(leaf, ?) or instr(leaf, ?)
    or (instr(leaf, ?) and json_extract(cast(leaf as text), '$.body.left_out') > 0) limit 1"""

_log = logging.getLogger(__name__)


class SavedCheckpoint(NamedTuple):
    """A signed checkpoint: how many records it covers, when it was made (Unix seconds), the note."""

    size: int
    ts: float
    note: str


def read_only(path: Path) -> Reader:
    """Open a journal to look, whether or not an agent is writing it.

    Raises:
        CannotUseJournal: there is none, or it cannot be read; CorruptJournal: it is none of ours.
    """
    return Reader(path, open_to_read(path))


def replay(path: Path, db: sqlite3.Connection, key: Key | None, head: tuple[int, str]) -> tuple[Any | None, Iterator[Stored]]:
    """The snapshot that this key has sealed, as plain JSON, and the records after it.

    `head` says how many there are, and what the log is called.
    """
    size, name = head
    row = _snapshot_of(path, db)
    sealed = row and key and row[0] <= size and hmac.compare_digest(row[3], seal(key, *row[:3], row[4]))
    if row and sealed and (row[4] == VERSION or not _alone(path, db)):
        return _lifted(path, row), follow(path, db, row[0], row[1])
    if row and not sealed:  # mostly it only saves time: the records alone say the same
        _log.warning("the snapshot in %s is not what was written; replaying every record instead", path)
    return None, follow(path, db, 0, genesis(name))


def seal(key: Key, size: int, chain: bytes, plain: bytes, version: int = VERSION) -> bytes:
    """What shows that a snapshot is the one this key's owner wrote; that of the first version does not name it."""
    sealed = b"%d %b %b" % (size, chain, plain)
    return hmac.digest(key.derive("snapshot"), sealed if version == 1 else b"v%d %b" % (version, sealed), "sha256")


def _snapshot_of(path: Path, db: sqlite3.Connection) -> tuple[int, bytes, bytes, bytes, int] | None:
    """The size, chain, text, seal and version of the snapshot; that of a newer layout is none where it cannot be read."""
    found: tuple[int, bytes, bytes, bytes, int] | None = None
    try:
        with telling(path):
            found = db.execute(SNAPSHOT.format(version="1" if layout_of(db) == 1 else "version")).fetchone()
    except (CorruptJournal, Unwritable):
        raise
    except CannotUseJournal:
        if not _alone(path, db):
            raise
    return found


def _alone(path: Path, db: sqlite3.Connection) -> bool:
    """Whether the records alone say all that was known. Else the snapshot holds what a journal before this one said, or what
    could not be written, and nothing else does; asked only where an agent of another version took the snapshot."""
    with telling(path):
        lost = db.execute(_NOT_ALL, (b'"kind":"journal_lost"', b'"kind":"key_changed"', b'"kind":"evidence_gap"')).fetchone()
    return lost is None


def _lifted(path: Path, row: tuple[int, bytes, bytes, bytes, int]) -> Any:
    try:
        return lift_snapshot(from_json(row[2]), row[4])
    except TooNew as error:
        raise NewerJournal(path, f"what it knows from before its first record cannot be read: {error}", what="read") from error


def follow(path: Path, db: sqlite3.Connection, start: int, chain: bytes) -> Iterator[Stored]:
    """The records from number `start` on, each held against the chain, whose value before them is given.

    Raises:
        CorruptJournal: a record was changed, or one is missing.
    """
    with telling(path):
        for expected, (seq, leaf, kept) in enumerate(db.execute(f"{RECORD} where seq >= ? order by seq", (start,)), start):
            if seq != expected:
                raise CorruptJournal(path, f"records {expected} to {seq - 1} are missing", expected)
            chain = chain_hash(chain, leaf_hash(leaf))
            if chain != kept:
                raise CorruptJournal(path, "the hash chain breaks: this record, or its place, was changed", seq)
            yield _stored(path, seq, leaf, kept)


def chain_at(path: Path, db: sqlite3.Connection, seq: int) -> bytes:
    """The chain's value after a record.

    Raises:
        CorruptJournal: there is no such record.
    """
    with telling(path):
        row = db.execute(f"{RECORD} where seq = ?", (seq,)).fetchone()
    if row is None:
        raise CorruptJournal(path, "it is missing, and a checkpoint was signed for it", seq)
    return bytes(row[2])


def find_events(path: Path, db: sqlite3.Connection, since: float, until: float, limit: int, *, newest_first: bool) -> list[Event]:
    """At most `limit` events seen from `since` to `until` (Unix seconds), in the order they were stored, or the reverse."""
    order = "desc" if newest_first else "asc"
    query = f"{EVENTS} where last >= ? and first <= ? order by id {order}"
    found: list[Event] = []
    with telling(path):
        for (body,) in db.execute(query, (since, until)):
            try:
                batch = read_events(body)
            except ValueError as error:
                raise CorruptJournal(path, f"stored events are not readable: {error}") from None
            found += [event for event in (reversed(batch) if newest_first else batch) if since <= event.seen <= until]
            if len(found) >= limit:
                break
    return found[:limit]


def _stored(path: Path, seq: int, leaf: bytes, chain: bytes) -> Stored:
    try:
        return read_record(seq, leaf, chain)
    except TooNew as error:
        raise NewerJournal(path, f"record {seq}: {error}", what="read") from None
    except ValueError as error:
        raise CorruptJournal(path, f"it is not readable: {error}", seq) from None


class Reader:
    """A journal opened to look. Usable in the thread that opened it; close it, or use `with`."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path, self._db = path, db

    @property
    def size(self) -> int:
        """How many records there are."""
        with telling(self._path):
            (last,) = self._db.execute("select max(seq) from record").fetchone()
        return 0 if last is None else int(last) + 1

    def records(self, after_seq: int = -1, limit: int = 1000, *, incident: str = "", mitigation: str = "") -> list[Stored]:
        """At most `limit` records after the given one, oldest first; of one incident or mitigation where it is named."""
        wanted: dict[str, Any] = {"seq": after_seq}
        query = f"{RECORD} where seq > :seq"
        if incident:
            query, wanted["incident"] = f"{query} and incident = :incident and incident <> ''", incident
        if mitigation:
            query, wanted["mitigation"] = f"{query} and mitigation = :mitigation and mitigation <> ''", mitigation
        with telling(self._path):
            rows = self._db.execute(f"{query} order by seq limit {int(limit)}", wanted).fetchall()
        return [_stored(self._path, *row) for row in rows]

    def record(self, seq: int) -> Stored | None:
        """One record, or None where there is no such number."""
        found = self.records(seq - 1, 1)
        return found[0] if found and found[0].seq == seq else None

    def leaves(self) -> Iterator[bytes]:
        """The exact bytes of every record, in order."""
        with telling(self._path):
            for _, leaf, _ in self._db.execute(f"{RECORD} order by seq"):
                yield leaf

    def checkpoints(self) -> list[SavedCheckpoint]:
        """Every checkpoint that was signed here, oldest first."""
        with telling(self._path):
            return [SavedCheckpoint(*row[:3]) for row in self._db.execute(f"{CHECKPOINT} order by id")]

    def events(
        self, *, since: float = 0.0, until: float = math.inf, limit: int = 1000, newest_first: bool = False
    ) -> list[Event]:
        """Stored events; see find_events."""
        return find_events(self._path, self._db, since, until, limit, newest_first=newest_first)

    def all_events(self, since: float, until: float) -> Iterator[Event]:
        """Every event stored from `since` to `until` (Unix seconds), in the order they were stored, a few commits at a time.

        Nothing is held open between them: the agent goes on writing, and what it forgets meanwhile is left out.
        """
        past = 0
        while True:
            with telling(self._path):
                rows = self._db.execute(EVENTS_ON, (past, since, until)).fetchall()
            for number, body in rows:
                past = number
                try:
                    batch = read_events(body)
                except ValueError as error:
                    raise CorruptJournal(self._path, f"stored events are not readable: {error}") from None
                yield from (event for event in batch if since <= event.seen <= until)
            if not rows:
                return

    def all_records(self, kinds: Iterable[str], since: float = 0.0, until: float = math.inf) -> Iterator[Stored]:
        """Every record of these kinds written from `since` to `until` (Unix seconds), oldest first."""
        wanted = f" {' '.join(kinds)} "
        first, last = nanoseconds(max(0.0, since)), nanoseconds(min(until, 9e9))
        past = -1
        while True:
            with telling(self._path):
                rows = self._db.execute(OF_KINDS, (past, wanted, first, last)).fetchall()
            for row in rows:
                past = row[0]
                yield _stored(self._path, *row)
            if not rows:
                return

    def having(self, *needles: bytes, after_seq: int = -1) -> Iterator[Stored]:
        """Every record after the given one whose bytes hold one of these, oldest first. Quick: most are never read as JSON."""
        some = " or ".join("instr(leaf, ?)" for _ in needles)
        query = f"{RECORD} where seq > ? and ({some}) order by seq limit 500"
        while True:
            with telling(self._path):
                rows = self._db.execute(query, (after_seq, *needles)).fetchall()
            for row in rows:
                after_seq = row[0]
                yield _stored(self._path, *row)
            if not rows:
                return

    def first_since(self, ts: float) -> int:
        """The number of the first record that was written at this time (Unix seconds) or later; their times hardly ever fall."""
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            found = self.record(middle)
            low, high = (middle + 1, high) if found is None or found.ts < ts else (low, middle)
        return low

    def verify(self, vkey: str, outside: Iterable[str] = ()) -> Verdict:
        """Check every record against its chain, the checkpoints stored here and those that were kept outside."""
        with self.frozen():
            notes = [*(one.note for one in self.checkpoints()), *outside]
            return verify(self.leaves(), notes, vkey, chain=self._chain())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """See the journal as it is now until the end of the block, however much is written meanwhile."""
        with telling(self._path):
            self._db.execute("begin")
            try:
                yield
            finally:
                self._db.execute("rollback")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _chain(self) -> Iterator[bytes]:
        with telling(self._path):
            for _, _, chain in self._db.execute(f"{RECORD} order by seq"):
                yield chain
