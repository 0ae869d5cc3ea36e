"""PostgresTransactions: are there old ones?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from agent.checks.postgres_transactions import PostgresTransactions
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server

AT_ONCE = timedelta(microseconds=1)


@pytest.fixture
def idle(postgres_server: Server) -> Iterator[int]:
    """A session that has begun and does nothing; its pid."""
    with psycopg.connect(postgres_server.dsn.replace("user=agent", "user=app")) as session:
        session.execute("select 1")
        yield session.info.backend_pid


def test_none_is_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresTransactions(), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "no transaction is open")


def test_a_young_one_is_good(postgres: Postgres, idle: int) -> None:
    assert the_answer(PostgresTransactions(), postgres=postgres).state == "good"


def test_one_that_does_nothing_for_too_long_is_bad_and_says_whose_it_is(postgres: Postgres, idle: int) -> None:
    answer = the_answer(PostgresTransactions(idle_limit=AT_ONCE), postgres=postgres)

    assert (answer.state, answer.limit) == ("bad", 1e-6)
    assert answer.say.startswith("the oldest transaction that does nothing has been idle for ")
    assert answer.say.endswith(f" (app in postgres, pid {idle})")


def test_one_that_is_open_for_too_long_is_bad(postgres: Postgres, idle: int) -> None:
    answer = the_answer(PostgresTransactions(open_limit=AT_ONCE), postgres=postgres)

    assert answer.state == "bad"
    assert answer.say.startswith("the oldest transaction has been open for ")
