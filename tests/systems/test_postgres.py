"""Postgres: a real server, made unwell on purpose."""

from __future__ import annotations

import inspect
import os
import signal
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from agent.action import Call, CannotReach
from agent.systems.postgres import NotAdmitted, Postgres, Session
from agent.systems.postgres_fit import Cluster
from agent.systems.postgres_granted import GRANTS
from tests.postgres import Server

SECONDS = timedelta(seconds=2)


def test_rows_have_a_field_per_column(postgres: Postgres) -> None:
    (row,) = postgres.rows("select %s::int as number, 'x' as letter", [7])

    assert (row.number, row.letter) == (7, "x")


def test_a_session_can_change_nothing_and_wait_for_nothing(postgres: Postgres) -> None:
    wanted = {
        "default_transaction_read_only": "on",
        "statement_timeout": "3s",
        "lock_timeout": "1s",
        "search_path": "pg_catalog",
        "jit": "off",
        "application_name": "containment-agent",
    }

    found = {name: postgres.row("select current_setting(%s) as now", [name]).now for name in wanted}

    assert found == wanted


def test_options_in_the_connection_string_stay(postgres_server: Server) -> None:
    with closing(Postgres({"main": f"{postgres_server.dsn} options='-c work_mem=1234kB'"})) as postgres:
        row = postgres.row("select current_setting('work_mem') as mem, current_setting('jit') as jit")

    assert (row.mem, row.jit) == ("1234kB", "off")


def test_an_endless_question_is_ended_and_the_connection_stays(postgres: Postgres) -> None:
    before = postgres.row("select pg_backend_pid() as pid").pid

    with pytest.raises(CannotReach, match="canceling statement due to statement timeout"):
        postgres.rows("select pg_sleep(60)")

    assert postgres.row("select pg_backend_pid() as pid").pid == before


def test_no_more_than_a_thousand_rows_come(postgres: Postgres) -> None:
    assert len(postgres.rows("select generate_series(1, 5000) as n")) == 1000


def test_a_stopped_backend_is_cut_off_and_the_next_question_gets_another(postgres: Postgres) -> None:
    backend = postgres.row("select pg_backend_pid() as pid").pid
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(CannotReach, match="no answer within 2s"):
            postgres.ask_kept("main", SECONDS)
    finally:
        os.kill(backend, signal.SIGCONT)

    assert postgres.row("select pg_backend_pid() as pid").pid != backend


def test_a_restart_between_two_questions_is_not_felt(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.stop("fast")
    postgres_server.start()

    assert postgres.row("select 1 as one").one == 1


def test_a_statement_in_another_encoding_does_not_hide_all_sessions(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("create database old owner app encoding 'SQL_ASCII' locale 'C' template template0")
    dsn = postgres_server.dsn.replace("user=agent dbname=postgres", "user=app dbname=old")
    try:
        with psycopg.connect(dsn, autocommit=True, client_encoding="SQL_ASCII") as session:
            session.pgconn.exec_(b"select 'caf\xe9'")

            (seen,) = postgres.perform([postgres.all_sessions("main")])

        assert {one["usename"]: one["query"] for one in seen.value}["app"] == r"select 'caf\xe9'"
    finally:
        postgres_server.run("drop database old with (force)")


def test_a_role_that_sees_nothing_is_told_what_to_grant(postgres_server: Server) -> None:
    with (
        closing(Postgres({"main": postgres_server.dsn.replace("user=agent", "user=app")})) as postgres,
        pytest.raises(CannotReach, match=r'the role app does not see .* run there: GRANT pg_monitor TO "app"'),
    ):
        postgres.rows("select 1")


@pytest.mark.parametrize(
    ("part", "instead", "says"),
    [
        ("user=agent", "user=nobody", 'role "nobody" does not exist'),
        ("dbname=postgres", "dbname=nope", 'database "nope" does not'),
    ],
)
def test_a_login_of_ours_that_is_wrong_says_nothing_about_the_server(
    postgres_server: Server, part: str, instead: str, says: str
) -> None:
    postgres = Postgres({"main": postgres_server.dsn.replace(part, instead)})

    with pytest.raises(NotAdmitted, match=says):
        postgres.ask_new("main", SECONDS)


def test_a_connection_string_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(NotAdmitted, match=r"its connection string in agent.yaml cannot be read") as refused:
        Postgres({"main": "hunter2"}).ask_new("main", SECONDS)

    assert "hunter2" not in str(refused.value)


def test_an_instance_nobody_named_is_answered_with_the_ones_there_are() -> None:
    with pytest.raises(
        CannotReach, match=r"cannot ask PostgreSQL shop: agent.yaml does not name it under postgres; it names main, old"
    ):
        Postgres({"main": "", "old": ""}).rows("select 1", instance="shop")


def test_keeping_connects_what_answers_and_names_what_does_not(postgres_server: Server) -> None:
    with closing(Postgres({"gone": "host=127.0.0.1 port=1 user=agent", "main": postgres_server.dsn})) as postgres:
        with pytest.raises(CannotReach, match=r"cannot log in to PostgreSQL gone: .*Connection refused"):
            postgres.keep()

        assert (postgres.keeps("gone"), postgres.keeps("main")) == (False, True)


def test_no_password_stands_in_an_error(postgres_server: Server) -> None:
    postgres = Postgres({"main": f"{postgres_server.dsn} password=hunter2".replace(str(postgres_server.port), "1")})

    with pytest.raises(CannotReach) as refused:
        postgres.ask_new("main", SECONDS)

    assert "hunter2" not in str(refused.value)
    assert isinstance(refused.value.__cause__, psycopg.OperationalError)


# What the grants allow -------------------------------------------------------------------------------------------------


def test_with_the_grants_nothing_is_lacking(postgres: Postgres) -> None:
    assert postgres.lacks("main") == []


def test_what_is_lacking_is_said_with_its_mend(postgres_server: Server) -> None:
    postgres_server.run("create role bare login in role pg_monitor", "create database empty")
    try:
        with closing(Postgres({"main": postgres_server.dsn.replace("user=agent", "user=bare")})) as bare:
            bares = bare.lacks("main")
        with closing(Postgres({"main": postgres_server.dsn})) as agent:
            agents = agent.lacks("main")
    finally:
        postgres_server.run("drop database empty", "drop role bare")

    assert [one.partition(" (asked")[0] for one in bares[:5]] == [
        "role bare may not change default_transaction_read_only and lock_timeout",
        "role bare may not have settings read anew",
        "role bare may not see the files of settings",
        "role bare may not end sessions",
        "role bare may not lock roles",
    ]
    assert all("grants/postgres.sql" in one for one in bares)
    assert [one.partition(";")[0] for one in agents] == [
        "database empty cannot be fenced: containment.lock_all is missing or not granted"
    ]


def test_the_grants_run_a_second_time_and_whole_in_one_go(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run(GRANTS.read_text(encoding="utf-8"))

    assert postgres.lacks("main") == []


def test_the_grants_refuse_a_schema_that_others_own(postgres_server: Server) -> None:
    postgres_server.run("create database trapped")
    try:
        postgres_server.run("create schema containment authorization app", database="trapped")
        with pytest.raises(RuntimeError, match="the schema containment belongs to a role that is no superuser"):
            postgres_server.grant("trapped")
    finally:
        postgres_server.run("drop database trapped")


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 from pg_authid",
        "alter system set work_mem = '1GB'",
        "alter role app superuser",
        "create table mine (a int)",
        "insert into containment.canary default values",
        "delete from containment.taken",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and pid <> pg_backend_pid()",
        "create or replace function containment.kick(integer, timestamptz) returns boolean language sql as 'select true'",
        "alter subscription nothing disable",
        "copy (select 1) to program 'true'",
    ],
)
def test_the_agents_login_can_do_no_more_than_the_script_says(postgres_server: Server, statement: str) -> None:
    with (
        psycopg.connect(postgres_server.admin),
        psycopg.connect(postgres_server.dsn, autocommit=True) as stolen,
        pytest.raises(psycopg.Error) as refused,
    ):
        stolen.execute(statement.encode())

    assert refused.value.sqlstate in {"42501", "42704", "3F000", "42P01"}


def test_a_login_that_the_agent_did_not_take_is_not_given(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("create role owner_only nologin")
    try:
        (given,) = postgres.granted("main", "select containment.unlock_role('owner_only') as given")
        assert given.given is False
        assert postgres.role("main", "owner_only").rolcanlogin is False
    finally:
        postgres_server.run("drop role owner_only")


def test_what_it_sets_for_itself_does_not_hide_what_others_get(postgres_server: Server, postgres: Postgres) -> None:
    query = "select setting, reset_val from pg_settings where name = 'default_transaction_read_only'"

    assert tuple(postgres.row(query)) == ("on", "off")


def test_a_session_in_another_database_is_ended_and_one_in_its_own_is_rolled_back(postgres: Postgres) -> None:
    with postgres.session("main", "shop") as away:
        found = away.execute("select current_database()").fetchone()
    with postgres.session("main") as home:
        home.execute("begin")

    assert tuple(found or ()) == ("shop",)
    assert away.closed
    assert home.info.transaction_status.name == "IDLE"
    assert postgres.row("select 1 as one").one == 1


def test_every_verb_has_its_sql() -> None:
    postgres = Postgres({})
    session = Session(4711, "2026-11-23 11:35:54.123456", "app")
    words: dict[str, Any] = {"instance": "main", "role": 'o"x', "database": "it's", "before": "off", "fenced": True}
    words |= {"sessions": (session,) * 7, "names": ("fed", "it's"), "roles": ("a",) * 7, "replicas": ("walreceiver at 10.0.0.2",)}
    words["cluster"] = Cluster("/srv/my data", "7423", 1, "", "runuser -u postgres -- pg_ctl restart")
    verbs = [one for one in vars(Postgres) | _inherited() if hasattr(getattr(Postgres, one), "performed")]

    said = {}
    for verb in verbs:
        wanted = inspect.signature(getattr(Postgres, verb).performed).parameters
        said[verb] = postgres.native(Call("postgres", verb, {name: words[name] for name in wanted if name != "self"}))

    assert len(said) > 20
    assert said["unlock_role"] == 'ALTER ROLE "o""x" LOGIN;  -- by SELECT containment.unlock_role(\'o"x\');'
    assert said["allow_writes"].startswith("ALTER SYSTEM SET default_transaction_read_only = 'off'; SELECT pg_reload_conf();")
    assert "(4711, '2026-11-23 11:35:54.123456') /* and 2 more */" in said["end_sessions"]
    assert "PREPARE TRANSACTION 'containment-it''s'" in said["fence"]
    assert said["end_standby"].splitlines() == [
        "rm '/srv/my data/standby.signal'  # if still ours, and all replicas follow",
        "runuser -u postgres -- pg_ctl restart",
    ]


def _inherited() -> dict[str, Any]:
    return {name: value for kind in Postgres.__mro__ for name, value in vars(kind).items()}
