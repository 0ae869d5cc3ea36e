"""PostgresWraparound: is PostgreSQL running out of transaction numbers?"""

from __future__ import annotations

from agent.checks.postgres_wraparound import STOPS, PostgresWraparound
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server


def test_a_young_server_is_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresWraparound(), postgres=postgres)

    assert answer.state == "good"
    assert "is 0 % of the way to transaction number wraparound" in answer.say


def test_the_oldest_database_counts_and_the_limit_is_bad(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run(*["select pg_current_xact_id()"] * 10)
    age = postgres_server.value("select max(age(datfrozenxid)) from pg_database")

    answer = the_answer(PostgresWraparound(used_limit=100 * 5 / STOPS), postgres=postgres)

    assert answer.state == "bad"
    assert answer.value == 100 * age / STOPS
    assert "to where writes stop" in answer.say
