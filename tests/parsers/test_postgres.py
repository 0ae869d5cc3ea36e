"""PostgreSQL's JSON log, written by a real server that is made unwell; and what an attacker cannot make of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from agent.event import Event
from agent.parsers.postgres import AUTH_FAILURE, CONNECTIONS_FULL, CORRUPTION, DISK_FULL, PANIC
from agent.streams.parser import Scan, discover_parsers
from tests.needs import need_root
from tests.postgres import Server, programs

SEEN = 1795413700.0
KINDS = {one.name: one for one in (AUTH_FAILURE, CONNECTIONS_FULL, CORRUPTION, DISK_FULL, PANIC)}
HBA = """
local all postgres trust
host all limited 127.0.0.1/32 trust
host all barred 127.0.0.1/32 trust
host shop all 127.0.0.1/32 reject
host postgres all 127.0.0.1/32 scram-sha-256
local all all peer
"""


def scanned(text: bytes) -> list[Event]:
    return Scan.of([discover_parsers()["postgres"]], "file:/var/log/postgresql/15.json").events(text, SEEN)


class Logging(Server):
    """A server that logs as JSON."""

    @property
    def log(self) -> Path:
        return self.data / "log" / "pg.json"

    def events_of(self, act: Callable[[], object], number: int = 1, since: int | None = None) -> list[Event]:
        """Do what the server refuses; its collector writes a little later."""
        before = self.log.stat().st_size if since is None else since
        with pytest.raises(psycopg.Error):
            act()
        until = time.monotonic() + 10
        while len(found := scanned(self.log.read_bytes()[before:])) < number:
            assert time.monotonic() < until, self.log.read_text()[before:]
            time.sleep(0.01)
        return found

    def comes_back(self) -> None:
        """Wait for the end of recovery: a server that is told to stop in the middle of it may hang."""
        until = time.monotonic() + 20
        while True:
            try:
                self.value("select true")
            except psycopg.Error:
                assert time.monotonic() < until
                time.sleep(0.01)
            else:
                return

    def login(self, user: str, database: str = "postgres", host: str = "127.0.0.1") -> Callable[[], object]:
        conninfo = make_conninfo(host=host, port=self.port, user=user, password="wrong", dbname=database, connect_timeout=5)
        return lambda: psycopg.connect(conninfo).close()


@pytest.fixture(scope="module")
def server() -> Iterator[Logging]:
    made = Logging(
        programs(),
        logging_collector="on",
        log_destination="jsonlog",
        log_filename="pg.log",
        log_timezone="UTC",
        max_connections=8,
        superuser_reserved_connections=1,
    )
    try:
        (made.data / "pg_hba.conf").write_text(HBA)
        made.start()
        made.run(
            "create role app login password 'right'",
            "create role barred nologin",
            "create role limited login connection limit 0",
            "create table t as select generate_series(1, 1000) as a",
        )
        yield made
    finally:
        made.close()


def test_a_wrong_password_is_a_failure_with_all_its_fields(server: Logging) -> None:
    (event,) = server.events_of(server.login("app"))

    assert (event.kind, event.forgeable) == ("postgres.auth.failure", True)
    assert event.fields == {
        "src.ip": "127.0.0.1",
        "user": "app",
        "database": "postgres",
        "sqlstate": "28P01",
        "reason": "wrong password",
    }
    assert abs(event.ts - time.time()) < 60


@pytest.mark.parametrize(
    ("user", "database", "sqlstate", "reason"),
    [
        ("nobody", "postgres", "28P01", "no such role"),
        ("barred", "postgres", "28000", "may not log in"),
        ("app", "shop", "28000", "rejected by pg_hba.conf"),
        ("app", "elsewhere", "28000", "no pg_hba.conf line"),
    ],
)
def test_every_refusal_says_why(server: Logging, user: str, database: str, sqlstate: str, reason: str) -> None:
    (event,) = server.events_of(server.login(user, database))

    assert (event.kind, event.fields["sqlstate"], event.fields["reason"]) == ("postgres.auth.failure", sqlstate, reason)


def test_a_refusal_on_the_unix_socket_has_no_address(server: Logging) -> None:
    (event,) = server.events_of(server.login("app", host=str(server.home)))

    assert event.fields == {"user": "app", "database": "postgres", "sqlstate": "28000", "reason": "not authenticated"}


@pytest.mark.parametrize(
    "name", ['x","remote_host":"6.6.6.6","state_code":"28P01', 'x\n{"remote_host":"6.6.6.6"}', "x\\", "é\x01"]
)
def test_a_user_name_chooses_no_address(server: Logging, name: str) -> None:
    (event,) = server.events_of(server.login(name))

    assert (event.fields["src.ip"], event.fields["user"]) == ("127.0.0.1", name)


def test_used_up_connections_of_a_role_and_of_the_server(server: Logging) -> None:
    (role,) = server.events_of(server.login("limited"))
    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(psycopg.connect(server.admin))
        (whole,) = server.events_of(server.login("app"))

    assert role.fields == {
        "src.ip": "127.0.0.1",
        "user": "limited",
        "database": "postgres",
        "message": 'too many connections for role "limited"',
    }
    assert (whole.kind, whole.fields["message"]) == ("postgres.connections_full", "sorry, too many clients already")


@pytest.mark.parametrize(
    ("sqlstate", "text"),
    [
        ("28P01", "password authentication failed"),
        ("XX001", "invalid page in block 1 of relation base/5/1"),
        ("53100", "could not extend file"),
    ],
)
def test_an_error_that_somebody_raised_is_none_of_the_servers(server: Logging, sqlstate: str, text: str) -> None:
    raised = f"do $$ begin raise exception '{text}' using errcode = '{sqlstate}'; end $$"
    before = server.log.stat().st_size

    with pytest.raises(psycopg.Error, match=text):
        server.run(raised)
    (last,) = server.events_of(server.login("app"), since=before)

    assert last.fields["reason"] == "wrong password"


def test_a_notice_about_a_crash_that_somebody_raised_is_none(server: Logging) -> None:
    raised = "do $$ begin raise log 'server process (PID 1) was terminated by signal 9: Killed'; end $$"
    before = server.log.stat().st_size

    server.run(raised)
    (last,) = server.events_of(server.login("app"), since=before)

    assert last.kind == "postgres.auth.failure"


def test_a_damaged_page_is_told_with_its_place_even_under_a_giant_statement(server: Logging) -> None:
    table = server.data / str(server.value("select pg_relation_filepath('t')"))
    server.stop("fast")
    with table.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xde\xad\xbe\xef")
    server.start()
    giant = f"select sum(a) from t where a <> all ('{{{','.join(map(str, range(20000)))}}}')"
    assert len(giant) > 100_000

    warning, error = server.events_of(lambda: server.run(giant), number=2)

    assert (warning.kind, warning.fields["severity"], warning.fields["sqlstate"]) == ("postgres.corruption", "WARNING", "XX001")
    assert (error.fields["severity"], error.fields["block"], error.fields["database"]) == ("ERROR", 0, "postgres")
    assert str(error.fields["relation"]).startswith("base/")


def test_a_killed_backend_is_a_panic(server: Logging) -> None:
    def kill() -> None:
        with psycopg.connect(server.admin, autocommit=True) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            victim.execute("select 1")

    (event,) = server.events_of(kill)
    server.comes_back()

    assert (event.kind, event.fields["severity"], event.fields["signal"]) == ("postgres.panic", "LOG", 9)


def test_a_full_disk_is_told_and_so_is_the_panic_that_follows(server: Logging) -> None:
    need_root()
    with TemporaryDirectory(dir=server.home) as place:  # what the server stops on lies beside its data
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100M", "small", place], check=True, timeout=10)
        try:
            full, panic = _fill(server, Path(place))
        finally:
            subprocess.run(["umount", "--lazy", place], check=True, timeout=10)

    assert (full.kind, full.fields["severity"], full.fields["user"]) == ("postgres.disk_full", "ERROR", "postgres")
    assert str(full.fields["message"]).startswith("could not extend file ")
    assert (panic.kind, panic.fields["severity"], panic.fields["sqlstate"]) == ("postgres.panic", "PANIC", "53100")


def _fill(server: Logging, place: Path) -> tuple[Event, Event]:
    """An unlogged table takes all that is left beside the log of changes; what is written next needs room there."""
    (place / "space").mkdir()
    server.stop("fast")
    shutil.copytree(server.data / "pg_wal", place / "wal")
    shutil.rmtree(server.data / "pg_wal")
    (server.data / "pg_wal").symlink_to(place / "wal")
    subprocess.run(["chown", "-R", "postgres", place], check=True, timeout=10)
    server.start()
    server.run(f"create tablespace small location '{place / 'space'}'", "create unlogged table u (a text) tablespace small")
    (full,) = server.events_of(lambda: server.run("insert into u select repeat('x', 1000) from generate_series(1, 200000)"))
    with (place / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while rest.write(b"\0" * 4096):
            pass
    written = ["select pg_switch_wal()", "create table w as select generate_series(1, 1000000) as a"] * 9
    (panic, *_) = server.events_of(lambda: server.run(*written))
    server.comes_back()  # recovery empties the unlogged table, and there is room again
    server.stop()
    return full, panic


def test_every_field_is_one_that_the_kind_declares(server: Logging) -> None:
    events = scanned(server.log.read_bytes())

    assert [one for one in events if not set(one.fields) <= set(KINDS[one.kind].fields)] == []


# Without a server -------------------------------------------------------------------------------------------------------


def test_a_line_cut_off_in_its_statement_is_read_all_the_same() -> None:
    head = (
        '{"timestamp":"x","user":"app","dbname":"shop","error_severity":"ERROR","state_code":"XX002","message":"index is corrupt"'
    )

    (event,) = scanned(f'{head},"statement":"select {"x" * 65536} [cut]\n'.encode())

    assert (event.kind, event.fields["message"], event.ts) == ("postgres.corruption", "index is corrupt", 0.0)


@pytest.mark.parametrize(
    "line",
    [
        '"error_severity":"PANIC"',
        '{"error_severity":"FATAL","state_code":"28000x"}',
        '{"error_severity":"FATAL","state_code":"57P01","message":"terminating connection due to administrator command"}',
        '{"error_severity":"LOG","message":"server process (PID 7) was terminated by signal 9: Killed"}',
        '2026-11-23 06:00:01.123 UTC [812] app@shop FATAL:  password authentication failed for user "app"',
        '2026-11-23 06:00:01.123 UTC,"app","shop",812,"203.0.113.7:5",6b04,1,"",,,0,FATAL,28P01,"password authentication failed"',
        '["error_severity":"PANIC"]',
        '{"error_severity":"PANIC","a":' + "[" * 60000,
    ],
)
def test_other_lines_give_nothing(line: str) -> None:
    assert scanned(line.encode() + b"\n") == []


@pytest.mark.parametrize(("stamp", "ts"), [("2026-11-23 06:00:01.500 UTC", 1795413601.5), ("2026-11-23 06:00:01.500 IST", 0.0)])
def test_only_a_zone_that_means_one_thing_gives_a_time(stamp: str, ts: float) -> None:
    (event,) = scanned(json.dumps({"timestamp": stamp, "error_severity": "PANIC"}, separators=(",", ":")).encode())

    assert event.ts == ts


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=4))
def test_no_value_whatever_makes_the_parser_raise(value: object) -> None:
    read = discover_parsers()["postgres"].read
    names = ("timestamp", "user", "dbname", "remote_host", "message", "detail", "context", "backend_type")

    for severity, sqlstate in (("PANIC", value), ("FATAL", "28P01"), ("FATAL", "53300"), ("LOG", value), ("ERROR", "XX001")):
        read(json.dumps({**dict.fromkeys(names, value), "error_severity": severity, "state_code": sqlstate}))
