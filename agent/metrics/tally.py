"""Counts that cannot grow without end: histograms with fixed buckets, and tallies with room for so many labels. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Final

BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper ends in seconds: from what a block takes to what an operator waits for at most."""
MOST: Final = 300
"""Different labels of one number. All come from agent.yaml, policies and code; this is for those who write very many."""
OTHER: Final = "other"
"""Where what is beyond that is counted."""

OUTCOMES: Final = frozenset({"in_force", "partly", "done", "failed", "not_verified", "late", "under_way"})
"""Records of what came of an action at first."""

Labels = tuple[str, ...]
Row = list[Any]
"""Labels, and a number; of a histogram the counts of its buckets, and the sum."""


class Histogram:
    """How often something took how long. `counts` are those of each bucket alone, the last one without an upper end."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        """Nothing was measured."""
        self.counts, self.total = [0] * (len(BUCKETS) + 1), 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """It took so long, so many times. Where a clock was set back meanwhile, it took no time."""
        took = max(0.0, seconds)
        self.counts[bisect_left(BUCKETS, took)] += times
        self.total += took * times


class Tally:
    """Counts by labels, at most MOST of them; all others are one."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        """Nothing was counted."""
        self.counts: dict[Labels, float] = {}

    def add(self, labels: Labels, count: float = 1) -> None:
        """So many more."""
        known = self.counts
        if labels not in known and len(known) >= MOST:
            labels = (OTHER,) * len(labels)
        known[labels] = known.get(labels, 0) + count

    def add_all(self, counts: Mapping[Labels, int]) -> None:
        """So many more of each."""
        for labels, count in counts.items():
            self.add(labels, count)

    def rows(self, always: Iterable[Labels] = ()) -> list[Row]:
        """As they are told. What is `always` told is nought where it never was: nobody sees a number grow that was not there."""
        told = dict(self.counts)
        for labels in always:
            if len(told) < MOST:
                told.setdefault(labels, 0)
        return [[list(labels), count] for labels, count in told.items()]


def counted(pairs: Iterable[tuple[Labels, float]]) -> list[Row]:
    """Sums by labels, with the same end."""
    tally = Tally()
    for labels, count in pairs:
        tally.add(labels, count)
    return tally.rows()


def measured(known: Mapping[Labels, Histogram]) -> list[Row]:
    """Histograms as they are told. Copied first: a lane may add one meanwhile."""
    return [[list(labels), list(one.counts), one.total] for labels, one in list(known.items())]
