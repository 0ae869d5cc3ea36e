"""Values by key, bounded: however many keys a stranger makes up, only so many are kept. Pure."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Keyed(Generic[V]):
    """Values by key, at most `most`; those longest untouched go first.

    Two generations instead of a list in order of use: what is touched moves to the young one, and when that is full the old
    one is let go as a whole. A single dict with `del d[next(iter(d))]` goes quadratic: it steps over every earlier deletion.
    """

    __slots__ = ("_half", "_span", "_turn", "evictions", "old", "young")

    def __init__(self, most: int, span: float = float("inf")) -> None:
        """`span` is the seconds after which an untouched key is worth nothing, and leaving it out is no eviction."""
        self.young: dict[Hashable, V] = {}
        self.old: dict[Hashable, V] = {}
        self.evictions = 0
        self._half = max(1, most // 2)
        self._span = span
        self._turn = float("-inf")

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def find(self, key: Hashable, now: float) -> V | None:
        """The key's value, which is in `young` afterwards, so that it can be replaced there."""
        value = self.young.get(key)
        if value is None and key in self.old:
            value = self.old.pop(key)
            self.put(key, value, now)
        return value

    def put(self, key: Hashable, value: V, now: float) -> None:
        """Take in a key that is not there."""
        if now >= self._turn:
            self._age(now)
        elif len(self.young) >= self._half:
            self.evictions += len(self.old)
            self._age(now)
        self.young[key] = value

    def drop(self, key: Hashable) -> None:
        """Forget a key."""
        if self.young.pop(key, None) is None:
            self.old.pop(key, None)

    def peek(self, key: Hashable) -> V | None:
        """The key's value, without touching it."""
        value = self.young.get(key)
        return self.old.get(key) if value is None else value

    def adopt(self, other: Keyed[V]) -> None:
        """Take over everything another store holds, its count of evictions too."""
        self.young, self.old, self._turn, self.evictions = other.young, other.old, other._turn, other.evictions

    def copy_key(self, other: Keyed[V], key: Hashable, now: float) -> None:
        """Take a copy of what another store holds of one key."""
        value = other.peek(key)
        if value is not None:
            self.put(key, copy.copy(value), now)

    def _age(self, now: float) -> None:
        self.old, self.young, self._turn = self.young, {}, now + self._span
