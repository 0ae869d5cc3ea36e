"""Stopping writes where the server is not well, not prepared, or not a primary."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from actions.stop_writes import StopWrites
from agent.action import CannotReach
from agent.schema import Ttl
from agent.systems.postgres import READ_ONLY, Postgres
from tests.postgres import Server, eventually, met, planned, release, run, take_back

HOUR = Ttl(timedelta(hours=1))
SOFT = StopWrites(ttl=HOUR)
HARD = StopWrites(ttl=HOUR, strength="hard")
pytestmark = pytest.mark.usefixtures("written")


@contextmanager
def restarted(server: Server, **settings: Any) -> Iterator[None]:
    before = dict(server.settings)
    server.stop("fast")
    server.settings.update(settings)
    server.start()
    try:
        yield
    finally:
        server.stop("fast")
        server.settings = before
        server.start()


@pytest.mark.parametrize("action", [SOFT, HARD])
def test_an_error_in_the_files_of_settings_is_refused_before_anything_is_done(
    postgres_server: Server, postgres: Postgres, action: StopWrites
) -> None:
    file = postgres_server.data / "postgresql.conf"
    whole = file.read_text(encoding="utf-8")
    file.write_text(f"{whole}\nwork_mem 4MB 5MB\n", encoding="utf-8")
    try:
        with pytest.raises(
            CannotReach, match=r"postgresql\.conf, line \d+: syntax error, the server would ignore it; mend that line"
        ):
            planned(postgres, action)
    finally:
        file.write_text(whole, encoding="utf-8")

    assert postgres.written("main", READ_ONLY) == ""


def test_a_setting_on_the_command_line_is_refused(postgres_server: Server, postgres: Postgres) -> None:
    with (
        restarted(postgres_server, default_transaction_read_only="off"),
        pytest.raises(CannotReach, match="it stands on the server's command line, which wins; restart it without"),
    ):
        planned(postgres, SOFT)


def test_hard_is_refused_where_prepared_transactions_are_not_possible(postgres_server: Server, postgres: Postgres) -> None:
    with (
        restarted(postgres_server, max_prepared_transactions=0),
        pytest.raises(CannotReach, match="max_prepared_transactions is 0, of which 0 are in use; set it higher"),
    ):
        planned(postgres, HARD)


def test_hard_is_refused_where_the_locks_would_not_fit(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("do $$ begin for i in 1..800 loop execute format('create table many_%s ()', i); end loop; end $$")
    try:
        with pytest.raises(CannotReach, match=r"8\d\d tables would take more than half of the server's 1\d\d\d locks"):
            planned(postgres, HARD)
    finally:
        postgres_server.run("do $$ begin for i in 1..800 loop execute format('drop table many_%s', i); end loop; end $$")


def test_a_stopped_postmaster_is_said_in_time_and_the_undo_works_once_it_runs(
    postgres_server: Server, postgres: Postgres
) -> None:
    (change,) = planned(postgres, SOFT)
    os.kill(postgres_server.postmaster, signal.SIGSTOP)
    try:
        started = time.monotonic()
        _, (outcome,) = run(postgres, SOFT)
        took = time.monotonic() - started
    finally:
        os.kill(postgres_server.postmaster, signal.SIGCONT)
    eventually(lambda: postgres.in_force("main", READ_ONLY) == "on")

    lifted = take_back(postgres, [change])

    assert (outcome.result, took < 5) == ("partly", True)
    assert "the server has not read it in 2 s; is its postmaster stopped" in outcome.error
    assert lifted == [("lifted", "")]
    assert met(postgres_server, "app") == ""


def test_a_stopped_backend_of_ours_is_cut_off_in_time(postgres_server: Server, postgres: Postgres) -> None:
    (change,) = planned(postgres, SOFT)
    backend = postgres.row("select pg_backend_pid() as pid").pid
    os.kill(backend, signal.SIGSTOP)
    try:
        started = time.monotonic()
        (answer,) = postgres.perform([change.apply])
        took = time.monotonic() - started
    finally:
        os.kill(backend, signal.SIGCONT)

    assert "no answer within 4s" in str(answer.error)
    assert took < 5


def test_soft_and_the_fence_at_hand_work_with_every_slot_taken(postgres_server: Server, postgres: Postgres) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            session = psycopg.connect(postgres_server.dsn.replace("user=agent", "user=app"))
            stack.enter_context(suppress(psycopg.Error))
            stack.enter_context(closing(session))
        fenced = postgres.perform([postgres.fence("main", "postgres"), postgres.is_fenced("main", "postgres")])
        plan, outcomes = run(postgres, SOFT)

    assert (fenced[0].error, fenced[1].value) == (None, True)
    assert [(one.result, one.error) for one in outcomes] == [("in_force", "")]
    assert len(plan[0].capture) == 3


def test_without_the_grants_the_script_is_named(postgres_server: Server) -> None:
    postgres_server.run("create role bare login in role pg_monitor")
    try:
        with closing(Postgres({"main": postgres_server.dsn.replace("user=agent", "user=bare")})) as postgres:
            with pytest.raises(CannotReach, match=r"role bare may not .*grants/postgres\.sql there as a superuser"):
                planned(postgres, SOFT)
            (answer,) = postgres.perform([postgres.limit_lock_waits("main", "")])
    finally:
        postgres_server.run("drop role bare")

    assert "permission denied for" in str(answer.error)
    assert "grants/postgres.sql there as a superuser" in str(answer.error)


def test_a_database_without_the_grants_comes_last_and_says_so(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("create database bare")
    try:
        plan, outcomes = run(postgres, HARD)
    finally:
        release(postgres_server)
        postgres_server.run("drop database bare with (force)")

    assert plan[-1].describe.startswith(
        "lock every table of database bare (0) against writing (this will fail: containment.lock_all is"
    )
    assert [one.result for one in outcomes] == ["in_force"] * 4 + ["failed"]


@pytest.fixture
def standby(postgres_server: Server) -> Iterator[Server]:
    server = Server(postgres_server.programs, postgres_server)
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_a_standby_takes_soft_for_the_day_it_is_promoted_and_refuses_hard(standby: Server) -> None:
    with closing(Postgres({"main": standby.dsn})) as postgres:
        with pytest.raises(CannotReach, match="it is a standby, where nobody can write; fence the primary"):
            planned(postgres, HARD)
        plan, outcomes = run(postgres, SOFT)
        standby.call("pg_ctl", "promote", "-w", "-t", "20", "-s", "-D", standby.data)
        refused = met(standby, "app")
        lifted = take_back(postgres, plan)

    assert [one.result for one in outcomes] == ["in_force"]
    assert (refused, lifted) == ("25006", [("lifted", "")])
