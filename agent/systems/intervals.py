"""Networks with different ends, cut into the disjoint pieces that a set of intervals can hold. Pure arithmetic.

The kernel refuses overlapping intervals, and so one asked-for network may stand as several pieces, or inside another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """Addresses `start` to `last`, both included, until `ends`."""

    start: int
    last: int
    ends: float


def disjoint(networks: Iterable[Piece]) -> list[Piece]:
    """Cut networks so that every address is in one piece, which ends when the last network over it does.

    Two networks are apart or one holds the other, so that a stack of the open ones is enough.
    """
    pieces: list[Piece] = []
    around: list[Piece] = []
    at = 0

    def close(until: int) -> None:
        nonlocal at
        while around and around[-1].last < until:
            top = around.pop()
            if at <= top.last:
                pieces.append(Piece(at, top.last, top.ends))
                at = top.last + 1

    for one in sorted(networks, key=lambda n: (n.start, -n.last)):
        close(one.start)
        if around and one.ends <= around[-1].ends:
            continue  # the network around it stays longer
        if around and at < one.start:
            pieces.append(Piece(at, one.start - 1, around[-1].ends))
        at = one.start
        around.append(one)
    close(1 << 129)
    return pieces


def covered(pieces: Sequence[Piece], start: int, last: int) -> float:
    """When the first address from `start` to `last` comes free; 0 where one is free already. `pieces` are sorted."""
    earliest = float("inf")
    for one in pieces:
        if one.last < start:
            continue
        if one.start > start:
            return 0.0
        earliest, start = min(earliest, one.ends), one.last + 1
        if start > last:
            return earliest
    return 0.0
