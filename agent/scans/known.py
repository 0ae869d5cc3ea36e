"""The findings of the last complete scan of each target, by their fingerprints. Pure.

A finding that is known is no event. It is part of the state, so that the record of a scan, the events that are new with it and
what is known from then on are one transaction: a crash loses no finding, and tells none twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from agent.record import Record

MOST: Final = 100_000
"""Fingerprints that are known; of more, the target that was not scanned for longest is forgotten, and is new again then."""

Unit = tuple[str, str]
"""A scanner, and a target as it calls it."""


class Last(NamedTuple):
    """What is known of one target: the fingerprints of its findings, and when it was scanned (Unix seconds)."""

    marks: frozenset[str]
    at: float


class Scans:
    """What is known, by scanner and target; the target scanned last stands last."""

    kinds: ClassVar[frozenset[str]] = frozenset({"scanned"})

    def __init__(self) -> None:
        """No scan was seen."""
        self.all: dict[Unit, Last] = {}
        self.forgotten = 0
        self._size = 0

    def known(self, unit: Unit) -> frozenset[str]:
        """The fingerprints that are known of a target."""
        last = self.all.get(unit)
        return last.marks if last else frozenset()

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        unit = (body["scanner"], body["target"])
        marks = (self.known(unit) | set(_words(body["new"]))) - set(_words(body["gone"]))
        self._put(unit, Last(frozenset(marks), ts))
        while self._size > MOST and len(self.all) > 1:
            self._drop(next(iter(self.all)))
            self.forgotten += 1

    def _put(self, unit: Unit, last: Last) -> None:
        self._drop(unit)
        self.all[unit] = last
        self._size += len(last.marks) + 1

    def _drop(self, unit: Unit) -> None:
        if old := self.all.pop(unit, None):
            self._size -= len(old.marks) + 1

    def plain(self) -> Any:
        """All of it as JSON values; fingerprints as one text for each target."""
        return [[*unit, " ".join(sorted(last.marks)), last.at] for unit, last in self.all.items()]

    def restore(self, plain: Iterable[Sequence[Any]]) -> None:
        """Be again what `plain` said."""
        for scanner, target, marks, at in plain:
            self._put((scanner, target), Last(frozenset(_words(marks)), at))

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        self.all = {unit: last._replace(at=last.at + by) for unit, last in self.all.items()}


def _words(text: str) -> list[str]:
    return text.split()


def words(record: Record) -> Iterator[tuple[str, str]]:
    """What the sentence about a scan is made of."""
    if record.kind == "scanned":
        yield "new_count", str(len(_words(record.body["new"])))
        yield "gone_count", str(len(_words(record.body["gone"])))
