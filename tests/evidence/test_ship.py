"""Checkpoints reach real datagram sockets in one piece, can be found again, and never make the agent wait."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.evidence.keys import Key
from agent.evidence.note import Checkpoint
from agent.evidence.ship import LONGEST, PATIENCE, read_notes, ship, tell

KEY = Key("host1/containment-agent", bytes(32))
NOTES = [Checkpoint(KEY.public.name, size, bytes(32)).signed(KEY.public, KEY.sign) for size in (7, 8)]
WITNESSED = NOTES[0] + "— witness.example/w1 jWbPPwAAAABkGFDLEZMH\n"


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        yield server


def test_a_checkpoint_reaches_journald_in_its_native_fields(tmp_path: Path) -> None:
    with listening(tmp_path / "journald") as server:
        shipped = ship(NOTES[0], journald=tmp_path / "journald", syslog=tmp_path / "none")
        fields = dict(line.split("=", 1) for line in server.recv(65536).decode().splitlines())

    assert shipped.reached == ("journald",)
    assert fields["SYSLOG_IDENTIFIER"] == "containment-agent"
    assert fields["PRIORITY"] == "5"
    assert read_notes(fields["MESSAGE"]) == [NOTES[0]]


def test_a_checkpoint_reaches_syslog_on_one_line_of_ascii(tmp_path: Path) -> None:
    with listening(tmp_path / "log") as server:
        shipped = ship(NOTES[0], journald=tmp_path / "none", syslog=tmp_path / "log")
        line = server.recv(65536).decode("ascii")

    assert shipped.reached == ("syslog",)
    assert line.startswith("<85>")
    assert f" containment-agent[{os.getpid()}]: checkpoint " in line
    assert "\n" not in line
    assert read_notes(line) == [NOTES[0]]


@pytest.mark.parametrize(("link", "reached"), [(True, ("journald",)), (False, ("journald", "syslog"))])
def test_a_syslog_socket_that_is_journald_again_is_not_told_twice(tmp_path: Path, link: bool, reached: tuple[str, ...]) -> None:
    journald, log = tmp_path / "systemd" / "socket", tmp_path / "log"
    with ExitStack() as both:
        both.enter_context(listening(journald))
        both.enter_context(listening(tmp_path / "systemd" / "dev-log" if link else log))
        if link:
            log.symlink_to(tmp_path / "systemd" / "dev-log")

        shipped = ship(NOTES[0], journald=journald, syslog=log)

    assert (shipped.reached, shipped.problems) == (reached, ())


def test_with_nobody_there_it_says_so(tmp_path: Path) -> None:
    shipped = ship(NOTES[0], journald=tmp_path / "a", syslog=tmp_path / "b")

    assert shipped.reached == ()
    assert str(shipped) == (
        "checkpoint not sent off this host"
        f" (journald: {tmp_path / 'a'}: No such file or directory; syslog: {tmp_path / 'b'}: No such file or directory)"
    )


@pytest.mark.timeout(20)
def test_somebody_who_does_not_read_does_not_make_the_agent_wait(tmp_path: Path) -> None:
    with listening(tmp_path / "log"):
        told = [ship(NOTES[0], journald=tmp_path / "none", syslog=tmp_path / "log") for _ in range(2000)]

    assert told[0].reached == ("syslog",)
    assert told[-1].problems[-1] == f"syslog: {tmp_path / 'log'} is busy"


def test_notes_are_found_in_files_and_logs_among_other_text() -> None:
    log = f"Nov 23 08:00:00 h x[1]: hello\nNov 23 08:00:01 h containment-agent[1]: checkpoint {json.dumps(WITNESSED)}\n"

    assert read_notes(NOTES[0]) == [NOTES[0]]
    assert read_notes(NOTES[0] + NOTES[1]) == NOTES
    assert read_notes(f"kept by mail:\n\n{WITNESSED}\n{log}{NOTES[1]}") == [WITNESSED, NOTES[1], WITNESSED]
    assert read_notes('checkpoint "broken \\u00zz"\nnothing\n\nhere') == []


def test_lines_arrive_as_ascii_cut_to_what_syslog_takes_and_with_their_priority(tmp_path: Path) -> None:
    with listening(tmp_path / "log") as server:
        why = tell(["Zürich\n".encode(), b"x" * 20_000], priority=2, journald=tmp_path / "none", syslog=tmp_path / "log")
        first, second = server.recv(65536).decode("ascii"), server.recv(65536).decode("ascii")

    assert why == ""
    assert first.startswith("<82>")
    assert first.endswith(": Z\\u00fcrich\\n")
    assert second.endswith("[cut: it has 20000 bytes]")
    assert len(second) < LONGEST + 100


def test_lines_wait_for_a_busy_reader_but_not_for_long_and_say_who_did_not_take_them(tmp_path: Path) -> None:
    with listening(tmp_path / "log"):
        begun = time.monotonic()
        why = tell([b"x" * 1000] * 5000, journald=tmp_path / "none", syslog=tmp_path / "log")
        took = time.monotonic() - begun

    assert f"syslog: {tmp_path / 'log'} is busy" in why
    assert "journald: " in why
    assert took < PATIENCE + 2
