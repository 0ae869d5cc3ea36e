"""The baseline and the disk side by side, all at once: for people, with or without an agent, and for a person's update."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from agent.integrity.baseline import Baseline
from agent.integrity.facts import Difference, Facts, differences, look
from agent.integrity.tree import MOST, Cover, Walk, within


class Row(NamedTuple):
    """A path that is not what the baseline has; `right` and `now` are None where nothing should be, or is."""

    path: bytes
    right: Facts | None
    now: Facts | None
    differences: tuple[Difference, ...]


class Compared(NamedTuple):
    """What differs, and what could not be looked at, with the reason."""

    rows: list[Row]
    unread: list[tuple[bytes, str]]

    @property
    def digest(self) -> str:
        """What a person's yes is bound to: every path with all that it is now, but for times and inodes."""
        made = sha256()
        for one in sorted(self.rows):
            now = one.now and one.now._replace(mtime_ns=0, inode=0)
            made.update(one.path + b"\0" + json.dumps(now).encode() + b"\0")
        return made.hexdigest()[:16]


def compare(baseline: Baseline, cover: Cover, only: Sequence[str] = (), breathe: Callable[[], None] = lambda: None) -> Compared:
    """Look at everything that is watched and of which there is a baseline, or at what lies at or below some paths of it.

    Raises:
        ValueError: one of these paths is not watched, or there is no baseline of it yet.
        sqlite3.Error: the baseline cannot be read.
    """
    found = Compared([], [])

    def trouble(path: bytes, error: OSError) -> None:
        found.unread.append((path, error.strerror or str(error)))

    for start in _starts(baseline, cover, only):
        root = cover.root_of(start) or start
        for path in _paths(baseline, Walk(cover, lambda _: None, trouble), start):
            right = baseline.right(path)
            try:
                now = look(path, root, breathe)
            except OSError as error:
                trouble(path, error)
                continue
            if now and now.error:
                found.unread.append((path, now.error))
            if differ := differences(right, now):
                found.rows.append(Row(path, right, now, tuple(differ)))
    return found


def _starts(baseline: Baseline, cover: Cover, only: Sequence[str]) -> list[bytes]:
    taken = baseline.taken()
    if not only:
        return [one for one in cover.roots if one in taken]
    starts = sorted({os.path.normpath(os.fsencode(one)) for one in only})
    for one in starts:
        root = cover.root_of(one)
        if root is None:
            raise ValueError(f"{os.fsdecode(one)} is not watched; see `paths:` of the files sensor in agent.yaml")
        if root not in taken:
            raise ValueError(f"there is no baseline of {os.fsdecode(root)} yet; a running agent takes it")
    return [one for one in starts if not any(other != one and within(one, other) for other in starts)]


def _paths(baseline: Baseline, walk: Walk, start: bytes) -> Iterator[bytes]:
    """What is there, then what should be and is not."""
    there = set[bytes]()
    for path in islice(walk.over(start), MOST):
        there.add(path)
        yield path
    for path, _ in baseline.rows("baseline", start):
        if path not in there and walk.cover.root_of(path):
            yield path
