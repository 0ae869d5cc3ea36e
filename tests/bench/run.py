"""One run of the benchmark: which contender does what, in rounds that take turns so that a busy minute hits all alike."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.bench import measure, table
from tests.bench.contenders import NINE_MORE, Contender, Fail2ban, Floor, Ours, Sshguard
from tests.bench.measure import Cell, percentile
from tests.bench.table import Row

OUT_OF_REACH: Final = 100
"""Failures that make an offender where the noise of 2,000 addresses must stay below."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything. `samples` are of ours; fail2ban, which takes a second for each, gets a fifth, at least four."""

    samples: int = 40
    rounds: int = 2
    busy_seconds: float = 5.0
    a_second: int = 10_000
    burst: int = 1_000
    flood: int = 10_000
    floods: int = 2
    lines: int = 1_000_000
    addresses: int = 50_000
    idle_seconds: float = 10.0
    patience: float = 60.0
    peers: bool = True
    peers_flood: bool = False


QUICK: Final = Sizes(10, 1, 2.0, 10_000, 200, 10_000, 1, 200_000, 10_000, 3.0, 15.0)
LONG: Final = Sizes(100, 4, 10.0, floods=3, patience=600.0, peers_flood=True)


@dataclass
class Bench:
    """The cells so far. `say` hears what is being done; `place` is a directory for everybody's files."""

    sizes: Sizes
    place: Path
    say: Callable[[str], None]
    cells: dict[Row, dict[str, Cell]] = field(default_factory=lambda: defaultdict(dict))
    _number: int = 0

    def run(self) -> None:
        """Everything."""
        self._latency()
        self._bursts()
        self._floods()
        self._costs()

    def _put(self, row: Row, one: Contender, cell: Cell) -> None:
        scale = 1000 if row.unit == "ms" else 1
        self.cells[row][one.name] = replace(cell, value=cell.value * scale, low=cell.low * scale, high=cell.high * scale)

    @contextmanager
    def _contenders(self, *kinds: type[Contender], needed: int = 8) -> Iterator[list[Contender]]:
        """Fresh ones, all running."""
        with ExitStack() as running:
            self._number += 1
            yield [running.enter_context(self._made(kind, needed)) for kind in kinds if self.sizes.peers or kind in (Ours, Floor)]

    def _made(self, kind: type[Contender], needed: int) -> Contender:
        place = self.place / f"{self._number}-{kind.name}"
        return Ours(place, needed, NINE_MORE) if kind is Ours and needed == OUT_OF_REACH else kind(place, needed)

    def _latency(self) -> None:
        sizes = self.sizes
        with self._contenders(Ours, Fail2ban, Sshguard, Floor) as all_of_them:
            self.say(f"idle for {sizes.idle_seconds:g} s")
            time.sleep(1.0)
            watched = [(one, measure.idle(one, sizes.idle_seconds)) for one in all_of_them]
            for one, answer in watched:
                part, memory = answer()
                self._put(table.IDLE_CPU, one, Cell(part))
                self._put(table.IDLE_RSS, one, Cell(memory))
            taken = defaultdict[Contender, list[float]](list)
            for one in all_of_them * sizes.rounds:
                times = sizes.samples if one.name != "fail2ban" else max(4, sizes.samples // 5)
                self.say(f"{one.name}: {times // sizes.rounds} lines, one after another")
                taken[one] += measure.idle_latency(one, times // sizes.rounds)
            for one in all_of_them:
                self.say(f"{one.name}: the same among {sizes.a_second:,} lines/s")
                busy, note = measure.busy_latency(one, sizes.busy_seconds, sizes.a_second, 20)
                for part, quiet, loud in ((0.5, table.IDLE_50, table.BUSY_50), (0.95, table.IDLE_95, table.BUSY_95)):
                    self._put(quiet, one, percentile(taken[one], part))
                    self._put(loud, one, percentile(busy, part, f"{one.name}: {note}" if "never" in note else ""))
                self._check(one)
                if status := one.status():
                    self._put(table.STATUS, one, measure.command(status, 5))

    def _check(self, one: Contender) -> None:
        """Our promise, without which our numbers would be worth nothing."""
        if isinstance(one, Ours) and (late := measure.late_intents(one)):
            raise AssertionError(f"{len(late)} addresses were dropped before their intent was durable, as {late[0]}")

    def _bursts(self) -> None:
        sizes = self.sizes
        for kind in (Ours, Floor, Sshguard, Fail2ban):
            with self._contenders(kind) as running:
                for one in running:
                    self._burst(one, sizes.burst, table.BURST, table.BURST_PROVEN)
                    if one.name in table.PEERS:
                        self._survive(one, f"with {sizes.burst:,} blocks instead of {sizes.flood:,}")

    def _floods(self) -> None:
        sizes = self.sizes
        kinds = (Ours, Floor) * sizes.floods + ((Sshguard, Fail2ban) if sizes.peers_flood else ())
        taken = defaultdict[tuple[Row, str], list[Cell]](list)
        for kind in kinds:
            with self._contenders(kind) as running:
                for one in running:
                    self._burst(one, sizes.flood, table.FLOOD, table.FLOOD_PROVEN)
                    if one.name != "floor":
                        self._survive(one, "")
                    for row in _REPEATED:
                        if one.name in self.cells[row]:
                            taken[row, one.name].append(self.cells[row][one.name])
        for (row, name), tries in taken.items():
            self.cells[row][name] = replace(percentile([each.value for each in tries], 0.5), note=tries[-1].note)

    def _burst(self, one: Contender, size: int, dropped: Row, proven: Row) -> None:
        self.say(f"{one.name}: {size:,} offenders at once")
        seconds, count, recorded = measure.burst(one, size, self.sizes.patience)
        note = f"with {size:,} instead of 1,000" if dropped is table.BURST and size != 1000 else ""
        note = note if count == size else f"{one.name}: {count:,} of {size:,}, then no more came"
        self._put(dropped, one, Cell(seconds, note=note))
        if isinstance(one, Ours):
            self._put(proven, one, Cell(recorded, note=note))
            self._check(one)

    def _survive(self, one: Contender, note: str) -> None:
        """Status, restart and an outside flush, with everything in force."""
        whole, patience = len(one.ears.held), self.sizes.patience / 6
        if status := one.status():
            self._put(table.STATUS_MANY, one, replace(measure.command(status, 5), note=note))
        self.say(f"{one.name}: restart with {whole:,} blocks")
        bare, back = measure.restart(one, patience)
        self._put(table.RESTART_OPEN, one, Cell(bare, note=note))
        self._put(table.RESTART_BACK, one, Cell(back, note=note))
        if len(one.ears.held) < whole:
            measure.burst(one, self.sizes.burst, self.sizes.patience)
        self.say(f"{one.name}: nft flush ruleset with {len(one.ears.held):,} blocks")
        self._put(table.FLUSH, one, Cell(measure.flush(one, patience / 2)[0], note=note))

    def _costs(self) -> None:
        sizes = self.sizes
        with self._contenders(Ours, Fail2ban, Sshguard, Floor, needed=OUT_OF_REACH) as all_of_them:
            for one in all_of_them:
                lines = sizes.lines // (10 if one.name in table.PEERS else 1)
                self.say(f"{one.name}: {lines:,} lines")
                self._put(table.CPU, one, Cell(measure.cpu_per_million(one, lines), note=_RULES if one.name == "ours" else ""))
            for one in all_of_them:
                if one.name not in table.PEERS:
                    self._put(table.READ, one, Cell(measure.read_per_million(one), note=_MERELY))
            for one in all_of_them:
                if one.name != "sshguard":  # walks its list of addresses for each line: hours
                    self.say(f"{one.name}: {sizes.addresses:,} addresses")
                    note = f"after {sizes.addresses:,} instead of 50,000" if sizes.addresses != 50_000 else ""
                    self._put(table.SEEN_RSS, one, Cell(measure.memory_after(one, sizes.addresses), note=note))


_RULES: Final = "ours: ten policies; fail2ban: its sshd jail alone; the floor: one pattern; the peers read a tenth, scaled up"
_MERELY: Final = "ours: by what follows a log through its rotations; the floor: read(2) and a count of newlines"
_REPEATED: Final = (table.FLOOD, table.FLOOD_PROVEN, table.RESTART_OPEN, table.RESTART_BACK, table.FLUSH, table.STATUS_MANY)
