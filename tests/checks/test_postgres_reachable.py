"""PostgresReachable: does PostgreSQL answer?"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, closing
from datetime import timedelta

import psycopg

from agent.checks.postgres_reachable import PostgresReachable
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server


def test_a_server_that_answers_is_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresReachable(), postgres=postgres)

    assert (answer.state, answer.target) == ("good", "main")
    assert answer.say.startswith("PostgreSQL answers, a new login takes ")


def test_the_first_question_opens_the_connection_that_is_kept(postgres_server: Server) -> None:
    with closing(Postgres({"main": postgres_server.dsn})) as postgres:
        the_answer(PostgresReachable(), postgres=postgres)

        assert postgres.keeps("main")


def test_a_server_that_is_down_is_bad(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.stop()
    try:
        down = the_answer(PostgresReachable(), postgres=postgres)
    finally:
        postgres_server.start()

    assert down.state == "bad"
    assert "Connection refused" in down.say
    assert "still answers" not in down.say


def test_a_restart_is_bad_once(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.stop()
    postgres_server.start()

    after, later = (the_answer(PostgresReachable(), postgres=postgres) for _ in range(2))

    assert (after.state, later.state) == ("bad", "good")
    assert "the one that was kept open is lost (a restart, a crash?)" in after.say


def test_a_stopped_postmaster_is_bad_within_the_time_limit(postgres_server: Server, postgres: Postgres) -> None:
    os.kill(postgres_server.postmaster, signal.SIGSTOP)
    started = time.monotonic()
    try:
        answer = the_answer(PostgresReachable(within=timedelta(seconds=2)), postgres=postgres)
    finally:
        os.kill(postgres_server.postmaster, signal.SIGCONT)

    assert (answer.state, time.monotonic() - started < 3) == ("bad", True)
    assert answer.say.endswith("connection timeout expired; the connection that was kept open still answers")


def test_a_full_server_is_bad_and_the_kept_connection_still_answers(postgres_server: Server, postgres: Postgres) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(psycopg.connect(postgres_server.dsn.replace("user=agent", "user=app")))

        answer = the_answer(PostgresReachable(), postgres=postgres)

    assert answer.state == "bad"
    assert "remaining connection slots are reserved" in answer.say
    assert answer.say.endswith("; the connection that was kept open still answers")


def test_a_full_quota_of_our_own_role_is_unknown(postgres_server: Server, postgres: Postgres) -> None:
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(psycopg.connect(postgres_server.dsn))

        answer = the_answer(PostgresReachable(), postgres=postgres)

    assert (answer.state, answer.say.rpartition(": ")[2].strip()) == ("unknown", 'too many connections for role "agent"')


def test_a_login_of_ours_that_is_wrong_is_unknown(postgres_server: Server) -> None:
    postgres = Postgres({"main": postgres_server.dsn.replace("user=agent", "user=nobody")})

    answer = the_answer(PostgresReachable(), postgres=postgres)

    assert (answer.state, answer.target) == ("unknown", "main")
