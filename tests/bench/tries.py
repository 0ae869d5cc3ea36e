"""What was measured so far: every try of every contender, and what has to be said with them."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

from tests.bench.rows import IN_SECONDS, Row


@dataclass(frozen=True)
class Cell:
    """One number of one contender, in its row's unit: what stands for its tries, the least and the most of them.

    Infinite: it never came. `beyond`: it had not come when patience ended, so that it is more than this. Not a number: there
    is none, and `note` says why.
    """

    value: float
    low: float = nan
    high: float = nan
    tries: int = 1
    note: str = ""
    beyond: bool = False

    @property
    def absent(self) -> bool:
        """Whether there is no number."""
        return math.isnan(self.value)


def cell(tries: Sequence[float], part: float = 0.5, note: str = "", *, beyond: bool = False) -> Cell:
    """What so large a part of the tries did not exceed; 0.5 is the median."""
    in_order = sorted(tries)
    value = statistics.median(in_order) if part == 0.5 else in_order[min(len(in_order) - 1, int(part * len(in_order)))]
    return Cell(value, in_order[0], in_order[-1], len(in_order), note, beyond)


Cells = Mapping[Row, Mapping[str, Cell]]


@dataclass
class Tries:
    """Numbers by row and contender, in seconds where they are times; `cells` are in the rows' units."""

    _taken: defaultdict[tuple[Row, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    _notes: dict[tuple[Row, str], str] = field(default_factory=dict)
    _beyond: set[tuple[Row, str]] = field(default_factory=set)

    def put(self, row: Row, name: str, *values: float, note: str = "", beyond: bool = False) -> None:
        """More tries; the last note stays."""
        self._taken[row, name] += [value * IN_SECONDS.get(row.unit, 1.0) for value in values]
        if note:
            self._notes[row, name] = note
        if beyond:
            self._beyond.add((row, name))

    def fail(self, row: Row, name: str, why: str) -> None:
        """There is no number for this, and this is why; what other rounds have measured stays."""
        self._notes[row, name] = f"{why} (in another round)" if self._taken.get((row, name)) else why

    def cells(self) -> Cells:
        """Everything, by row and contender."""
        found: defaultdict[Row, dict[str, Cell]] = defaultdict(dict)
        for row, name in {**self._notes, **self._taken}:
            taken, note = self._taken.get((row, name)), self._notes.get((row, name), "")
            beyond = (row, name) in self._beyond
            found[row][name] = cell(taken, row.part, note, beyond=beyond) if taken else Cell(nan, tries=0, note=note)
        return found
