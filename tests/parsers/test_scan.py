"""The scan hands parsers the lines that may mean something, in order, and builds nothing that nobody wants."""

from __future__ import annotations

import typing
from datetime import UTC, datetime

import pytest

from agent.event import Event, Kind
from agent.streams.parser import Parser, Said, Scan, discover_parsers, parser
from agent.streams.syslog import HEAD, time_of

SEEN = 1795413700.0  # 2026-11-23T06:01:40Z
SSHD = b"Nov 23 06:00:01 db1 sshd[812]: Failed password for root from 203.0.113.7 port 22 ssh2\n"
SUDO = b"Nov 23 06:00:02 db1 sudo:    alice : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/usr/bin/id\n"
WEB = b'203.0.113.7 - - [23/Nov/2026:06:00:03 +0000] "GET / HTTP/1.1" 200 12 "-" "curl"\n'


def scan(*names: str, wanted: frozenset[str] | None = None) -> Scan:
    known = discover_parsers()
    return Scan.of([known[name] for name in names], "file:x", wanted)


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_events_of_several_parsers_come_in_the_order_of_their_lines() -> None:
    found = scan("sudo", "sshd").events(SSHD + SUDO + SSHD, SEEN)

    assert kinds(found) == ["auth.ssh.failure", "auth.sudo.command", "auth.ssh.failure"]


def test_a_kind_that_nobody_wants_is_not_built() -> None:
    wanted = frozenset({"http.stats", "auth.ssh.failure"})

    found = scan("nginx", "sshd", "sudo", wanted=wanted).events(SSHD + SUDO + WEB, SEEN)

    assert kinds(found) == ["auth.ssh.failure"]


def test_a_line_with_the_hint_many_times_is_one_event() -> None:
    line = SSHD.replace(b"root", b"sshd[1]: Failed sshd[1]: Failed ")

    found = scan("sshd").events(line, SEEN)

    assert kinds(found) == ["auth.ssh.failure"]


def test_a_repeated_line_counts_as_often_as_it_was_repeated() -> None:
    line = b"Nov 23 06:00:01 db1 sshd[812]: message repeated 4 times: [ Failed password for root from 203.0.113.7 port 22 ssh2]\n"

    assert len(scan("sshd").events(line, SEEN)) == 4


def test_a_line_behind_a_hole_of_nuls_is_read() -> None:
    assert len(scan("sshd").events(b"\0" * 5000 + SSHD, SEEN)) == 1


def test_bytes_that_are_no_text_are_read_as_far_as_they_can_be() -> None:
    (event,) = scan("sshd").events(SSHD.replace(b"root", b"r\xff\xfet"), SEEN)

    assert event.fields["user"] == "r\ufffd\ufffdt"


def test_a_line_too_long_for_its_program_is_not_looked_at() -> None:
    assert scan("sshd").events(SSHD.replace(b"root", b"x" * 5000), SEEN) == []


def test_an_event_keeps_at_most_four_kilobytes_of_its_line() -> None:
    (event,) = scan("nginx", wanted=frozenset({"http.request"})).events(WEB.replace(b"curl", b"x" * 20000), SEEN)

    assert len(event.raw) == 4096


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-11-23T06:00:01.500000+00:00 db1 sshd[1]: x", datetime(2026, 11, 23, 6, 0, 1, 500000, UTC)),
        ("2026-11-23T07:00:01+01:00 db1 sshd[1]: x", datetime(2026, 11, 23, 6, 0, 1, 0, UTC)),
        ("2026-11-23T06:00:01Z db1 sshd[1]: x", datetime(2026, 11, 23, 6, 0, 1, 0, UTC)),
        ("Nov 23 06:00:01 db1 sshd[1]: x", datetime(2026, 11, 23, 6, 0, 1).astimezone()),
        ("Dec 31 23:59:59 db1 sshd[1]: x", datetime(2025, 12, 31, 23, 59, 59).astimezone()),
    ],
)
def test_both_stamps_of_syslog_are_understood(line: str, expected: datetime) -> None:
    head = HEAD.match(line)

    assert head is not None
    assert time_of(head, SEEN) == expected.timestamp()


def test_a_december_line_read_in_january_is_last_years() -> None:
    january = datetime(2027, 1, 1, 0, 0, 30, tzinfo=UTC).timestamp()

    head = HEAD.match("Dec 31 23:59:59 db1 sshd[1]: x")

    assert head is not None
    assert abs(time_of(head, january) - january) < 2 * 86400


def test_a_january_line_read_on_new_years_eve_is_next_years() -> None:
    december = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC).timestamp()

    head = HEAD.match("Jan  1 00:00:01 db1 sshd[1]: x")

    assert head is not None
    assert abs(time_of(head, december) - december) < 2 * 86400


@pytest.mark.parametrize("line", ["Feb 31 06:00:01 db1 sshd[1]: x", "2026-13-41T06:00:01Z db1 sshd[1]: x"])
def test_a_stamp_that_is_no_time_is_zero(line: str) -> None:
    head = HEAD.match(line)

    assert head is not None
    assert time_of(head, SEEN) == 0.0


@pytest.mark.parametrize("line", ["", "x", "Nov 23 06:00:01", "Nov 23 06:00:01 db1 no colon", "[Nov 23 06:00:01] db1 sshd: x"])
def test_a_line_without_a_head_of_syslog_has_none(line: str) -> None:
    assert HEAD.match(line) is None


def test_only_lines_with_the_hint_are_looked_at() -> None:
    looked: list[str] = []

    @parser(kinds=(Kind("x", "Something.", {}),), hint=rb"needle")
    class Counting:
        """Counts."""

        def read(self, text: str) -> Said | None:
            looked.append(text)
            return None

    Scan.of([typing.cast("Parser", Counting())], "file:x").events((b"hay\n" * 500 + b"a needle\n") * 20, SEEN)

    assert looked == ["a needle"] * 20
