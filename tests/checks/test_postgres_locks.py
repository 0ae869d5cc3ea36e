"""PostgresLocks: do sessions wait for each other?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from agent.checks.postgres_locks import PostgresLocks
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server


@pytest.fixture
def waiting(postgres_server: Server) -> Iterator[int]:
    """One session waits for another; the pid of the one that blocks."""
    lock = "select pg_advisory_xact_lock(7)"
    with psycopg.connect(postgres_server.admin) as holder, psycopg.connect(postgres_server.admin) as waiter:
        holder.execute(lock)
        thread = threading.Thread(target=waiter.execute, args=[lock])
        thread.start()
        until = time.monotonic() + 10
        while not postgres_server.value("select count(*) from pg_locks where not granted"):
            assert time.monotonic() < until
        yield holder.info.backend_pid
        holder.rollback()
        thread.join(10)


def test_nobody_waiting_is_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresLocks(), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "no session waits for a lock")


def test_a_short_wait_is_good(postgres: Postgres, waiting: int) -> None:
    assert the_answer(PostgresLocks(), postgres=postgres).state == "good"


def test_a_long_wait_is_bad_and_says_who_is_in_the_way(postgres: Postgres, waiting: int) -> None:
    answer = the_answer(PostgresLocks(wait_limit=timedelta(microseconds=1)), postgres=postgres)

    assert answer.state == "bad"
    assert answer.say.startswith("1 session waits for a lock, the longest for ")
    assert answer.say.endswith(f", because of pid {waiting}")


def test_many_that_wait_are_bad(postgres: Postgres, waiting: int) -> None:
    assert the_answer(PostgresLocks(waiting_limit=1), postgres=postgres).state == "bad"


def test_a_prepared_transaction_in_the_way_is_named(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("begin; select pg_advisory_xact_lock(8); create table held (a int); prepare transaction 'old'")
    with psycopg.connect(postgres_server.admin, autocommit=True) as waiter:
        thread = threading.Thread(target=waiter.execute, args=["select pg_advisory_xact_lock(8)"])
        thread.start()
        until, say = time.monotonic() + 10, ""
        while "because of" not in say:
            assert time.monotonic() < until
            say = the_answer(PostgresLocks(), postgres=postgres).say
        postgres_server.run("rollback prepared 'old'")
        thread.join(10)

    assert say.endswith("because of a prepared transaction")
