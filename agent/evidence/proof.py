"""Prove that one record is in the log, or that a log only grew, with a few hashes and no other record.

Inclusion and consistency are RFC 6962 §2.1.1 and §2.1.2, checked as RFC 9162 §2.1.3.2 and §2.1.4.2 say. A proof to hand
out is c2sp.org/tlog-proof: a few lines of text with the checkpoint in them, complete without this host.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.evidence.merkle import Frontier, leaf_hash, node_hash
from agent.evidence.note import BadNote, Checkpoint, PublicKey, open_note

_HEAD: Final = "c2sp.org/tlog-proof@v1"


def inclusion(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from one leaf up to the root of the tree over all of them, the leaf's sibling first."""
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*inclusion(hashes[:split], index), _root(hashes[split:])]
    return [*inclusion(hashes[split:], index - split), _root(hashes[:split])]


def root_by_inclusion(hashed: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root of the tree of `size` leaves that has this leaf at `index`, or None where the path does not lead there."""
    if not 0 <= index < size:
        return None
    position, last, root = index, size - 1, hashed
    for step in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            root = node_hash(step, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, step)
        position, last = position >> 1, last >> 1
    return root if last == 0 else None


def consistency(hashes: Sequence[bytes], old: int) -> list[bytes]:
    """The hashes that show the tree over the first `old` leaves to be the beginning of the tree over all of them."""
    return _grown(hashes, old, whole=True) if 0 < old < len(hashes) else []


def only_grew(old: Checkpoint, new: Checkpoint, path: Sequence[bytes]) -> str:
    """Why the path does not show that the old log is the beginning of the new one; empty where it does."""
    if old.size > new.size:
        return f"the log shrank from {old.size} to {new.size} records"
    if old.size in (0, new.size):
        same = old.size == 0 or old.root == new.root
        return "" if same and not path else f"two different logs were signed for {old.size} records"
    steps = [old.root, *path] if old.size & (old.size - 1) == 0 else list(path)
    roots = _two_roots(old.size, new.size, steps)
    return "" if roots == (old.root, new.root) else f"the first {old.size} records are not what was signed before"


@dataclass(frozen=True, slots=True)
class Proof:
    """That a leaf stands at `index` of the log that the checkpoint note speaks of."""

    index: int
    path: tuple[bytes, ...]
    note: str

    def __str__(self) -> str:
        path = "".join(f"{base64.b64encode(step).decode()}\n" for step in self.path)
        return f"{_HEAD}\nindex {self.index}\n{path}\n{self.note}"

    @classmethod
    def read(cls, text: str) -> Proof:
        """Read a .tlog-proof file.

        Raises:
            BadNote: it is none.
        """
        above, _, note = text.partition("\n\n")
        head, *lines = above.split("\n")
        if lines and lines[0].startswith("extra "):
            lines = lines[1:]
        if head != _HEAD or not lines or not lines[0].removeprefix("index ").isdecimal():
            raise BadNote(f"this is no proof: expected the lines {_HEAD} and `index NUMBER`")
        try:
            path = tuple(base64.b64decode(line, validate=True) for line in lines[1:])
        except ValueError:  # binascii.Error is one, and so is a letter that is not ASCII
            raise BadNote("this is no proof: a hash is not base64") from None
        return cls(int(lines[0].removeprefix("index ")), path, note)

    def check(self, leaf: bytes, vkey: str) -> Checkpoint:
        """Check the proof for a leaf, and return the checkpoint it stands under.

        Raises:
            BadNote: the checkpoint is not signed by the key, or the leaf is not in its log at this place.
        """
        signed = open_note(self.note, PublicKey.read(vkey))
        if root_by_inclusion(leaf_hash(leaf), self.index, signed.size, self.path) != signed.root:
            raise BadNote(f"this is not record {self.index} of the log that was signed")
        return signed


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _root(hashes: Sequence[bytes]) -> bytes:
    return Frontier().grow(hashes).root()


def _grown(hashes: Sequence[bytes], old: int, *, whole: bool) -> list[bytes]:
    if old == len(hashes):
        return [] if whole else [_root(hashes)]
    split = _split(len(hashes))
    if old <= split:
        return [*_grown(hashes[:split], old, whole=whole), _root(hashes[split:])]
    return [*_grown(hashes[split:], old - split, whole=False), _root(hashes[:split])]


def _two_roots(old: int, new: int, steps: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    if not steps:
        return None
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            after = node_hash(after, step)
        position, last = position >> 1, last >> 1
    return (before, after) if last == 0 else None
