"""Bring a journal to the layout of this version: one transaction, with a copy of before until the agent has started well.

Records are never touched: their bytes are evidence. What older ones mean is lift.py's matter.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic_core import from_json

from agent import sdnotify
from agent.evidence.journal_file import NewerJournal, connected, layout_of, telling
from agent.evidence.lift import RECORD, version_of
from agent.evidence.merkle import chain_hash, leaf_hash
from agent.evidence.on_disk import sync_directory

STEPS: Final[Sequence[Sequence[str]]] = (
    ("alter table snapshot add column version integer not null default 1",),  # 1 → 2: a snapshot says of which version it is
)
"""The statements that lead from layout 1 to 2, from 2 to 3, and so on."""
_LAST_TWO: Final = """select ifnull(cast(leaf as blob), x''), ifnull(cast(chain as blob), x'') from record
    order by seq desc limit 2"""
_PAGES: Final = 4096
"""So many pages, mostly 16 MiB, are copied between two signs of life for systemd."""
_A_PIECE_MAY_TAKE: Final = 60

_log = logging.getLogger(__name__)


def migrate(path: Path, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring a journal that nobody else writes to the newest layout; nothing where it has it.

    A kill at any moment leaves the old layout whole, or the new one. The copy is left out, and that is said, where the disk
    has no room for it: the agent must start all the same.

    Raises:
        NewerJournal: a newer agent wrote it; nothing was changed.
        Unwritable: the disk does not let us now; nothing was changed. CannotUseJournal: as in open_to_write.
    """
    newest = len(steps) + 1
    uri = f"file:{quote(str(path))}?mode=rw"
    with telling(path), closing(connected(path, uri, (1, newest))) as db:
        had = layout_of(db)
        if had == newest:
            return
        sdnotify.notify(f"STATUS=bringing the journal from version {had} to {newest}", _more_time())
        kept = _keep_copy(path, db, had)
        db.execute("pragma synchronous = full")
        db.execute("begin immediate")
        try:
            for statements in steps[had - 1 :]:
                for one in statements:
                    db.execute(one)
            db.execute(f"pragma user_version = {newest}")  # part of the transaction, like everything in the file's header
            db.execute("commit")
        finally:
            if db.in_transaction:
                db.execute("rollback")
    _log.warning("the journal %s was brought from version %d to %d; %s", path, had, newest, kept)


def refuse_newer_records(path: Path, db: sqlite3.Connection) -> None:
    """See that this agent knows what the last record means: a newer one writes no older ones any more.

    Raises:
        NewerJournal: it does not.
    """
    with telling(path):
        rows = db.execute(_LAST_TWO).fetchall()
    if not rows:
        return
    leaf, chain = rows[0]
    before = rows[1][1] if len(rows) > 1 else None
    try:
        version = version_of(from_json(leaf))
    except (ValueError, AttributeError):  # damaged: whoever reads the chain finds that
        return
    if version > RECORD and (before is None or chain_hash(before, leaf_hash(leaf)) == chain):
        raise NewerJournal(path, f"its last record has version {version}, this agent knows {RECORD}")


# The copy -------------------------------------------------------------------------------------------------------------


def copies_of(path: Path) -> Iterator[Path]:
    """The copies of before a migration that still stand beside a journal, half-made ones among them."""
    return path.parent.glob(f"{path.name}.version-*")


def forget_copies(path: Path) -> None:
    """The agent has started well with what it brought to its own version: no copy of before is needed."""
    for one in copies_of(path):
        try:
            one.unlink()
        except OSError as error:
            _log.warning("cannot delete %s, which is needed no more: %s", one, error.strerror)


def _keep_copy(path: Path, db: sqlite3.Connection, had: int) -> str:
    """Copy the journal, whole and on the disk, or not at all; returns what became of it, for the log."""
    made = path.with_name(f"{path.name}.version-{had}")
    partial = made.with_name(f"{made.name}.partial")
    (pages,), (size,) = (db.execute(f"pragma {one}").fetchone() for one in ("page_count", "page_size"))
    try:
        for left in copies_of(path):  # of a start that came to nothing: the journal may have been written since
            left.unlink()
        disk = os.statvfs(path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * pages * size:
            return "there was no room for a copy of before"
        _copy(db, partial)
        partial.rename(made)
        sync_directory(path.parent)
    except (OSError, sqlite3.OperationalError) as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        return f"there is no copy of before: {error}"
    return f"until the agent has started well, {made} is as it was before"


def _copy(db: sqlite3.Connection, to: Path) -> None:
    held = os.open(to, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(to, timeout=5)) as copy:
            db.backup(copy, pages=_PAGES, progress=lambda *_: sdnotify.notify(_more_time()))
        os.fsync(held)
    finally:
        os.close(held)


def _more_time() -> str:
    return f"EXTEND_TIMEOUT_USEC={_A_PIECE_MAY_TAKE * 1_000_000}"
