"""Prove that records are whole and unchanged: hash chain, Merkle tree, signed checkpoints, and the check of all three.

Anyone can run this check with the records, the checkpoints and the public key. The tree is that of RFC 6962 §2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from typing import Final

from pydantic_core import from_json

from agent.evidence.note import BadNote, PublicKey, open_note

CLOSING: Final = frozenset({"in_force", "partly", "done", "failed", "not_verified", "recovered", "lifted"})
"""The kinds of records that close an `intent` with the same mitigation."""
_STEP: Final = 4096
_MOST_PROBLEMS: Final = 50


# Hashes -------------------------------------------------------------------------------------------------------------


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962 §2.1: a leaf's hash."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: an inner node's hash; the other prefix keeps a node from being passed off as a leaf."""
    return sha256(b"\1" + left + right).digest()


def genesis(origin: str) -> bytes:
    """The chain's value before the first record."""
    return sha256(b"genesis " + origin.encode()).digest()


def chain_hash(before: bytes, hashed: bytes) -> bytes:
    """The chain's value after a record: it depends on this leaf's hash and on every one before it."""
    return sha256(before + hashed).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves, kept as the roots of its largest complete subtrees, left to right: at most 64 hashes."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def grow(self, hashes: Iterable[bytes]) -> Frontier:
        """The tree after more leaf hashes, in order."""
        size, peaks = self.size, list(self.peaks)
        for leaf in hashes:
            size, grown, subtrees = size + 1, leaf, size + 1
            while not subtrees & 1:
                grown, subtrees = node_hash(peaks.pop(), grown), subtrees >> 1
            peaks.append(grown)
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """RFC 6962 §2.1: the tree's hash; that of nothing for the empty tree."""
        if not self.peaks:
            return sha256(b"").digest()
        *lefts, root = self.peaks
        for left in reversed(lefts):
            root = node_hash(left, root)
        return root


# Verification ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check found. `covered` records stand under a signed checkpoint that fits; whoever has no copy of a
    checkpoint elsewhere cannot tell whether the rest, `uncovered_tail`, is all there ever was."""

    records: int
    covered: int
    checkpoints: int
    problems: tuple[str, ...]
    open_intents: tuple[str, ...]

    @property
    def uncovered_tail(self) -> int:
        """Records after the last checkpoint that fits."""
        return self.records - self.covered


def verify(leaves: Iterable[bytes], notes: Iterable[str], vkey: str, *, chain: Iterable[bytes] | None = None) -> Verdict:
    """Check records against the checkpoints signed for them, and against their chain where it is given.

    Every checkpoint counts, wherever it was kept: one that left the host in time shows what was changed on it since.

    Raises:
        BadNote: the vkey is none.
    """
    key, seen = PublicKey.read(vkey), _Seen()
    signed = _signed_roots(notes, key, seen)
    tree = _Covered(signed, seen)
    value = genesis(key.name)
    for seq, (leaf, kept) in enumerate(zip(leaves, repeat(None) if chain is None else chain, strict=chain is not None)):
        hashed = leaf_hash(leaf)
        seen.record(seq, leaf)
        if kept is not None:
            if kept != chain_hash(value, hashed):
                seen.problem(f"record {seq}: the hash chain breaks here: this record, or its place, was changed")
            value = kept  # so that one change is one problem
        tree.add(hashed)
    tree.end()
    return Verdict(tree.size, tree.covered, len(signed), seen.problems(), seen.open_intents())


def _signed_roots(notes: Iterable[str], key: PublicKey, seen: _Seen) -> dict[int, bytes]:
    signed: dict[int, bytes] = {}
    for number, note in enumerate(notes):
        try:
            found = open_note(note, key)
        except BadNote as error:
            seen.problem(f"checkpoint {number}: {error}")
            continue
        if signed.setdefault(found.size, found.root) != found.root:
            seen.problem(f"split view at record {found.size}: two different logs were signed for the first {found.size} records")
    return signed


class _Covered:
    """The tree, rebuilt record by record and held against each signed root on the way."""

    def __init__(self, signed: Mapping[int, bytes], seen: _Seen) -> None:
        self.size = self.covered = 0
        self._signed, self._due, self._seen = signed, sorted(signed, reverse=True), seen
        self._frontier, self._waiting, self._forked = Frontier(), list[bytes](), False
        self._compare()

    def add(self, hashed: bytes) -> None:
        self.size += 1
        self._waiting.append(hashed)
        if len(self._waiting) == _STEP or (self._due and self._due[-1] == self.size):
            self._frontier, self._waiting = self._frontier.grow(self._waiting), []
            self._compare()

    def end(self) -> None:
        if self._due:
            signed = f"a checkpoint was signed for {self._due[0]} records, and only {self.size} are here"
            self._seen.problem(f"cut at record {self.size}: {signed}")

    def _compare(self) -> None:
        if not self._due or self._due[-1] != self._frontier.size:
            return
        due = self._due.pop()
        if self._frontier.root() == self._signed[due]:
            self.covered = due
        elif not self._forked:  # every later root differs as well, and says nothing new about where the change is
            self._forked = True
            where = f"one of the records {self.covered} to {due - 1}" if due else "the start of the log"
            self._seen.problem(f"{where} is not what was signed: the tree's root is not that of the checkpoint for {due}")


class _Seen:
    """What the check has come across so far."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._count = 0
        self._shift = 0
        self._intents: dict[str, int] = {}

    def record(self, seq: int, leaf: bytes) -> None:
        """Look into a record: is it in its place, and does it open or close an intent?"""
        try:
            plain = from_json(leaf)
            says, kind, mitigation = int(plain["seq"]), str(plain["kind"]), str(plain["mitigation"])
        except (ValueError, KeyError, TypeError):
            self.problem(f"record {seq}: it is not readable")
            return
        if says - seq != self._shift:
            self.problem(f"record {seq}: it says it is number {says}: records are missing, added or out of order here")
            self._shift = says - seq
        if kind == "intent" and mitigation:
            self._intents[mitigation] = seq
        elif kind in CLOSING:
            self._intents.pop(mitigation, None)

    def problem(self, sentence: str) -> None:
        self._count += 1
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(sentence)

    def problems(self) -> tuple[str, ...]:
        more = self._count - len(self._problems)
        return (*self._problems, f"and {more} more like these") if more else tuple(self._problems)

    def open_intents(self) -> tuple[str, ...]:
        return tuple(f"record {seq}: the intent for {mitigation} was never closed" for mitigation, seq in self._intents.items())
