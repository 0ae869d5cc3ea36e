"""One run: how much of everything, who takes part in which order, and what was measured or went wrong."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from tests.bench import rows
from tests.bench.contender import BrokenPromise, Contender, Task
from tests.bench.measure import late_intents
from tests.bench.ours import Ours
from tests.bench.rows import PEERS, Row
from tests.bench.tries import Tries

FAILS: Final = (AssertionError, OSError, subprocess.SubprocessError)
"""What goes wrong with one contender, and is told in its cells while the others go on."""
C = TypeVar("C", bound=Contender)


@dataclass(frozen=True)
class Sizes:
    """How much of everything, times in seconds. `patience` is for slow answers, `peers_flood` for 10,000 blocks of a peer."""

    samples: int = 30
    rounds: int = 2
    busy_seconds: float = 4.0
    a_second: int = 10_000
    burst: int = 1_000
    flood: int = 10_000
    floods: int = 3
    lines: int = 1_000_000
    addresses: int = 50_000
    idle_seconds: float = 30.0
    patience: float = 45.0
    peers_flood: float = 80.0
    events: int = 50_000
    asked_seconds: float = 15.0
    appends: int = 300
    peers: bool = True
    within: float = 840.0
    """When so much time has gone by, no peer's flood and no further round is begun."""


QUICK: Final = Sizes(
    8, 1, 2.0, burst=200, floods=1, lines=200_000, addresses=10_000, idle_seconds=5.0, patience=20.0, peers_flood=0.0,
    events=10_000, asked_seconds=10.0, appends=100, within=240.0,
)  # fmt: skip
LONG: Final = Sizes(100, 4, 10.0, floods=4, patience=120.0, peers_flood=600.0, within=7200.0)


@dataclass
class Bench:
    """`say` hears what is being done; `place` is a directory for everybody's files; only rows of these `keys` are kept."""

    sizes: Sizes
    place: Path
    say: Callable[[str], None]
    keys: frozenset[str] = frozenset(rows.KEYS)
    tries: Tries = field(default_factory=Tries)
    _began: float = field(default_factory=time.monotonic)
    _numbers: Iterator[int] = field(default_factory=count)

    def wants(self, *asked: Row) -> bool:
        """Whether any of these is wanted."""
        return any(row.key in self.keys for row in asked)

    def put(self, row: Row, name: str, *values: float, note: str = "", beyond: bool = False) -> None:
        """What was measured, times in seconds."""
        if self.wants(row):
            self.tries.put(row, name, *values, note=note, beyond=beyond)

    def fail(self, name: str, asked: Iterable[Row], why: str) -> None:
        """Why there is no number."""
        for row in asked:
            if self.wants(row) and name not in row.without:
                self.tries.fail(row, name, f"{name}: {why}")

    def late(self) -> bool:
        """Whether nothing that can wait is to be begun any more."""
        return time.monotonic() - self._began > self.sizes.within

    def new(self, name: str) -> Path:
        """A directory that is not there yet."""
        return self.place / f"{next(self._numbers)}-{name}"

    def kinds(self, every: Iterable[type[C]], asked: Sequence[Row]) -> list[type[C]]:
        """Those that are installed; the cells of the others say what is missing."""
        here = []
        for kind in every:
            if kind.name in PEERS and not self.sizes.peers:
                continue
            lacking = [package for program, package in kind.wants if not (shutil.which(program) or Path(program).exists())]
            if lacking:
                self.fail(kind.name, asked, f"not installed: {' '.join(lacking)}")
            else:
                here.append(kind)
        return here

    def turns(self, every: Iterable[type[C]], asked: Sequence[Row], times: int) -> Iterator[type[C]]:
        """Each in turn, so many rounds, each round begun by another."""
        here = self.kinds(every, asked) if self.wants(*asked) else []
        for at in range(times):
            if at and self.late():
                return
            yield from (here[(at + n) % len(here)] for n in range(len(here)))

    def attempt(self, one: C, asked: Sequence[Row], work: Callable[[C], None]) -> None:
        """Run it, and do this with it. What goes wrong stands in the cells that it was to fill.

        Raises:
            BrokenPromise: ours was quick in a way that it must not be.
        """
        try:
            with one:
                work(one)
                keeps_promises(one)
        except FAILS as error:
            self.fail(one.name, asked, why(error))

    def alone(self, kind: type[C], asked: Sequence[Row], task: Task, work: Callable[[C], None]) -> None:
        """The same with a fresh one."""
        try:
            one = kind(self.new(kind.name), task)
        except FAILS as error:
            self.fail(kind.name, asked, why(error))
        else:
            self.attempt(one, asked, work)


def keeps_promises(one: Contender) -> None:
    """Our promise, without which our numbers would be worth nothing: no drop before its intent is durable."""
    if isinstance(one, Ours) and (late := late_intents(one)):
        raise BrokenPromise(f"{len(late)} addresses were dropped before their intent was durable, as {late[0]}")


def why(error: BaseException) -> str:
    """One line of it."""
    return " ".join(str(error).split())[:300] or type(error).__name__
