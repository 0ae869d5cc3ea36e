"""Lines that would keep an expression busy: what is searched in process stays quick, and what is searched apart is given up."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.fail2ban.apart import Apart, Child, Limits
from agent.fail2ban.filters import WHERE, load
from agent.fail2ban.judge import Judge, Line, Verdict
from agent.fail2ban.reading import Reading, trouble
from agent.fail2ban.risk import QUICK
from tests.fail2ban.asking import NOW, need_fail2ban, samples
from tests.fail2ban.worst import in_process, worst

HEAD = "[] [error] [client 203.0.113.7] ModSecurity: "
HOSTILE = HEAD + '[rev "1"] ' * 60
GOOD = HEAD + "Access denied with code 403 (phase 2)"
MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def package() -> None:
    need_fail2ban()


@dataclass
class Place:
    """A process of one test's own, and a filter that needs it."""

    child: Child

    def judge(self, name: str = "apache-modsecurity") -> tuple[Judge, Apart]:
        rules = load(WHERE, name).rules
        apart = Apart(rules.search, self.child, Limits(0.3, 0.02, 0.3, 1.0))
        return Judge(rules, apart), apart


@pytest.fixture
def place() -> Iterator[Place]:
    child = Child(hung=1.0)
    child.join(-1)
    yield Place(child)
    child.leave(-1)


def line(text: str) -> Line:
    return Line(text, text)


def ended(pid: int, within: float) -> bool:
    watched = os.pidfd_open(pid)
    try:
        return bool(select.select([watched], [], [], within)[0])
    finally:
        os.close(watched)


def failures(judge: Judge, *texts: str) -> list[bool]:
    return [judged.verdict is Verdict.FAILURE for judged in judge.each([line(text) for text in texts], NOW)]


def test_no_line_that_a_search_finds_keeps_an_expression_in_process_busy() -> None:
    found = [(*worst(one, samples(one.spec.partition("[")[0]), 40), one.spec) for one in in_process()]

    assert len(found) > 35
    assert [(milliseconds, spec, text) for milliseconds, text, spec in found if milliseconds > 50] == []


def test_an_unrisky_filter_searches_its_longer_lines_apart(place: Place) -> None:
    long = "Failed publickey for invalid user a from ::1 on " + "x" * QUICK + " from "
    judge = Judge(load(WHERE, "sshd").rules, apart := Apart(load(WHERE, "sshd").rules.search, child=place.child), QUICK)
    good = "db1 sshd[1]: Failed password for root from 203.0.113.7 port 22 ssh2"

    assert failures(judge, good) == [True]
    assert place.child.pid is None
    assert failures(
        judge, good, long, "db1 sshd[1]: Failed password for root from 203.0.113.7 port 22 ssh2" + " " * QUICK, good
    ) == [
        True,
        False,
        True,
        True,
    ]
    assert place.child.pid is not None
    assert apart.slow == 0


def test_a_line_that_would_take_minutes_is_given_up_and_the_others_of_its_chunk_are_judged(place: Place) -> None:
    judge, apart = place.judge()
    assert failures(judge, GOOD) == [True]
    pid = place.child.pid

    assert failures(judge, GOOD, HOSTILE, GOOD) == [True, False, True]
    assert (apart.slow, apart.skipped, place.child.pid) == (1, 0, pid)


def test_who_takes_long_again_and_again_rests_is_told_and_keeps_nobody_waiting(place: Place) -> None:
    hostile, apart = place.judge()
    honest, other = place.judge("dovecot")
    assert failures(honest, *samples("dovecot")[:1]) == failures(honest, *samples("dovecot")[:1])
    began = time.monotonic()
    flood = threading.Thread(target=failures, args=(hostile, *[HOSTILE] * 1000))
    flood.start()

    waits = []
    while flood.is_alive():
        asked = time.monotonic()
        failures(honest, samples("dovecot")[0])
        waits.append(time.monotonic() - asked)
    flood.join(60)

    assert time.monotonic() - began < 60
    assert apart.resting
    assert apart.slow + apart.skipped == 1000
    assert 10 < apart.slow < 100
    assert (other.slow, other.skipped, other.resting) == (0, 0, False)
    assert len(waits) > 10


def test_trouble_is_told_in_words_that_do_not_change_with_each_line() -> None:
    reading = Reading(load(WHERE, "apache-modsecurity"), "x")
    reading.apart.slow, reading.apart.skipped, reading.too_long = 3, 4711, 1

    said = trouble([reading])

    assert said == (
        "fail2ban's filters did not look at 1 line longer than 4096 bytes; "
        "given up, as they took too long: 3 lines by apache-modsecurity; "
        "not looked at, as others had taken too long in the same minute: 4000 lines and more by apache-modsecurity"
    )


def test_a_process_that_hangs_is_ended_no_line_is_lost_by_it_and_what_a_connection_said_stays(place: Place) -> None:
    rules = load(WHERE, "sshd").rules
    judge = Judge(rules, apart := Apart(rules.search, place.child, Limits(patience=0.3)))
    begun = "db1 sshd[77]: Connection from 203.0.113.7 port 4711 on 192.0.2.1 port 22"
    over = "db1 sshd[77]: Disconnecting: Too many authentication failures for root [preauth]"
    assert failures(judge, begun) == [False]
    pid = place.child.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    (found,) = judge.each([line(over)], NOW)

    assert (found.verdict, found.address) == (Verdict.FAILURE, "203.0.113.7")
    assert place.child.pid != pid
    assert apart.slow == 0


def test_a_process_that_is_killed_is_started_again_once_a_second_at_most(place: Place) -> None:
    judge, apart = place.judge()
    began, starts = time.monotonic(), set[int]()
    for _ in range(2):
        assert failures(judge, GOOD) == [True]
        assert place.child.pid is not None
        starts.add(place.child.pid)
        os.kill(place.child.pid, signal.SIGKILL)
        assert ended(place.child.pid, 10)

    assert len(starts) == 2
    assert time.monotonic() - began > 1
    assert apart.slow == 0


def test_it_is_small_and_its_memory_has_an_end(place: Place) -> None:
    judge, _ = place.judge()
    failures(judge, GOOD, HOSTILE)

    status = Path(f"/proc/{place.child.pid}/status").read_text()
    limits = Path(f"/proc/{place.child.pid}/limits").read_text()

    kilobytes = int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmRSS")))
    assert kilobytes < 20_000
    space = next(row.split()[3] for row in limits.splitlines() if row.startswith("Max address space"))
    assert int(space) <= 128 * MEGABYTE


def test_it_ends_with_the_agent_even_in_the_middle_of_a_line() -> None:
    code = (
        "import sys; from agent.fail2ban.apart import *; from agent.fail2ban.filters import *; import threading\n"
        f"apart = Apart(load({WHERE!r}, 'apache-modsecurity').rules.search, limits=Limits(1.0))\n"
        f"apart.told([[{GOOD!r}]]); threading.Thread(target=apart.told, args=([[{HOSTILE!r}]],)).start()\n"
        "print(CHILD.pid, flush=True); sys.stdin.read()"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        agent.kill()
        agent.wait(10)

        assert ended(pid, 30)


def test_it_ends_when_the_last_filter_needs_it_no_more() -> None:
    child = Child()
    first, second = (Apart(load(WHERE, name).rules.search, child=child) for name in ("dovecot", "apache-modsecurity"))
    first.told([["x"]])
    pid = child.pid
    assert pid is not None

    first.close()
    assert not ended(pid, 0)
    second.close()

    assert child.pid is None
    assert not Path(f"/proc/{pid}").exists()
