"""Filters in the sensors: events, positions, what is held over a kill, and lines that would keep an expression busy."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.event import Event
from agent.fail2ban.filters import WHERE, load
from agent.fail2ban.journal import Journal as Entries
from agent.fail2ban.reading import LONGEST, Reading
from agent.sensors.journald import Journald
from agent.sensors.logfile import Logfile
from agent.streams.sensor import Batch
from tests.fail2ban.asking import NOW, need_fail2ban
from tests.sensors.conftest import Journal, Start, journal, start

__all__ = ["journal", "start"]

FAILED = "Nov 23 06:00:01 db1 sshd[812]: Failed password for {} from 203.0.113.7 port 22 ssh2\n"
MONGO = (
    "2016-11-20T00:04:00.110+0100 [conn{0}] Failed to authenticate root@admin with mechanism X\n",
    "2016-11-20T00:04:00.111+0100 [conn9] something else\n",
    "2016-11-20T00:04:00.111+0100 [conn{0}] end connection 203.0.113.{0}:53276 (0 connections now open)\n",
)
MANY = """[Definition]
failregex = ^conn=(?P<_c>\\d+) from <HOST><SKIPLINES>^conn=(?P=_c) refused (?:<F-WHY>\\w+</F-WHY>)$
datepattern = {NONE}
maxlines = 5
"""


@pytest.fixture(autouse=True)
def package() -> None:
    need_fail2ban()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "auth.log"
    path.write_text("")
    return path


@pytest.fixture
def many(tmp_path: Path) -> str:
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "filter.d/many.conf").write_text(MANY)
    return str(tmp_path / "filter.d")


def add(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(lines))


def failures(batch: Batch) -> list[Event]:
    return [event for event in batch.events if event.kind == "fail2ban.failure"]


def test_a_filter_makes_events_beside_a_parser_in_the_order_of_the_lines(log: Path, start: Start) -> None:
    running = start(Logfile(path=str(log), parsers=("sshd",), filters=("sshd[mode=aggressive]",)))
    running.batches.get(timeout=30)

    add(log, FAILED.format("a"), FAILED.format("b"))
    batch = running.next("fail2ban.failure")

    kinds = [(event.kind, event.fields["user"]) for event in batch.events]
    assert kinds[::2] == [("auth.ssh.failure", "a"), ("auth.ssh.failure", "b")]
    assert kinds[1::2] == [("fail2ban.failure", "a"), ("fail2ban.failure", "b")]
    (first, _) = failures(batch)
    assert first.fields == {"filter": "sshd[mode=aggressive]", "id": "203.0.113.7", "src.ip": "203.0.113.7", "user": "a"}
    assert first.forgeable
    assert first.raw == FAILED.format("a").rstrip()
    assert time.strftime("%m-%d %H:%M:%S", time.localtime(first.ts)) == "11-23 06:00:01"


def test_lines_held_by_a_filter_over_several_survive_a_kill(log: Path, many: str, start: Start) -> None:
    sensor = Logfile(path=str(log), filters=("many",), filters_dir=many)
    first = start(sensor)
    first.batches.get(timeout=30)
    add(log, "conn=1 from 203.0.113.1\n", "conn=2 from 203.0.113.2\n", "conn=1 refused one\n")
    batch = first.next("fail2ban.failure")
    first.stop()
    add(log, "conn=2 refused two\n")

    again = start(sensor, batch.position).next("fail2ban.failure")

    assert [event.fields["id"] for event in failures(batch)] == ["203.0.113.1"]
    assert [(event.fields["id"], event.fields["f.why"]) for event in failures(again)] == [("203.0.113.2", "two")]
    assert failures(again)[0].raw == "conn=2 from 203.0.113.2\nconn=2 refused two"
    assert "conn" not in batch.position.replace(str(log), "")


def test_a_kill_at_any_line_neither_loses_nor_repeats_what_several_lines_say(log: Path, many: str) -> None:
    lines = [f"conn={at % 3} {'from 203.0.113.' + str(at % 3) if at % 7 < 4 else 'refused w' + str(at)}\n" for at in range(60)]
    one = load(many, "many")
    whole = [event.fields["f.why"] for _, event in Reading(one, "x").found("".join(lines).encode(), NOW)]

    for cut in range(1, 60):
        before, after = "".join(lines[:cut]).encode(), "".join(lines[cut:]).encode()
        first, second = Reading(one, "x"), Reading(one, "x")
        found = first.found(before, NOW)
        held = first.held(NOW)
        if held:
            second.hold_again(json.loads(json.dumps(held)), lambda size, before=before: before[-size:], NOW)  # type: ignore[misc]
        found += second.found(after, NOW)

        assert [event.fields["f.why"] for _, event in found] == whole

    assert len(whole) > 5


def test_what_a_connection_said_before_a_kill_counts_after_it() -> None:
    one = load(WHERE, "sshd")
    begun = b"Nov 23 06:00:01 db1 sshd[77]: Connection from 203.0.113.7 port 4711 on 192.0.2.1 port 22\n"
    ended = b"Nov 23 06:00:02 db1 sshd[77]: Disconnecting: Too many authentication failures for root [preauth]\n"
    first, second, stranger = Reading(one, "x"), Reading(one, "x"), Reading(one, "x")
    first.found(begun, NOW)
    held = first.held(NOW)
    assert held is not None

    second.hold_again(held, lambda size: begun[-size:], NOW)
    stranger.hold_again(held, lambda size: b"other text".ljust(size)[:size], NOW)

    assert [event.fields["src.ip"] for _, event in second.found(ended, NOW)] == ["203.0.113.7"]
    assert stranger.found(ended, NOW) == []


def test_mongodbs_lines_in_pieces_give_what_they_give_at_once() -> None:
    text = "".join(line.format(at) for at in range(1, 6) for line in MONGO).encode()
    one, reading = load(WHERE, "mongodb-auth"), Reading(load(WHERE, "mongodb-auth"), "x")

    at_once = [event.fields["id"] for _, event in Reading(one, "x").found(text, NOW)]
    by_line = [event.fields["id"] for line in text.splitlines(keepends=True) for _, event in reading.found(line, NOW)]

    assert at_once == by_line == [f"203.0.113.{at}" for at in range(1, 6)]


def test_a_line_longer_than_4_kib_is_counted_and_not_looked_at() -> None:
    reading = Reading(load(WHERE, "sshd"), "x")

    found = reading.found((FAILED.format("x" * LONGEST) + FAILED.format("y")).encode(), NOW)

    assert [event.fields["user"] for _, event in found] == ["y"]
    assert reading.too_long == 1


def test_a_host_name_is_no_address_and_no_failure() -> None:
    line = "Nov 23 06:00:01 db1 sshd[1]: Failed password for root from scanner.example.com port 22 ssh2\n"

    assert Reading(load(WHERE, "sshd"), "x").found(line.encode(), NOW) == []


def test_the_journal_is_read_by_what_journalmatch_says(journal: Journal, start: Start) -> None:
    sensor = Journald(filters=('sshd[journalmatch="_COMM=sshd"]',), directory=str(journal.directory))
    running = start(sensor)
    running.batches.get(timeout=30)

    journal.say(b"Failed password for other from 203.0.113.9 port 22 ssh2", comm="other")
    journal.say(b"Failed password for root from 203.0.113.7 port 22 ssh2", comm="sshd")
    (event,) = failures(running.next("fail2ban.failure"))

    assert (event.fields["src.ip"], event.fields["user"], event.forgeable) == ("203.0.113.7", "root", True)
    assert abs(event.ts - time.time()) < 30


def test_alternatives_of_journalmatch_are_any_of_them_and_fields_of_one_are_all() -> None:
    spec = 'sshd[journalmatch="_SYSTEMD_UNIT=a.service _COMM=x _COMM=y + _COMM=z"]'
    entries = Entries([spec], WHERE, "journal", None)
    said = "Failed password for root from 203.0.113.7 port 22 ssh2"
    base = {"_HOSTNAME": "db1", "SYSLOG_IDENTIFIER": "sshd", "_PID": "12"}

    def read(**fields: str) -> int:
        return len(entries.events({**base, **fields}, said, NOW))

    assert entries.words == ["_SYSTEMD_UNIT=a.service", "_COMM=x", "_COMM=y", "+", "_COMM=z"]
    assert (read(_SYSTEMD_UNIT="a.service", _COMM="y"), read(_COMM="z")) == (1, 1)
    assert (read(_SYSTEMD_UNIT="a.service"), read(_COMM="x"), read(_SYSTEMD_UNIT="b.service", _COMM="x")) == (0, 0, 0)


def test_what_cannot_be_read_is_refused_when_agent_yaml_is_read() -> None:
    for made, why in (
        (lambda: Logfile(path="/x"), "nothing reads this file"),
        (
            lambda: Logfile(path="/x", filters=("nothing-like-it",)),
            "there is no filter nothing-like-it in /etc/fail2ban/filter.d",
        ),
        (lambda: Logfile(path="/x", filters=("../sshd",)), "is no name of a filter"),
        (
            lambda: Logfile(path="/x", filters=("sshd[mode=none]",)),
            "`<mdre-none-other>` stands for nothing",
        ),
        (lambda: Logfile(path="/x", filters=("sshd[usedns=yes]",)), "host names are never looked up"),
        (lambda: Journald(filters=("monit",)), "has no journalmatch, and would read the whole journal"),
        (lambda: Journald(filters=('slapd[journalmatch="_COMM=slapd"]',)), "looks at 20 lines together; read its log file"),
    ):
        with pytest.raises(ValueError, match=why):
            made()


def test_nothing_is_read_where_no_policy_names_what_filters_find(log: Path, start: Start) -> None:
    sensor = Logfile(path=str(log), parsers=("sshd",), filters=("sshd",))
    running = start(sensor, None, frozenset({"auth.ssh.failure"}))
    running.batches.get(timeout=30)

    add(log, FAILED.format("a"))

    assert failures(running.next("auth.ssh.failure")) == []
