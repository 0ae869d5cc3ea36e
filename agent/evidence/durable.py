"""Transactions that are on the disk when they return, and a ballast to give up when the disk is full.

The ballast is a file that only takes up room. What happens on a full disk, perhaps because somebody filled it, is then
still written down.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.evidence.journal_file import NOT_NOW

_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)

_log = logging.getLogger(__name__)


class EvidenceLost(Exception):  # noqa: N818 - reads as the sentence it is
    """Nothing of a commit could be stored, and nothing of it was. Text: `cannot write …: why`, then how to mend it."""


class Durable:
    """Writes to one journal. `warning` says what somebody has to mend so that evidence stays safe; empty while all is well."""

    def __init__(self, path: Path, db: sqlite3.Connection, ballast: int) -> None:
        self.warning = ""
        self._path, self._db = path, db
        self._ballast, self._size = ballast_of(path), ballast

    def write(self, writes: Callable[[], object], what: str) -> None:
        """Run the writes as one transaction; where the disk is full, give up the ballast and try once more.

        Raises:
            EvidenceLost: the disk is full, broken or read-only, or somebody else holds the file, and there is no ballast (or
                it does not help); nothing was written.
        """
        error = self._transaction(writes)
        if error and _code(error) in _FULL and self._give_up():
            self._warn(f"the disk of {self._path} is full or broken ({error}); the ballast was given up, and there is no other")
            error = self._transaction(writes)
        if error:
            mend = "Make room there (df, dmesg). Until then nothing is done, because nothing is done without a record."
            raise EvidenceLost(f"cannot write {what} to the journal {self._path}: {error}\n{mend}") from error

    def refill(self) -> None:
        """Take the ballast's room, unless that would leave less than three times as much to everybody else.

        The blocks are really allocated: a sparse file would hold no room at all.
        """
        try:
            if self._size and not (self._ballast.exists() and self._ballast.stat().st_size == self._size):
                self._allocate()
            self.warning = ""
        except OSError as error:
            self._give_up()
            self._warn(f"no ballast beside {self._path}: {error.strerror}; once the disk is full, evidence will be lost")

    def patience(self, seconds: float) -> None:
        """Wait so long, and no longer, for somebody else's write to the same file."""
        self._db.execute(f"pragma busy_timeout = {int(seconds * 1000)}")

    def _give_up(self) -> bool:
        """Whether there was a ballast to delete."""
        try:
            self._ballast.unlink()
        except OSError:  # there is none, or the disk is read-only
            return False
        return True

    def _allocate(self) -> None:
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < 4 * self._size:
            raise OSError(errno.ENOSPC, "the disk is nearly full")
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
        finally:
            os.close(descriptor)

    def _transaction(self, writes: Callable[[], object]) -> sqlite3.DatabaseError | None:
        """Run the writes as one transaction, or not at all; returns why the disk did not take them.

        A commit whose flush failed is never flushed again (the kernel may have dropped the pages and would say it is fine);
        the next transaction writes the same place anew.
        """
        try:
            self._db.execute("begin immediate")
            writes()
            self._db.execute("commit")
        except sqlite3.DatabaseError as error:
            if _code(error) not in NOT_NOW:
                raise
            return error
        finally:
            if self._db.in_transaction:  # SQLite rolls back by itself after some errors, not after all
                self._db.execute("rollback")
        return None

    def _warn(self, sentence: str) -> None:
        if sentence != self.warning:
            _log.warning(sentence)
        self.warning = sentence


def _code(error: sqlite3.DatabaseError) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def ballast_of(path: Path) -> Path:
    """Where the ballast of a journal stands."""
    return path.with_name(f"{path.name}.ballast")
