"""PostgresConnections: are they running out?"""

from __future__ import annotations

from contextlib import ExitStack

import psycopg

from agent.checks.postgres_connections import PostgresConnections
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server


def test_few_are_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresConnections(), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "1 of 17 connections are used (6 %)")


def test_all_taken_is_bad_and_is_still_counted(postgres_server: Server, postgres: Postgres) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(psycopg.connect(postgres_server.dsn.replace("user=agent", "user=app")))

        answer = the_answer(PostgresConnections(), postgres=postgres)

    assert (answer.state, answer.value, answer.limit, answer.target) == ("bad", 100, 90, "main")
    assert answer.say == "17 of 17 connections are used (100 %)"


def test_a_server_that_is_down_is_unknown() -> None:
    postgres = Postgres({"main": "host=127.0.0.1 port=1 user=agent"})

    assert the_answer(PostgresConnections(), postgres=postgres).state == "unknown"
