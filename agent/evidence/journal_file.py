"""The journal's file: its tables, how it is made and opened, and what can be wrong with it."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from agent.evidence.on_disk import sync_directory

VERSION: Final = 2
"""Of the layout of the file: migrate.py brings older ones to it. lift.py has the versions of what stands in it."""
_OURS: Final = 0x434E544A  # application_id: "CNTJ"
PATIENCE: Final = 2.0
"""Seconds that a write waits for somebody else's write to the same file: the whole agent waits with it."""
NOT_NOW: Final = frozenset(
    {
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL,
    }
)  # fmt: skip
"""SQLite's codes for a disk, or a neighbour, that does not let us write."""
DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENFILE, errno.EMFILE, errno.ESTALE})
"""The same of the operating system."""

# The leaf is the truth. What can be looked for is read out of it, so that the two cannot disagree. The triggers are a seat
# belt against mistakes; against intent there are the chain and the checkpoints.
_TABLES: Final = f"""
create table record(
    seq integer primary key,
    leaf blob not null,
    chain blob not null,
    incident text generated always as (json_extract(cast(leaf as text), '$.incident')) virtual,
    mitigation text generated always as (json_extract(cast(leaf as text), '$.mitigation')) virtual
) strict;
create index record_by_incident on record(incident) where incident <> '';
create index record_by_mitigation on record(mitigation) where mitigation <> '';
create trigger record_stays before delete on record begin select raise(abort, 'evidence is append-only'); end;
create trigger record_is_final before update on record begin select raise(abort, 'evidence is append-only'); end;
create table checkpoint(
    id integer primary key,
    size integer not null,
    ts real not null,
    note text not null,
    peaks blob not null
) strict;
create table snapshot(
    id integer primary key check (id = 0),
    size integer not null,
    chain blob not null,
    plain blob not null,
    seal blob not null,
    version integer not null default 1
) strict;
create table position(source text primary key, value text not null) strict, without rowid;
create table events(id integer primary key, first real not null, last real not null, body blob not null) strict;
pragma application_id = {_OURS};
pragma user_version = {VERSION};
"""


class CannotUseJournal(Exception):  # noqa: N818 - reads as the sentence it is
    """The journal cannot be opened or read. Text: `cannot …: why`, then how to mend it."""


class Unwritable(CannotUseJournal):
    """It cannot be written at this moment, and may be later: a full, broken or read-only disk, or somebody's lock."""


class NewerJournal(CannotUseJournal):
    """A newer agent wrote it, and in part this one cannot know what it says: it is left as it is."""

    def __init__(self, path: Path, why: str, *, what: str = "write") -> None:
        super().__init__(
            f"cannot {what} the journal {path}: a newer agent wrote it: {why}\n"
            f"Nothing was changed, and what is in force stays in force. Install the newer agent again, or have this one begin\n"
            f"a new journal, for which it asks the systems what they hold:\n"
            f"cd {path.parent} && mkdir -m 700 set-aside-newer && mv {path.name}* set-aside-newer/"
        )


class CorruptJournal(CannotUseJournal):
    """The journal is not what was written. `seq` is the record where that shows, or None where it is not a record."""

    def __init__(self, path: Path, why: str, seq: int | None = None) -> None:
        place = "" if seq is None else f" at record {seq}"
        super().__init__(
            f"cannot trust the journal {path}{place}: {why}\n"
            f"Nothing was changed. Keep it as evidence: move {path}* aside and look at it with\n"
            f"`contain evidence verify --db FILE`; put a copy back, or let the agent begin a new journal."
        )
        self.seq = seq


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say how to mend them."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes the damaged schema in its message, and Python cannot read that
        raise CorruptJournal(path, "its schema is damaged") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise CorruptJournal(path, str(error)) from error
        kind = Unwritable if code in NOT_NOW else CannotUseJournal
        mend = "Look at the file's owner and mode, and at the disk (dmesg, df)."
        raise kind(f"cannot use the journal {path}: {error}\n{mend}") from error


# Opening --------------------------------------------------------------------------------------------------------------


def lock(path: Path) -> int:
    """Be the only writer until the returned descriptor is closed, also by a kill.

    A flock, not a POSIX lock: that one would vanish as soon as anything in this process closed the file.

    Raises:
        CannotUseJournal: another agent has it, or the directory cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        held = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o640)
    except OSError as error:
        mend = "Give the directory to the agent's user." if error.errno not in DISK else "Look at the disk (dmesg, df, mount)."
        kind = Unwritable if error.errno in DISK else CannotUseJournal
        raise kind(f"cannot write the journal {path}: {error.strerror}: {error.filename}\n{mend}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(held, 20, 0).decode(errors="replace").strip()
        os.close(held)
        mend = "Stop that one first, or talk to it: contain status."
        raise CannotUseJournal(f"cannot write the journal {path}: another agent, process {owner}, writes it\n{mend}") from None
    os.ftruncate(held, 0)
    os.pwrite(held, b"%d\n" % os.getpid(), 0)
    return held


def create(path: Path) -> None:
    """Make an empty journal whole or not at all: an empty file under this name is always one that lost its records.

    Raises:
        Unwritable: the disk has no room for it, or takes nothing.
    """
    try:
        _create(path)
    except OSError as error:
        raise Unwritable(f"cannot make the journal {path}: {error.strerror}\nLook at the disk (dmesg, df, mount).") from error


def _create(path: Path) -> None:
    made = path.with_name(f"{path.name}.new")
    for left in path.parent.glob(f"{made.name}*"):
        left.unlink()
    os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640))
    with telling(path), closing(sqlite3.connect(made, isolation_level=None, timeout=5)) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.executescript(_TABLES)
    made.rename(path)
    sync_directory(path.parent)


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a journal that exists, so that a commit that has returned is on the disk.

    Raises:
        CannotUseJournal: it is another program's, of another version, or cannot be written durably here.
    """
    db = connected(path, f"file:{quote(str(path))}?mode=rw", (VERSION, VERSION))
    with telling(path):
        (mode,) = db.execute("pragma journal_mode = wal").fetchone()
        db.execute("pragma synchronous = full")
        (synchronous,) = db.execute("pragma synchronous").fetchone()
        db.execute(f"pragma journal_size_limit = {64 << 20}")
    if (mode, synchronous) != ("wal", 2):
        db.close()
        why = f"SQLite runs with journal_mode={mode}, synchronous={synchronous} here"
        raise CannotUseJournal(f"cannot write the journal {path} durably: {why}\nPut it on a local file system.")
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal to look, whether or not an agent is writing it, and whatever version wrote it, as far as that can be read.

    Raises:
        CannotUseJournal: there is none, or it cannot be read; CorruptJournal: it is none of ours.
    """
    try:
        path.stat()
    except OSError as error:
        mend = "Name the right file, start the agent once, or become a user who may read it."
        raise CannotUseJournal(f"cannot read the journal {path}: {error.strerror}\n{mend}") from None
    place = f"file:{quote(str(path))}?mode=ro"
    try:
        return connected(path, place)
    except CannotUseJournal:
        # Who may not write beside it cannot make SQLite's -shm file; but without a -wal file nobody writes, and none is needed.
        if path.with_name(f"{path.name}-wal").exists():
            raise
        return connected(path, f"{place}&immutable=1")


def refuse_others(path: Path) -> None:
    """Whatever is wrong with it: see that it is not another program's.

    Raises:
        CannotUseJournal: it is, or it is a newer agent's.
    """
    if path.exists():
        with suppress(CorruptJournal, Unwritable):
            connected(path, f"file:{quote(str(path))}?mode=ro", (1, VERSION)).close()


def layout_of(db: sqlite3.Connection) -> int:
    """The version of the layout of an opened file."""
    (version,) = db.execute("pragma user_version").fetchone()
    return int(version)


def connected(path: Path, uri: str, takes: tuple[int, int] | None = None) -> sqlite3.Connection:
    """Open a journal whose layout is one of those from the first to the last that are taken; without, any that can be read.

    Raises:
        CannotUseJournal: it is another program's, of another version, or cannot be opened; CorruptJournal: it is no journal.
    """
    with telling(path):
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=PATIENCE)
        db.text_factory = lambda data: data.decode(errors="replace")  # damaged text must reach the check that finds it
        try:
            _recognise(path, db)
            _take(path, db, takes)
        except BaseException:
            db.close()
            raise
    return db


def _recognise(path: Path, db: sqlite3.Connection) -> None:
    (owner,) = db.execute("pragma application_id").fetchone()
    if owner != _OURS:
        tables = {str(name) for (name,) in db.execute("select name from sqlite_master where type = 'table'")}
        if tables and not tables & {"record", "checkpoint", "snapshot"}:
            mend = "Move it away, or name another directory: `state:` in agent.yaml."
            raise CannotUseJournal(f"cannot use the journal {path}: it is another program's database\n{mend}")
        raise CorruptJournal(path, "it is empty, or not a journal of this agent")


def _take(path: Path, db: sqlite3.Connection, takes: tuple[int, int] | None) -> None:
    """Older layouts are read as they are; a newer one may still be readable, since records hardly ever change their table."""
    version = layout_of(db)
    known = f"it has version {version}, this agent knows {VERSION}"
    if takes and version > takes[1]:
        raise NewerJournal(path, known)
    if version < (takes[0] if takes else 1):
        mend = "Start the agent once: it brings the journal to its own version."
        raise CannotUseJournal(f"cannot use the journal {path}: {known}\n{mend}")
    if version > VERSION:
        try:
            db.execute("select seq, leaf, chain from record limit 0")
        except sqlite3.OperationalError as error:
            raise NewerJournal(path, known, what="read") from error
