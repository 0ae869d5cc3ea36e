"""What a run says of itself once a minute, and whether what its agent holds has stayed as it was."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from tests.chaos.life import Figures
from tests.chaos.scene import BrokenError

MORE, ROOM, FILES = 1.10, 8 << 10, 4
"""How much more the second half may hold: a tenth and 8 MiB of memory (ROOM in KiB), and four files: a lane's connections."""
FEW: Final = 4
"""Moments in each half, fewer than which say nothing."""


class Minute(NamedTuple):
    """What a line of the run says."""

    records: int
    mitigations: int
    figures: Figures
    journal: int
    steps: int

    def __str__(self) -> str:
        mib, held = self.journal / (1 << 20), self.figures
        ours = f"{self.records} records  {self.mitigations} in force  journal {mib:.1f} MiB  {self.steps} steps"
        return f"{ours}  RSS {held.rss / 1024:.1f} MiB  {held.files} files  {held.threads} threads  {held.children} children"


def flat(settled: Sequence[Figures]) -> str:
    """Compare the halves of the last process's life by its moments when all was over; a sentence with the figures.

    Raises:
        BrokenError: the second half holds more than the first, beyond what MORE, ROOM and FILES allow.
    """
    half = len(settled) // 2
    if half < FEW:
        return f"too short a run to compare its halves: all was over {len(settled)} times"
    first, second = settled[:half], settled[-half:]
    before, after = (median(one.rss for one in each) for each in (first, second))
    files, more = (max(one.files for one in each) for each in (first, second))
    said = f"memory {before / 1024:.1f} MiB → {after / 1024:.1f} MiB, files {files} → {more}"
    if after > before * MORE + ROOM or more > files + FILES:
        raise BrokenError(f"not flat: {said}")
    return f"flat: {said}"
