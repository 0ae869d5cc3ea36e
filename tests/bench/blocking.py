"""The rows about blocking: one line, many offenders, and what must survive a restart and somebody else's flush."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tests.bench import rows
from tests.bench.bench import FAILS, Bench, keeps_promises, why
from tests.bench.contender import Contender, Task
from tests.bench.costs import idle
from tests.bench.crowdsec import Crowdsec
from tests.bench.measure import burst, busy_latency, command, flush, idle_latency, restart
from tests.bench.ours import Floor, Ours
from tests.bench.peers import Fail2ban, Sshguard
from tests.bench.rows import Row

ALL: Final[tuple[type[Contender], ...]] = (Ours, Fail2ban, Crowdsec, Sshguard, Floor)
_AT_ONCE: Final = (rows.IDLE_CPU, rows.IDLE_RSS, rows.IDLE_50, rows.IDLE_95, rows.STATUS)


def quiet(bench: Bench) -> None:
    """All of them at once: at rest, then an offender for each in its turn, then their status commands in turns."""
    with ExitStack() as running:
        here: list[Contender] = []
        for kind in bench.kinds(ALL, _AT_ONCE) if bench.wants(*_AT_ONCE) else ():
            try:
                here.append(running.enter_context(kind(bench.new(kind.name), Task(other=True))))
            except FAILS as error:
                bench.fail(kind.name, _AT_ONCE, why(error))
        if here and bench.wants(rows.IDLE_CPU):
            _idle(bench, here)
        if here and bench.wants(rows.IDLE_50):
            bench.say(f"{bench.sizes.samples} lines for each, one after another")
            for name, taken in idle_latency(here, bench.sizes.samples).items():
                bench.put(rows.IDLE_50, name, *taken)
                bench.put(rows.IDLE_95, name, *taken)
        if here and bench.wants(rows.STATUS):
            bench.say("status commands")
            for one in here * 10:
                _status(bench, one, rows.STATUS)
        for one in here:
            keeps_promises(one)


def _idle(bench: Bench, here: Sequence[Contender]) -> None:
    bench.say(f"idle for {bench.sizes.idle_seconds:g} s")
    time.sleep(3.0)
    watched = [(one, idle(one, bench.sizes.idle_seconds)) for one in here]
    for one, answer in watched:
        part, memory = answer()
        note = "ours with ten policies; the others with one rule each" if one.name == "ours" else ""
        bench.put(rows.IDLE_CPU, one.name, part, note=note)
        bench.put(rows.IDLE_RSS, one.name, memory, note=note)


def load(bench: Bench) -> None:
    """Each alone, among many lines of others."""
    sizes, asked = bench.sizes, (rows.BUSY_50, rows.BUSY_95)

    def work(one: Contender) -> None:
        bench.say(f"{one.name}: offenders among {sizes.a_second:,} lines/s")
        taken, note = busy_latency(one, sizes.busy_seconds, sizes.a_second, sizes.patience)
        for row in asked:
            bench.put(row, one.name, *taken, note=note)

    for kind in bench.turns(ALL, asked, sizes.rounds):
        bench.alone(kind, asked, Task(), work)


@dataclass(frozen=True)
class _Made:
    """The rows that so many offenders fill."""

    dropped: Row
    proven: Row
    open: Row
    back: Row
    new: Row
    flush: Row
    status: Row

    @property
    def survived(self) -> tuple[Row, ...]:
        """What is asked once all are held."""
        return (self.open, self.back, self.new, self.flush, self.status)

    @property
    def asked(self) -> tuple[Row, ...]:
        """What everybody is asked."""
        return (self.dropped, *self.survived)


_THOUSAND: Final = _Made(
    rows.BURST, rows.BURST_PROVEN, rows.RESTART_OPEN, rows.RESTART_BACK, rows.RESTART_NEW, rows.FLUSH, rows.STATUS_MORE
)  # fmt: skip
_MANY: Final = _Made(
    rows.FLOOD, rows.FLOOD_PROVEN, rows.FLOOD_OPEN, rows.FLOOD_BACK, rows.FLOOD_NEW, rows.FLOOD_FLUSH, rows.STATUS_MANY
)  # fmt: skip


def bursts(bench: Bench) -> None:
    """Many offenders at once, then what must survive with them in force."""
    sizes = bench.sizes
    note = "" if sizes.burst == 1_000 else f"with {sizes.burst:,} instead of 1,000"

    def work(one: Contender) -> None:
        if _burst(bench, one, sizes.burst, sizes.patience, _THOUSAND, note):
            _survive(bench, one, sizes.patience / 2, _THOUSAND, note)

    for kind in bench.turns(ALL, _THOUSAND.asked, sizes.rounds):
        bench.alone(kind, _THOUSAND.asked, Task(), work)


def floods(bench: Bench) -> None:
    """The same with ten times as many; who needs minutes for that gets one round, and only as much patience as there is."""
    sizes, asked = bench.sizes, _MANY.asked

    def work(one: Contender) -> None:
        patience = 30.0 if one.name in ("ours", "floor") else sizes.peers_flood
        if _burst(bench, one, sizes.flood, patience, _MANY, ""):
            _survive(bench, one, min(patience, sizes.patience), _MANY, "")

    for kind in bench.turns((Ours, Floor), asked, sizes.floods):
        bench.alone(kind, asked, Task(), work)
    for kind in bench.turns((Crowdsec, Fail2ban, Sshguard), asked, 1):
        if not sizes.peers_flood or bench.late():
            because = "takes minutes: not with --quick" if not sizes.peers_flood else "no time was left for it"
            bench.fail(kind.name, asked, because)
        else:
            bench.alone(kind, asked, Task(), work)


def _burst(bench: Bench, one: Contender, size: int, patience: float, made: _Made, note: str) -> bool:
    """Whether all are held now."""
    bench.say(f"{one.name}: {size:,} offenders at once")
    done = burst(one, size, patience)
    if done.count < size:
        note = f"{one.name}: {done.count:,} of {size:,} " + (f"after {patience:g} s" if done.cut else "and then no more")
        bench.fail(one.name, made.survived, f"did not hold {size:,}")
    bench.put(made.dropped, one.name, done.seconds, note=note, beyond=done.cut)
    if one.name == "ours":
        bench.put(made.proven, one.name, done.proven, note=note)
    return done.count == size


def _survive(bench: Bench, one: Contender, patience: float, made: _Made, note: str) -> None:
    """Status, restart and an outside flush, with everything in force."""
    whole = len(one.ears.held)
    if bench.wants(made.status):
        for _ in range(5):
            _status(bench, one, made.status, note)
    if bench.wants(made.open):
        bench.say(f"{one.name}: restart with {whole:,} blocks")
        done = restart(one, patience)
        for row, value in ((made.open, done.bare), (made.back, done.back), (made.new, done.new)):
            bench.put(row, one.name, value, note=note)
        if bench.wants(made.flush) and len(one.ears.held) < whole:
            burst(one, whole, patience)
    if bench.wants(made.flush):
        bench.say(f"{one.name}: nft flush ruleset with {len(one.ears.held):,} blocks")
        bench.put(made.flush, one.name, flush(one), note=note)


def _status(bench: Bench, one: Contender, row: Row, note: str = "") -> None:
    if not (words := one.status()):
        return
    if one.name == "CrowdSec" and row is not rows.STATUS:
        note = "CrowdSec: `cscli decisions list` shows the first 100"
    try:
        bench.put(row, one.name, one.namespace.run(lambda: command(words)), note=note)
    except FAILS as error:
        bench.fail(one.name, [row], why(error))
