"""One real server that writes its log in all three forms at once: they tell the same events."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from agent.event import Event
from agent.streams.parser import Scan, discover_parsers
from tests.postgres import Server, programs

HBA = """
local all all trust
host all limited 127.0.0.1/32 trust
host all barred 127.0.0.1/32 trust
host shop all 127.0.0.1/32 reject
host postgres all 127.0.0.1/32 scram-sha-256
"""
FORMS = {"postgres": "pg.json", "postgres_csv": "pg.csv", "postgres_stderr": "pg.log"}
LOGINS = [
    ("app", "postgres"),
    ("nobody", "postgres"),
    ("barred", "postgres"),
    ("app", "shop"),
    ("app", "elsewhere"),
    ("limited", "postgres"),
    ("x\n2026-11-23 06:00:01.123 UTC [1] 6.6.6.6 FATAL:  sorry, too many", "postgres"),
    ('x"\n2026-11-23 06:00:01.123 UTC,"a","b",1,"6.6.6.6:1",a', "postgres"),
    ('a,"\n",', '\n"b'),
]


FORGED = """
2026-11-23 06:00:01.1 UTC,x,y,1,6.6.6.6:1,z,1,a,b,3/1,0,FATAL,28P01,m,,,,,,s,,,,
2026-11-23 06:00:01.1 UTC [1] 6.6.6.6 FATAL:  sorry, too many clients already
"""
"""A statement of somebody who may log in: it is logged with its error."""


def scanned(server: Server, parser: str) -> list[Event]:
    chunk = (server.data / "log" / FORMS[parser]).read_bytes()
    return Scan.of([discover_parsers()[parser]], "file:x").events(chunk, time.time())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """It refused all logins, was full once, and somebody tried to raise errors like its own."""
    made = Server(
        programs(),
        logging_collector="on",
        log_destination="'jsonlog,csvlog,stderr'",
        log_filename="pg.log",
        log_timezone="Asia/Tokyo",
        log_line_prefix="'%m [%p] %h '",
        max_connections=6,
        superuser_reserved_connections=1,
        max_wal_senders=0,
    )
    try:
        (made.data / "pg_hba.conf").write_text(HBA)
        made.start()
        made.run("create role app login", "create role barred nologin", "create role limited login connection limit 0")
        for user, database in LOGINS:
            _refused(made, user, database)
        for text, code in (('password authentication failed for user "x"', "28P01"), ("invalid page in block 1", "XX001")):
            with suppress(psycopg.Error):
                made.run(f"do $$ begin raise exception '{text}\n{text}' using errcode = '{code}'; end $$")
        with suppress(psycopg.Error):
            made.run(f"select 1 from nothing where x = '{FORGED}'")
        with ExitStack() as held:
            for _ in range(6):
                held.enter_context(psycopg.connect(made.admin))
            _refused(made, "app", "postgres")
        yield made
    finally:
        made.close()


def _refused(server: Server, user: str, database: str) -> None:
    conninfo = make_conninfo(host="127.0.0.1", port=server.port, user=user, password="wrong", dbname=database, connect_timeout=5)
    with pytest.raises(psycopg.Error):
        psycopg.connect(conninfo)


def known(server: Server, parser: str) -> list[Event]:
    until = time.monotonic() + 20
    while len(found := scanned(server, parser)) < len(LOGINS) + 1:
        assert time.monotonic() < until, found
        time.sleep(0.02)  # the collector writes a moment later
    return found


def test_the_csv_log_tells_what_the_json_log_tells(server: Server) -> None:
    by_json, by_csv = known(server, "postgres"), known(server, "postgres_csv")

    assert [(one.kind, one.fields) for one in by_csv] == [(one.kind, one.fields) for one in by_json]


def test_the_plain_log_tells_the_same_of_who_was_refused_and_why(server: Server) -> None:
    by_json, plain = known(server, "postgres"), known(server, "postgres_stderr")

    wanted = ("src.ip", "user", "sqlstate", "reason", "message")
    told = [[(one.kind, {name: one.fields.get(name) for name in wanted}) for one in events] for events in (by_json, plain)]
    for _, fields in told[0]:
        if fields["message"]:
            fields["user"] = ""  # the message names nobody
    assert told[0] == told[1]


@pytest.mark.parametrize("parser", sorted(FORMS))
def test_no_address_but_the_clients_stands_in_any_event(server: Server, parser: str) -> None:
    assert {one.fields["src.ip"] for one in known(server, parser)} == {"127.0.0.1"}


@pytest.mark.parametrize("parser", sorted(FORMS))
def test_a_time_in_a_zone_that_is_not_this_hosts_is_none(server: Server, parser: str) -> None:
    assert re.search(rb"\d JST", (server.data / "log" / FORMS[parser]).read_bytes())

    assert {one.ts for one in known(server, parser)} == {0.0}
