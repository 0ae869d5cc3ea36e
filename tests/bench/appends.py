"""What a durable record costs: the agent's journal, a bare SQLite commit of the same bytes, append and fdatasync of them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from agent.evidence.journal_read import read_only
from agent.record import Record
from tests.evidence.journals import opened

_BODY: Final = {
    "action": "block_ip",
    "target": "203.0.113.7",
    "policy": "ssh-brute-force",
    "because": "8 of auth.ssh.failure from 203.0.113.7 within 10m",
    "undo": {"system": "firewall", "verb": "unblock", "args": {"address": "203.0.113.7"}},
}
"""As large as an intent is."""

Writer = Callable[[int], None]
"""Makes so many records durable at once."""


def append_times(place: Path, many: int, size: int) -> dict[str, float]:
    """Seconds for one record, by who writes: so many commits of `size` records each, the three taking turns."""
    spent = dict.fromkeys(("ours", "sqlite", "file"), 0.0)
    with _ours(place) as ours:
        length = _length(place)
        with _sqlite(place, length) as sqlite, _file(place, length) as file:
            writers: dict[str, Writer] = {"ours": ours, "sqlite": sqlite, "file": file}
            for write in writers.values():
                write(size)  # the first makes pages and files
            for _ in range(many):
                for name, write in writers.items():
                    began = time.monotonic()
                    write(size)
                    spent[name] += time.monotonic() - began
    return {name: seconds / (many * size) for name, seconds in spent.items()}


@contextmanager
def _ours(place: Path) -> Iterator[Writer]:
    place.mkdir(parents=True, exist_ok=True)
    with closing(opened(place / "journal.db")) as journal:

        def write(size: int) -> None:
            journal.commit(time.time(), [Record("intent", _BODY, "INC-1", f"M-{at}") for at in range(size)])

        write(1)
        yield write


def _length(place: Path) -> int:
    """How many bytes one record has in our journal."""
    with read_only(place / "journal.db") as reader:
        return len(next(iter(reader.leaves())))


@contextmanager
def _sqlite(place: Path, length: int) -> Iterator[Writer]:
    with closing(sqlite3.connect(place / "bare.db", isolation_level=None)) as db:
        db.executescript(
            "pragma journal_mode = wal; pragma synchronous = full; create table record(seq integer primary key, leaf);"
        )

        def write(size: int) -> None:
            db.execute("begin immediate")
            db.executemany("insert into record(leaf) values (?)", [(os.urandom(length),) for _ in range(size)])
            db.execute("commit")

        yield write


@contextmanager
def _file(place: Path, length: int) -> Iterator[Writer]:
    file = os.open(place / "bare.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(size: int) -> None:
        os.write(file, os.urandom(length * size))
        os.fdatasync(file)

    try:
        yield write
    finally:
        with suppress(OSError):
            os.close(file)
