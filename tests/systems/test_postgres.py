"""Postgres: a real server, made unwell on purpose."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from agent.action import CannotReach
from agent.systems.postgres import NotAdmitted, Postgres
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
