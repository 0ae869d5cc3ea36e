"""The rows about what watching costs: lines, addresses, policies, checks, records."""

from __future__ import annotations

from typing import Final

from tests.bench import rows
from tests.bench.appends import append_times
from tests.bench.asking import Asker, FloorAsker, Monit, OurAsker, cpu_per_thousand, late_by
from tests.bench.bench import Bench
from tests.bench.blocking import ALL
from tests.bench.contender import Contender, Task
from tests.bench.costs import cpu_per_event, cpu_per_million, memory_after, read_per_million, time_per_million
from tests.bench.peers import Sshguard
from tests.bench.rows import PEERS

OUT_OF_REACH: Final = 100
"""Failures that make an offender where the noise of 2,000 addresses must stay below."""
_SHARE: Final = {"fail2ban": 50, "CrowdSec": 10}
"""Which part of the events a peer gets where each goes through 100 policies; told per event, it makes no difference."""
_RULES: Final = "peers: one rule each, a tenth of the lines, scaled up; ours with ten policies"
_MERELY: Final = "ours: by what follows a log through its rotations; the floor: read(2) and a count of newlines"
_HUNDRED: Final = (
    "100 policies, CrowdSec scenarios or fail2ban jails that all count the same failures by address; "
    "each jail reads for itself, and polls, since a user has 128 inotify instances"
)
_CYCLES: Final = "each port every 5 s, whatever else is done meanwhile included"


def lines(bench: Bench) -> None:
    """A lively log, and one that waited."""
    asked = (rows.SPEED, rows.CPU, rows.READ)

    def work(one: Contender) -> None:
        many, note = bench.sizes.lines // (10 if one.name in PEERS else 1), _RULES if one.name in PEERS else ""
        bench.say(f"{one.name}: {many:,} lines")
        bench.put(rows.CPU, one.name, cpu_per_million(one, many), note=note)
        if bench.wants(rows.SPEED):
            bench.put(rows.SPEED, one.name, time_per_million(one, many), note=note)
        if one.name not in PEERS:
            bench.put(rows.READ, one.name, read_per_million(one), note=_MERELY)

    for kind in bench.turns(ALL, asked, bench.sizes.rounds):
        bench.alone(kind, asked, Task(OUT_OF_REACH, other=True), work)


def memory(bench: Bench) -> None:
    """What remembering many addresses takes."""
    many = bench.sizes.addresses
    note = f"after {many:,} instead of 50,000" if many != 50_000 else ""

    def work(one: Contender) -> None:
        bench.say(f"{one.name}: {many:,} addresses")
        bench.put(rows.SEEN_RSS, one.name, memory_after(one, many), note=note)

    for kind in bench.turns([one for one in ALL if one is not Sshguard], [rows.SEEN_RSS], 1):
        bench.alone(kind, [rows.SEEN_RSS], Task(OUT_OF_REACH), work)


def policies(bench: Bench) -> None:
    """A hundred of them that all look at the same event."""

    def work(one: Contender) -> None:
        many = bench.sizes.events // _SHARE.get(one.name, 1)
        bench.say(f"{one.name}: {many:,} events against 100 policies")
        bench.put(rows.POLICIES, one.name, cpu_per_event(one, many), note=_HUNDRED)

    for kind in bench.turns([one for one in ALL if one is not Sshguard], [rows.POLICIES], bench.sizes.rounds):
        bench.alone(kind, [rows.POLICIES], Task(OUT_OF_REACH, same=100), work)


def checks(bench: Bench) -> None:
    """Services that answer, and one that does not."""
    kinds: tuple[type[Asker], ...] = (OurAsker, Monit, FloorAsker)

    def thousand(one: Asker) -> None:
        bench.say(f"{one.name}: 1,000 TCP checks")
        bench.put(rows.CHECKS, one.name, cpu_per_thousand(one, bench.sizes.asked_seconds), note=_CYCLES)

    def hung(one: Asker) -> None:
        bench.say(f"{one.name}: one of 20 checks hangs")
        bench.put(rows.HUNG, one.name, late_by(one, max(30.0, bench.sizes.asked_seconds)))

    for kind in bench.turns(kinds, [rows.CHECKS], bench.sizes.rounds):
        bench.attempt(kind(bench.new(kind.name), 1000, 5.0), [rows.CHECKS], thousand)
    for kind in bench.turns(kinds[:2], [rows.HUNG], 1):
        bench.attempt(kind(bench.new(kind.name), 19, 5.0, hung=True), [rows.HUNG], hung)


def journal(bench: Bench) -> None:
    """Durable records one by one and by the hundred; the three who write take turns, commit by commit."""
    if not bench.wants(rows.APPEND):
        return
    bench.say("journal appends")
    for size, sqlite, file in ((1, rows.APPEND, rows.APPEND_FILE), (100, rows.APPENDS, rows.APPENDS_FILE)):
        for _ in range(bench.sizes.rounds):
            taken = append_times(bench.new("journal"), bench.sizes.appends // (1 if size == 1 else 5), size)
            for row, floor in ((sqlite, "sqlite"), (file, "file")):
                bench.put(row, "ours", taken["ours"])
                bench.put(row, "floor", taken[floor])
