"""PostgresEvidence: what is taken before an act, from a real server, also a busy, a stopped and a forbidding one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from pydantic_core import from_json

from agent.action import Call, CannotReach
from agent.evidence.leaf import write_plain
from agent.evidence.redact import Redactor
from agent.systems.postgres import Postgres
from agent.systems.postgres_evidence import PostgresEvidence
from tests.postgres import Server, programs


def taken(postgres: Postgres, verb: str, instance: str = "main") -> dict[str, Any]:
    (answer,) = PostgresEvidence(postgres).perform([Call("postgres_evidence", verb, {"instance": instance})])
    if answer.error:
        raise answer.error
    parts: dict[str, Any] = answer.value["parts"]
    return parts


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of our own, with statements counted and commits dated."""
    made = Server(programs(), shared_preload_libraries="pg_stat_statements", track_commit_timestamp="on")
    try:
        made.start()
        made.run(
            "create role watcher login",
            "grant pg_monitor to watcher",
            'create schema "Odd ""name"""',
            'grant usage on schema "Odd ""name""" to public',
            'create extension pg_stat_statements schema "Odd ""name"""',
        )
        made.grant("postgres")
        yield made
    finally:
        made.close()


@pytest.fixture
def own(server: Server) -> Iterator[Postgres]:
    watcher = server.dsn.replace("user=agent", "user=watcher")
    with closing(Postgres({"main": server.dsn, "watched": watcher})) as made:
        yield made


@pytest.mark.parametrize("verb", ["activity", "settings"])
def test_every_part_is_there_and_the_journal_can_hold_it(own: Postgres, verb: str) -> None:
    parts = taken(own, verb)

    assert {name: part["error"] for name, part in parts.items() if "error" in part} == {}
    assert from_json(write_plain(parts, what="evidence")) == parts


def test_a_blocked_session_says_by_whom_and_what_it_waits_for(server: Server, own: Postgres) -> None:
    lock = "select pg_advisory_xact_lock(7)"
    with psycopg.connect(server.admin) as holder, psycopg.connect(server.admin) as waiter:
        holder.execute(lock)
        thread = threading.Thread(target=waiter.execute, args=[lock])
        thread.start()
        until = time.monotonic() + 10
        while not server.value("select count(*) from pg_locks where not granted"):
            assert time.monotonic() < until
        parts = taken(own, "activity")
        blocker, blocked = holder.info.backend_pid, waiter.info.backend_pid
        holder.rollback()
        thread.join(10)

    sessions = {row["session"]["pid"]: row["session"] for row in parts["sessions"]["rows"]}
    assert sessions[blocked]["blocked_by"] == [blocker]
    assert (sessions[blocked]["query"], sessions[blocked]["wait_event"]) == (lock, "advisory")
    assert parts["locks"]["rows"][0]["granted"] is False


def test_a_prepared_transaction_and_the_last_commit_are_there(server: Server, own: Postgres) -> None:
    server.run("create table seen (a int)", "begin; insert into seen values (1); prepare transaction 'old'")
    try:
        parts = taken(own, "activity")
    finally:
        server.run("rollback prepared 'old'", "drop table seen")

    assert [row["gid"] for row in parts["prepared"]["rows"]] == ["old"]
    assert parts["last_commit"]["rows"][0]["xid"]


def test_the_costliest_statements_are_there_from_the_extensions_own_schema(server: Server, own: Postgres) -> None:
    server.run("select count(*) from generate_series(1, 300000) as costly")

    statements = taken(own, "settings")["statements"]["rows"]

    assert any("costly" in row["statement"]["query"] for row in statements[:50])


def test_a_long_statement_is_cut_and_says_nothing_of_a_password_to_the_journal(server: Server, own: Postgres) -> None:
    server.run(f"create role guarded password 'hunter2' /* {'x' * 9000} */", "drop role guarded")

    parts = taken(own, "settings")

    shown = [row["statement"]["query"] for row in parts["statements"]["rows"] if "guarded" in row["statement"]["query"]]
    assert max(map(len, shown)) == 2000
    assert any("hunter2" in one for one in shown)
    assert b"hunter2" not in Redactor(b"k" * 32).clean([write_plain(parts, what="evidence")])[0]


def test_a_secret_of_a_radius_line_does_not_even_leave_the_server(server: Server, own: Postgres) -> None:
    file = server.data / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f'{before}host all all 0.0.0.0/0 radius radiusservers=192.0.2.1 radiussecrets="hunter2"\n')
    try:
        lines = taken(own, "settings")["logins"]["rows"]
    finally:
        file.write_text(before)

    assert lines[-1]["options"] == ["radiusservers=192.0.2.1", "radiussecrets="]


def test_what_a_role_may_not_see_is_an_error_of_its_part_alone(own: Postgres) -> None:
    parts = taken(own, "settings", "watched")

    refused = {name for name, part in parts.items() if "error" in part}
    assert refused == {"files", "logins", "login_names"}
    assert parts["logins"]["error"] == "cannot ask PostgreSQL watched: permission denied for view pg_hba_file_rules"
    assert parts["roles"]["rows"]


def test_more_rows_than_the_cap_are_cut_and_said(server: Server, own: Postgres) -> None:
    with psycopg.connect(server.admin) as holder:
        holder.execute("select pg_advisory_xact_lock_shared(n) from generate_series(1, 950) as n")
        parts = taken(own, "activity")

    assert (len(parts["locks"]["rows"]), parts["locks"]["cut"]) == (900, "more than 900 rows")


def test_an_extension_that_is_missing_is_said(postgres: Postgres) -> None:
    parts = taken(postgres, "settings")

    assert parts["statements"] == {"error": "the extension pg_stat_statements is not in this database"}


def test_without_dates_of_commits_only_that_part_is_missing(postgres: Postgres) -> None:
    parts = taken(postgres, "activity")

    assert [name for name, part in parts.items() if "error" in part] == ["last_commit"]


def test_nothing_is_changed_by_taking_it(server: Server, own: Postgres) -> None:
    taken(own, "activity")
    before = server.value("select pg_snapshot_xmax(pg_current_snapshot())::text")

    taken(own, "activity")
    taken(own, "settings")

    assert server.value("select pg_snapshot_xmax(pg_current_snapshot())::text") == before


def test_a_server_that_does_not_answer_is_an_error_within_the_time_for_evidence(server: Server, own: Postgres) -> None:
    backend = own.row("select pg_backend_pid() as pid").pid
    started = time.monotonic()
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(CannotReach, match="no answer within 4s"):
            taken(own, "activity")
    finally:
        os.kill(backend, signal.SIGCONT)

    assert time.monotonic() - started < 10


def test_a_server_that_goes_away_on_the_way_leaves_what_was_taken(server: Server, own: Postgres) -> None:
    own.row("select 1 as one")
    with closing(psycopg.connect(server.admin)) as holder:
        holder.execute("lock table pg_subscription in access exclusive mode")  # the tenth part waits a second for it
        thread = threading.Thread(target=_stop_when_waiting, args=[server])
        thread.start()
        parts = taken(own, "activity")
        thread.join(20)
    until = time.monotonic() + 20
    while (server.data / "postmaster.pid").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    server.start()

    assert parts["sessions"]["rows"]
    assert parts["archiver"] == {"error": "left out: the server did not answer before it"}


def _stop_when_waiting(server: Server) -> None:
    until = time.monotonic() + 10
    while not server.value("select count(*) from pg_locks where not granted") and time.monotonic() < until:
        pass
    os.kill(server.postmaster, signal.SIGINT)  # a fast stop, and at once


def test_an_instance_that_nobody_named_is_told(own: Postgres) -> None:
    with pytest.raises(CannotReach, match=r"agent\.yaml does not name it under postgres"):
        taken(own, "activity", "nowhere")


def test_the_dry_run_names_what_is_read(own: Postgres) -> None:
    evidence = PostgresEvidence(own)

    said = evidence.native(evidence.activity(instance="main"))

    assert said.startswith("read on PostgreSQL main, at most 900 rows each: pg_control_system(), ")
    assert "pg_stat_activity, pg_locks, pg_prepared_xacts" in said
