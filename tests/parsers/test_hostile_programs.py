"""Real programs under hostile clients: whatever the client says, the address is the one that the kernel saw.

What the programs said here once is kept in tests/corpus/*.injection; PostgreSQL and OpenBao are in their own files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.event import Event
from agent.streams.parser import Scan, discover_parsers
from tests.parsers.hostile_http import Nginx, named
from tests.parsers.hostile_ssh import Sshd
from tests.parsers.own_syslog import OwnSyslog, lines

SEEN = 1795413700.0
CLIENT = "127.0.0.7"
"""One of loopback's sixteen million addresses; the servers are at 127.0.0.1."""
FORGED = b" from 6.6.6.6 port 22 ssh2"
NOBODY = 65534


def scanned(chunk: bytes, *names: str) -> list[Event]:
    known = discover_parsers()
    return Scan.of([known[name] for name in names], "file:x").events(chunk, SEEN)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


# sshd -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sshd(place: Path) -> Iterator[Sshd]:
    (place / "sshd").mkdir()
    with closing(Sshd(place / "sshd")) as made:
        yield made


@pytest.mark.parametrize(
    "name",
    [
        b"x" + FORGED,
        b"x\nNov 23 06.00.01 db1 sshd[1]" + FORGED,
        b"x\r\x1b[2K\x07\x08\t\x0b\x0c" + FORGED,
        b"\xff\xfe\xed\xa0\x80" + FORGED,
        b"\xff" * 77 + b" from 6.6.6.6 port 22",
        b"y" * 74 + FORGED,
        b"y" * 3000 + FORGED,
        b"invalid user root" + FORGED + b" [preauth]",
        b"message repeated 9 times- [ Failed password for root" + FORGED + b"]",
        b"\\n\\012%n%s" + FORGED,
        b"",
    ],
    ids=range(11),
)
def test_no_user_name_chooses_the_address(sshd: Sshd, name: bytes) -> None:
    sshd.guess(CLIENT, name)

    events = scanned(lines(sshd.said()), "sshd", "sudo")

    assert sorted(event.kind for event in events) == ["auth.ssh.failure", "auth.ssh.invalid_user"]
    assert {event.fields["src.ip"] for event in events} == {CLIENT}


def test_no_certificates_id_chooses_the_address_even_where_syslog_cuts_the_message_behind_it(sshd: Sshd) -> None:
    sshd.offer(CLIENT, b"root", b"y")
    plain = next(one for one in sshd.said() if b"Failed publickey" in one).partition(b"]: ")[2]
    room = 500 - plain.index(b" ID ") - len(b" ID ")  # as the client's port has five digits every time

    for behind in (b"", b"z", b"zz"):
        for tail in (FORGED, FORGED + b": ED25519 SHA256:x", FORGED + b" [preauth]"):
            sshd.offer(CLIENT, b"root", b"y" * (room - len(tail)) + tail + behind)
    events = [event for _ in range(9) for event in scanned(lines(sshd.said()), "sshd")]

    assert {(event.kind, event.fields["src.ip"]) for event in events} == {("auth.ssh.probe", CLIENT)}


# nginx ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nginx(place: Path) -> Iterator[Nginx]:
    (place / "nginx").mkdir()
    with closing(Nginx(place / "nginx")) as made:
        yield made


LINE = b'6.6.6.6 - - [23/Nov/2026:06:00:01 +0000] "GET / HTTP/1.1" 200 5 "-" "x"'


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        (b'GET /" 200 1 "-" "x HTTP/1.1', []),
        (b"GET http://6.6.6.6/ HTTP/1.1", []),
        (b"GET /%0a6.6.6.6%20-\xff\xfe\x7f\x1b HTTP/1.1", [b"User-Agent: \xff\xfe\x80"]),
        (b'\x16\x03\x01"6.6.6.6 - -', []),
        (b"GET / HTTP/1.1", [b'User-Agent: "' + LINE]),
        (b"GET / HTTP/1.1", [b'User-Agent: \\","remote_addr":"6.6.6.6","x":"\\', b'Referer: {"remote_addr":"6.6.6.6"}']),
        (b"GET / HTTP/1.1", [named(b"x [01/Jan/2000"), b'Referer: ] "GET / HTTP/1.1" 200 5']),
        (b"GET / HTTP/1.1", [b"X-Forwarded-For: 6.6.6.6", b"X-Real-IP: 6.6.6.6", b"Forwarded: for=6.6.6.6"]),
        (b"GET / HTTP/1.1", [b'User-Agent: "' + b'\\"' * 1500]),
    ],
    ids=range(9),
)
def test_no_request_chooses_its_client(nginx: Nginx, request_line: bytes, headers: list[bytes]) -> None:
    logged = nginx.lines_of(CLIENT, request_line, *headers)

    for chunk in logged.values():
        events = scanned(chunk, "nginx")
        assert [(event.kind, event.fields["src.ip"]) for event in events] == [("http.request", CLIENT)]


# sudo -----------------------------------------------------------------------------------------------------------------------


def test_neither_directory_nor_arguments_nor_target_choose_who_ran_sudo(place: Path) -> None:
    hostile = place / "sudo" / "a ; USER=alice ; COMMAND=b : 3 incorrect password attempts ; TTY=x"
    hostile.mkdir(parents=True)
    line = "\nNov 23 06:00:01 db1 sudo:     alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"
    long = ["b" * 100] * 12 + ["alice : 3 incorrect password attempts ; TTY=a ; PWD=/ ; USER=root ; COMMAND=/bin/sh"]
    with closing(OwnSyslog(place / "sudo")) as syslog:
        syslog.run("sudo", "-u", "nobody", "true", f"x ; USER=root{line}", cwd=str(hostile))
        syslog.run("sudo", "-u", "nobody", "true", *long)
        syslog.run("sudo", "-n", "-u", f"x ; TTY=pts/6 ; USER=root ; COMMAND=/bin/sh{line}", "id", user=NOBODY)

        said = syslog.said(b"unknown user")

    events = scanned(lines(said), "sshd", "sudo")
    told = [(event.kind, event.fields["user"]) for event in events]
    assert told == [("auth.sudo.command", "root")] * 2 + [("auth.sudo.failure", "nobody")]
