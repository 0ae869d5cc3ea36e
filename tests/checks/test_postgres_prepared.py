"""PostgresPrepared: are there prepared transactions that nobody ends?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from agent.checks.postgres_prepared import PostgresPrepared
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server

AT_ONCE = timedelta(0)


def prepare(dsn: str, gid: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("select txid_current()")
        connection.execute(f"prepare transaction '{gid}'".encode())


@pytest.fixture
def forgotten(postgres_server: Server) -> Iterator[None]:
    prepare(postgres_server.admin, "forgotten")
    yield
    postgres_server.run("rollback prepared 'forgotten'")


@pytest.fixture
def fence(postgres_server: Server) -> Iterator[None]:
    prepare(postgres_server.dsn, "containment-M-1")
    yield
    postgres_server.run("rollback prepared 'containment-M-1'")


def test_none_is_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresPrepared(), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "no transaction is prepared")


def test_a_young_one_is_good_and_an_old_one_is_bad(postgres: Postgres, forgotten: None) -> None:
    young = the_answer(PostgresPrepared(), postgres=postgres)
    old = the_answer(PostgresPrepared(age_limit=AT_ONCE), postgres=postgres)

    assert (young.state, old.state) == ("good", "bad")
    assert old.say.startswith("1 prepared; the oldest, 'forgotten' of postgres in postgres, is ")
    assert old.say.endswith("; ask its owner, then COMMIT PREPARED or ROLLBACK PREPARED it in that database")


def test_the_agents_own_fence_is_good_however_old(postgres: Postgres, fence: None) -> None:
    answer = the_answer(PostgresPrepared(age_limit=AT_ONCE), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "no transaction is prepared, but for 1 of the agent's own fences")


def test_another_roles_is_not_the_agents_whatever_it_is_called(postgres_server: Server, postgres: Postgres) -> None:
    prepare(postgres_server.admin, "containment-M-2")
    try:
        answer = the_answer(PostgresPrepared(age_limit=AT_ONCE), postgres=postgres)
    finally:
        postgres_server.run("rollback prepared 'containment-M-2'")

    assert (answer.state, "'containment-M-2' of postgres" in answer.say) == ("bad", True)
