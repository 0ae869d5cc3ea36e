"""The journal: what the agent saw, decided and did, as evidence and as its memory at once.

One SQLite file, one writer, one transaction for everything that belongs together: records, how far the sensors have read,
and the events behind them. A commit that has returned survives a kill and, as far as the disk keeps its word, a power cut.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic_core import from_json, to_json

from agent.event import Event
from agent.evidence.durable import Durable, EvidenceLost, ballast_of
from agent.evidence.journal_file import CannotUseJournal, CorruptJournal, create, lock, open_to_write, telling
from agent.evidence.journal_head import Head, find_head
from agent.evidence.journal_read import EVENTS_SIZES, POSITION, Reader, SavedCheckpoint, find_events, read_only, replay, seal
from agent.evidence.keys import Key
from agent.evidence.leaf import CannotRecord, nanoseconds, write_plain, write_record
from agent.evidence.lift import RECORD
from agent.evidence.lift import SNAPSHOT as SNAPSHOT_VERSION
from agent.evidence.merkle import leaf_hash
from agent.evidence.migrate import forget_copies, migrate, refuse_newer_records
from agent.evidence.note import Checkpoint
from agent.evidence.redact import Redactor
from agent.evidence.spool import Batch, Spooled, pack_events
from agent.record import Record, Stored

__all__ = [
    "CannotRecord", "CannotUseJournal", "CorruptJournal", "EvidenceLost", "Journal", "Reader", "SavedCheckpoint", "read_only",
]  # fmt: skip

CHECKPOINT_RECORDS: Final = 1000
CHECKPOINT_SECONDS: Final = 60.0
CHECKPOINT_IDLE_SECONDS: Final = 3600.0
"""A log at rest is signed as well, so that silence and a dead agent look different from outside."""
_PRUNE_ROWS: Final = 2000
_SAVE: Final = "insert or replace into snapshot values (0, ?, ?, ?, ?, ?)"
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Journal:
    """The one writer of a journal file, in the thread that opened it.

    Raises:
        CannotUseJournal: another agent writes it, another key has signed it, or it cannot be written durably here.
        CorruptJournal: it is not what was written. An existing journal is never replaced by an empty one.
    """

    def __init__(
        self,
        path: Path,
        *,
        host: str,
        key: Key,
        redact: Redactor,
        ballast: int = 16 << 20,
        keep_events: tuple[float, int] = (7 * 86400.0, 256 << 20),
    ) -> None:
        """Open, or create where there is none. `ballast` is in bytes; `keep_events` is seconds, and bytes at most."""
        self._path, self._key, self._redact, self._keep = path, key, redact, keep_events
        self._origin = to_json({"boot": _boot(), "host": host})[1:-1]
        with ExitStack() as undone:
            self._lock = lock(path)
            undone.callback(os.close, self._lock)
            _make_if_new(path)
            migrate(path)
            self._db = open_to_write(path)
            undone.callback(self._db.close)
            refuse_newer_records(path, self._db)
            self._head = find_head(path, self._db, key.public)
            with telling(path):
                (self._event_bytes,) = self._db.execute("select ifnull(sum(length(body)), 0) from events").fetchone()
            undone.pop_all()
        self._durable = Durable(path, self._db, ballast)
        self._durable.refill()

    @property
    def size(self) -> int:
        """How many records there are; the next one gets this number."""
        return self._head.size

    @property
    def last_checkpoint(self) -> tuple[int, float] | None:
        """How many records the last checkpoint covers, and when it was made (Unix seconds)."""
        return None if self._head.signed_at is None else (self._head.covered.size, self._head.signed_at)

    @property
    def warning(self) -> str:
        """What somebody has to mend so that evidence stays safe; empty while all is well."""
        return self._durable.warning

    def stamp(self) -> tuple[float, float] | None:
        """When the last record was written, by the host's clock and by the one that nobody sets, in seconds.

        None where there is none, or the host was booted since: the second clock began anew.
        """
        with telling(self._path):
            row = self._db.execute("select leaf from record order by seq desc limit 1").fetchone()
        leaf = from_json(row[0]) if row else {}
        return (leaf["ts"] / 1e9, leaf["mono"] / 1e9) if leaf.get("boot") and leaf["boot"] == _boot() else None

    # Remembering --------------------------------------------------------------------------------------------------------

    def replay(self) -> tuple[Any | None, Iterator[Stored]]:
        """The last snapshot, as plain JSON, and the records after it. The chain is checked as they are read.

        Raises:
            CorruptJournal: with the record where the chain breaks, while reading.
        """
        return replay(self._path, self._db, self._key, (self.size, self._key.public.name))

    def positions(self) -> dict[str, str]:
        """How far each sensor had read when its last events were committed."""
        with telling(self._path):
            return dict(self._db.execute(POSITION))

    def events(
        self, *, since: float = 0.0, until: float = math.inf, limit: int = 1000, newest_first: bool = False
    ) -> list[Event]:
        """At most `limit` stored events seen from `since` to `until` (Unix seconds)."""
        return find_events(self._path, self._db, since, until, limit, newest_first=newest_first)

    # Writing down -------------------------------------------------------------------------------------------------------

    def commit(
        self,
        now: float,
        records: Sequence[Record],
        *,
        positions: Mapping[str, str] = _NOTHING,
        events: Sequence[Event] = (),
    ) -> int:
        """Store everything in one transaction, all or nothing, durable on return; returns the next record's number.

        Raises:
            CannotRecord: a value has no JSON form; nothing was written.
            EvidenceLost: the disk is full or broken, and the ballast is used up; nothing was written.
        """
        if not (records or positions or events):
            return self.size
        rows, hashes = self._rows(now, records)
        self._store(rows, hashes, positions, pack_events(events, self._redact))
        return self.size

    def resume(
        self,
        late: Sequence[Spooled],
        plain: Mapping[str, Any] | None = None,
        *,
        positions: Mapping[str, str] = _NOTHING,
        events: Sequence[Batch] = (),
    ) -> int:
        """Store what could not be stored in its time, each record with its own, in one transaction; returns the next number.

        `plain` is the state after them, where the records before them are not all here.

        Raises:
            EvidenceLost: as in commit.
        """
        rows, hashes = self._chained([(one.tail, b'"ts":%d,"mono":%d,%b' % (one.ts, one.mono, self._origin)) for one in late])
        self._store(rows, hashes, positions, events, plain)
        return self.size

    def patience(self, seconds: float) -> None:
        """Wait so long for somebody else's write to the same file; the caller waits as well."""
        with telling(self._path):
            self._durable.patience(seconds)

    def _store(
        self,
        rows: Sequence[tuple[int, bytes, bytes]],
        hashes: Sequence[bytes],
        positions: Mapping[str, str],
        batches: Sequence[Batch],
        plain: Mapping[str, Any] | None = None,
    ) -> None:
        head = self._head.after(hashes, rows[-1][2]) if rows else self._head
        snapshot = [] if plain is None else [self._snapshot(head, plain)]

        def writes() -> None:
            self._db.executemany("insert into record(seq, leaf, chain) values (?, ?, ?)", rows)
            self._db.executemany("insert or replace into position values (?, ?)", positions.items())
            self._db.executemany("insert into events(first, last, body) values (?, ?, ?)", batches)
            self._db.executemany(_SAVE, snapshot)

        with telling(self._path):
            self._durable.write(writes, f"{len(rows)} records")
        self._head = head
        self._event_bytes += sum(len(body) for _, _, body in batches)

    def save_snapshot(self, plain: Mapping[str, Any]) -> None:
        """Store the state as of the last commit, so that the next start replays only what came after.

        Raises:
            CannotRecord, EvidenceLost: as in commit.
        """
        row = self._snapshot(self._head, plain)
        with telling(self._path):
            self._durable.write(lambda: self._db.execute(_SAVE, row), "a snapshot")

    def checkpoint_due(self, now: float) -> bool:
        """Whether a checkpoint is due: after 1000 records, after a minute with any, after an hour without, and at first."""
        waiting = len(self._head.uncovered)
        if self._head.signed_at is None or waiting >= CHECKPOINT_RECORDS:
            return True
        return abs(now - self._head.signed_at) >= (CHECKPOINT_SECONDS if waiting else CHECKPOINT_IDLE_SECONDS)

    def checkpoint(self, now: float) -> str:
        """Sign and store what there is; returns the note, which is worth what its copies elsewhere are worth.

        Raises:
            EvidenceLost: it could not be stored; the next one covers the same records.
        """
        tree = self._head.whole()
        note = Checkpoint(self._key.public.name, tree.size, tree.root()).signed(self._key.public, self._key.sign)
        row = (tree.size, now, note, b"".join(tree.peaks))
        insert = "insert into checkpoint(size, ts, note, peaks) values (?, ?, ?, ?)"
        with telling(self._path):
            self._durable.write(lambda: self._db.execute(insert, row), "a checkpoint")
        self._head = replace(self._head, covered=tree, uncovered=(), signed_at=now)
        return note

    def prune(self, now: float) -> int:
        """Forget stored events that are too old or too many, and take the ballast's room again once there is some.

        Returns how many commits' events went, at most 2000 in one call. Records are never pruned.

        Raises:
            EvidenceLost: the disk is full or broken; nothing was forgotten.
        """
        seconds, most = self._keep
        left, gone, past = self._event_bytes, 0, 0
        with telling(self._path):
            oldest = self._db.execute(f"{EVENTS_SIZES} order by id limit {_PRUNE_ROWS}")
            for number, last, size in oldest.fetchall():
                if left <= most and last >= now - seconds:
                    break
                left, gone, past = left - size, gone + 1, number
            if gone:
                delete = "delete from events where id <= ?"
                self._durable.write(lambda: self._db.execute(delete, (past,)), "the end of old events")
        self._event_bytes = left
        self._durable.refill()
        return gone

    def started_well(self) -> None:
        """The agent runs with this journal: the copy of before a migration is needed no more."""
        forget_copies(self._path)

    def close(self) -> None:
        """Let go of the file, for the next writer."""
        self._db.close()
        os.close(self._lock)

    # How ----------------------------------------------------------------------------------------------------------------

    def _rows(self, now: float, records: Sequence[Record]) -> tuple[list[tuple[int, bytes, bytes]], list[bytes]]:
        """The rows to insert, and their leaf hashes. A burst runs through here ten thousand times: it is flat on purpose."""
        tails = self._redact.clean([write_record(record) for record in records])
        shared = b'"ts":%d,"mono":%d,%b' % (nanoseconds(now), time.monotonic_ns(), self._origin)
        return self._chained(zip(tails, repeat(shared)))

    def _chained(self, stamped: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[int, bytes, bytes]], list[bytes]]:
        chain = self._head.chain
        rows, hashes = list[tuple[int, bytes, bytes]](), list[bytes]()
        for seq, (tail, shared) in enumerate(stamped, self.size):
            leaf = b'{"v":%d,"seq":%d,%b,%b' % (RECORD, seq, shared, tail[1:])
            hashed = leaf_hash(leaf)
            chain = sha256(chain + hashed).digest()  # evidence.chain_hash, without the call
            rows.append((seq, leaf, chain))
            hashes.append(hashed)
        return rows, hashes

    def _snapshot(self, head: Head, plain: Mapping[str, Any]) -> tuple[int, bytes, bytes, bytes, int]:
        (body,) = self._redact.clean([write_plain(plain, what="a snapshot")])
        return (head.size, head.chain, body, seal(self._key, head.size, head.chain, body), SNAPSHOT_VERSION)


def _make_if_new(path: Path) -> None:
    if path.exists():
        return
    beside = (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"), ballast_of(path))
    left = [one.name for one in beside if one.exists()]
    if left:
        raise CorruptJournal(path, f"the file is gone, but {left[0]} is still beside it")
    create(path)


def _boot() -> str:
    """The kernel's name for this boot: `mono` counts from its start."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
