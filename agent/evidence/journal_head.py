"""Where a log ends: what the next record continues and the next checkpoint covers."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.evidence.journal_file import CannotUseJournal, CorruptJournal, telling
from agent.evidence.journal_read import CHECKPOINT, chain_at, follow
from agent.evidence.merkle import Frontier, genesis, leaf_hash
from agent.evidence.note import BadNote, PublicKey, open_note


class OtherKey(CannotUseJournal):
    """Another key than ours has signed it, and must not be passed off as ours."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log of `size` records.

    `covered` is the tree under the last checkpoint, made at `signed_at` (None before the first); `uncovered` are the leaf
    hashes after it, which cost a commit nothing until the next checkpoint folds them in.
    """

    size: int
    chain: bytes
    covered: Frontier
    uncovered: tuple[bytes, ...]
    signed_at: float | None

    def after(self, hashes: Sequence[bytes], chain: bytes) -> Head:
        """The end once these records are stored."""
        return replace(self, size=self.size + len(hashes), chain=chain, uncovered=self.uncovered + tuple(hashes))

    def whole(self) -> Frontier:
        """The tree over every record."""
        return self.covered.grow(self.uncovered)


def find_head(path: Path, db: sqlite3.Connection, key: PublicKey) -> Head:
    """Find the end of a log: check its last checkpoint, and the records after it.

    Raises:
        OtherKey: another key has signed it. CorruptJournal: it is not what was written.
    """
    with telling(path):
        (stored,) = db.execute("select ifnull(max(seq) + 1, 0) from record").fetchone()
        saved = db.execute(f"{CHECKPOINT} order by id desc limit 1").fetchone()
    signed_at, covered = (saved[1], _covered(path, key, saved[0], saved[2], saved[3])) if saved else (None, Frontier())
    chain = chain_at(path, db, covered.size - 1) if covered.size else genesis(key.name)
    size, hashes = covered.size, []
    for one in follow(path, db, covered.size, chain):
        size, chain = one.seq + 1, one.chain
        hashes.append(leaf_hash(one.leaf))
    if size != stored:
        raise CorruptJournal(path, "the index of the records does not fit them", size)
    return Head(size, chain, covered, tuple(hashes), signed_at)


def _covered(path: Path, key: PublicKey, size: int, note: str, peaks: bytes) -> Frontier:
    try:
        signed = open_note(note, key)
    except BadNote as error:
        mend = f"Put back the key that belongs to it, or move {path}* aside: another key cannot continue it."
        why = f"its last checkpoint does not fit the key {key}: {error}"
        raise OtherKey(f"cannot continue the journal {path}: {why}\n{mend}") from None
    frontier = Frontier(size, tuple(peaks[i : i + 32] for i in range(0, len(peaks), 32)))
    if (signed.size, signed.root) != (size, frontier.root()):
        raise CorruptJournal(path, f"its last checkpoint, for {signed.size} records, is damaged")
    return frontier
