"""The real agent reads a log of 10,000 lines/s through every rotation, and is killed again and again: every line once.

    python -m tests.chaos.rotation --minutes 60 --rate 10000

Every line becomes an event, and the agent commits events in one transaction with how far it has read; so its own journal says
what it has read. One line of 10,000 is a finding, too. Root is needed: the agent lives in a network namespace of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from agent.evidence.journal_read import read_only
from tests.chaos.rotating import MARKED, Told
from tests.running import Running

_POLICY: Final = """
policy: marked
severity: P3
owner: sre
mode: dry_run
when: {event: auth.ssh.failure, match: {user: {re: "^marked-"}}, by: user}
then:
  - block_ip: {ip: $src.ip, ttl: 1m}
guard: {max: 100000 per 10m, cooldown: 1s}
"""
_YAML: Final = """
mode: dry_run
ssh_ports: [22022]
limits: {max_active: 100000, max: 100000 per 10m, cooldown: 1s}
sensors:
  auth: {logfile: {path: %s, parsers: [sshd], from_start: true}}
"""
_USER: Final = re.compile(rb'"user":"(?:marked-)?(\d+)"')
_CLONE_NEWNET: Final = 0x40000000
_STUCK: Final = 60.0
"""Seconds without a further line after which what is missing counts as lost."""
_SAY: Final = 60.0


@dataclass
class Read:
    """How often each line stands in the journal, by its number."""

    times: bytearray = field(default_factory=bytearray)
    total: int = 0
    last: int = 0
    """The last row of events that was counted."""

    def count(self, journal: Path) -> int:
        """Count what was committed since; how many lines that were."""
        before = self.total
        if not journal.exists():
            return 0
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=30) as db, suppress(sqlite3.OperationalError):
            for row, body in db.execute("select id, body from events where id > ? order by id", (self.last,)):
                assert self.last in (0, row - 1), f"events between {self.last} and {row} were pruned before they were counted"
                self.last = row
                self._add(_USER.findall(zlib.decompress(body)))
        db.close()
        return self.total - before

    def _add(self, users: list[bytes]) -> None:
        numbers = list(map(int, users))
        short = max(numbers, default=0) + 1 - len(self.times)
        if short > 0:
            self.times += bytes(short + (1 << 16))
        for number in numbers:
            self.times[number] = min(255, self.times[number] + 1)
        self.total += len(numbers)


@dataclass(frozen=True)
class Result:
    """What came of it; `fair` are lines that stood somewhere long enough to be read."""

    told: Told
    seconds: float
    kills: int
    lost: list[int]
    twice: list[int]
    between_read: int
    findings_wrong: dict[str, int]
    problems: tuple[str, ...]
    worst_lag: float
    cpu: float

    @property
    def broken(self) -> list[str]:
        """What did not hold."""
        said = [f"{len(self.lost):,} lost, as {self.lost[:5]}"] if self.lost else []
        said += [f"{len(self.twice):,} read twice, as {self.twice[:5]}"] if self.twice else []
        said += (
            [f"findings that are not there once: {dict(list(self.findings_wrong.items())[:5])}"] if self.findings_wrong else []
        )
        return [*said, *self.problems]

    def __str__(self) -> str:
        told, between = self.told, len(self.told.between)
        ways = ", ".join(f"{times} {way}" for way, times in told.rotations.items())
        rate = told.written / self.seconds
        return "\n".join(
            (
                f"{told.written:,} lines in {self.seconds / 60:.1f} min, {rate:,.0f}/s; kill -9: {self.kills} times",
                f"{sum(told.rotations.values()):,} rotations: {ways}",
                f"{told.written - between:,} lines that stood long enough: {len(self.lost)} lost, {len(self.twice)} twice",
                f"{between:,} only between a copy's end and its truncate: {self.between_read:,} of them were read",
                f"{told.written // MARKED + 1:,} lines were findings: {len(self.findings_wrong)} of them not there exactly once",
                f"a second after it answered again, the agent was {self.worst_lag:.1f} s behind at worst",
                f"CPU for a million lines, each an event, with all those starts: {self.cpu:.1f} s",
            )
        )


class Soak:
    """One run in a directory of its own."""

    def __init__(self, place: Path, rate: int, every: float, lives: tuple[float, float]) -> None:
        self._rate, self._every, self._lives = rate, every, lives
        (place / "log").mkdir(parents=True)
        self._log = place / "log" / "auth.log"
        self.agent = Running(place / "agent", _YAML % self._log, _POLICY)
        self._journal = place / "agent" / "state" / "journal.db"
        self._read, self._kills, self._worst, self._cpu = Read(), 0, 0.0, 0.0

    def run(self, seconds: float) -> Result:
        """All of it."""
        self.agent.start()
        command = [sys.executable, "-m", "tests.chaos.rotating", str(self._log), str(self._rate), str(self._every)]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            began = time.monotonic()
            self._live(began + seconds)
            took = time.monotonic() - began
            told = Told(**json.loads(writer.communicate(timeout=60)[0]))
            self._drain(told)
            self._cpu += self._used()
            self.agent.stop()
            return self._result(told, took)
        finally:
            writer.kill()
            writer.wait()
            self.agent.kill()

    def _live(self, until: float) -> None:
        """Kill and start again, now and then only after a while: then rotations pass unseen."""
        began = said = time.monotonic()
        while (now := time.monotonic()) < until:
            die = min(until, now + random.uniform(*self._lives))
            while time.monotonic() < die:
                time.sleep(min(1.0, max(0.0, die - time.monotonic())))
                self._look(began)
                if time.monotonic() - said > _SAY:
                    said = time.monotonic()
                    self._say(said - began)
            if die == until:
                return
            self._cpu += self._used()
            self.agent.kill()
            self._kills += 1
            time.sleep(random.choice((0.0, 0.1, self._every)))
            self.agent.start()

    def _look(self, began: float) -> None:
        self._read.count(self._journal)
        due = (time.monotonic() - began) * self._rate
        self._worst = max(self._worst, (due - self._read.total) / self._rate)

    def _say(self, seconds: float) -> None:
        twice = len(self._read.times) - self._read.times.count(0) - self._read.times.count(1)
        click.echo(f"{seconds / 60:5.1f} min: {self._read.total:,} lines read, {twice} twice, {self._kills} kills", err=True)

    def _used(self) -> float:
        """CPU seconds of this life of the agent."""
        assert self.agent.process is not None
        fields = Path(f"/proc/{self.agent.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def _drain(self, told: Told) -> None:
        """Until every line that stood somewhere was read, or nothing more comes."""
        stuck = time.monotonic() + _STUCK
        while time.monotonic() < stuck and self._missing(told):
            if self._read.count(self._journal):
                stuck = time.monotonic() + _STUCK
            time.sleep(0.2)
        time.sleep(1.0)  # whatever comes now is too much
        self._read.count(self._journal)

    def _missing(self, told: Told) -> list[int]:
        times, between = self._read.times, set(told.between)
        if len(times) >= told.written and times.count(0, 0, told.written) <= len(between):
            return [number for number in _where(times, 0, told.written) if number not in between]
        return [number for number in range(told.written) if number >= len(times) or (not times[number] and number not in between)]

    def _result(self, told: Told, took: float) -> Result:
        times = self._read.times
        findings = Counter[str]()
        with read_only(self._journal) as reader:
            verdict = reader.verify((self._journal.parent / "signing.vkey").read_text(encoding="ascii").strip())
            after = -1
            while records := reader.records(after, 10_000):
                after = records[-1].seq
                findings.update(str(one.record.body["target"]) for one in records if one.record.kind == "finding")
        between = set(told.between)
        fair = [number for number in range(0, told.written, MARKED) if number not in between]
        wrong = {f"marked-{number}": found for number in fair if (found := findings[f"marked-{number}"]) != 1}
        return Result(
            told,
            took,
            self._kills,
            self._missing(told),
            [number for number, count in enumerate(times) if count > 1],
            sum(times[number] > 0 for number in between if number < len(times)),
            wrong,
            tuple(verdict.problems),
            self._worst,
            self._cpu * 1e6 / max(self._read.total, 1),
        )


def _where(times: bytearray, value: int, end: int) -> list[int]:
    found, at = [], times.find(value, 0, end)
    while at >= 0:
        found.append(at)
        at = times.find(value, at + 1, end)
    return found


def _apart() -> None:
    """Go into a network of our own, which ends with this program: nothing of the machine's can be touched."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)


def main() -> int:
    """Run it; the exit status is 1 where a line was lost or read twice."""
    parser = argparse.ArgumentParser(
        prog="tests.chaos.rotation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two rotations, about")
    parser.add_argument(
        "--lives", type=float, nargs=2, default=(20.0, 40.0), metavar=("FROM", "TO"), help="seconds until a kill -9"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        click.echo("cannot do that: a network namespace needs root", err=True)
        return 2
    _apart()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that an end from outside tidies up, too
    with tempfile.TemporaryDirectory(prefix="rotation-") as place:
        result = Soak(Path(place), options.rate, options.every, tuple(options.lives)).run(60 * options.minutes)
    click.echo(str(result))
    for one in result.broken:
        click.echo(f"BROKEN: {one}")
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
