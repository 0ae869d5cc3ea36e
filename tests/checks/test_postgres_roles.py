"""PostgresRoles: has a role more power than it should?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.checks.postgres_roles import MOST, PostgresRoles
from agent.systems.postgres import Postgres
from tests.checks.asking import answers, the_answer
from tests.postgres import Server


@pytest.fixture
def server(postgres_server: Server) -> Iterator[Server]:
    yield postgres_server
    postgres_server.run("alter role app nosuperuser noreplication nobypassrls nocreaterole")
    for name in postgres_server.value("select coalesce(array_agg(rolname), '{}') from pg_roles where rolname like 'extra%'"):
        postgres_server.run(f"drop role {name}")


def test_ordinary_roles_and_the_first_superuser_are_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresRoles(), postgres=postgres)

    assert (answer.state, answer.target) == ("good", "main")


@pytest.mark.parametrize(
    ("option", "power"),
    [
        ("superuser", "is a superuser"),
        ("replication", "has REPLICATION"),
        ("bypassrls createrole", "has BYPASSRLS, has CREATEROLE"),
    ],
)
def test_power_of_its_own_is_bad_and_the_role_is_the_target(server: Server, postgres: Postgres, option: str, power: str) -> None:
    server.run(f"alter role app {option}")

    answer = the_answer(PostgresRoles(), postgres=postgres)

    assert (answer.state, answer.target) == ("bad", "app")
    assert answer.say == f"role app {power}; take that away, or name it under allowed"


def test_power_through_a_chain_of_groups_is_bad_for_each(server: Server, postgres: Postgres) -> None:
    server.run(
        "create role extra", "grant pg_execute_server_program to extra", "create role extra2 login", "grant extra to extra2"
    )

    found = answers(PostgresRoles(), postgres=postgres)

    assert {one.target: one.say.partition(";")[0] for one in found} == {
        "extra": "role extra is a member of pg_execute_server_program (no login of its own)",
        "extra2": "role extra2 is a member of pg_execute_server_program",
    }


def test_who_can_become_a_superuser_is_as_bad_as_one(server: Server, postgres: Postgres) -> None:
    server.run("create role extra superuser", "create role extra2 login noinherit in role extra")

    found = answers(PostgresRoles(allowed=("extra",)), postgres=postgres)

    assert [one.say.partition(";")[0] for one in found] == ["role extra2 can become the superuser extra"]


def test_those_that_are_allowed_are_good(server: Server, postgres: Postgres) -> None:
    server.run("alter role app superuser")

    assert the_answer(PostgresRoles(allowed=("app",)), postgres=postgres).state == "good"


def test_no_more_than_twenty_have_an_answer_of_their_own(server: Server, postgres: Postgres) -> None:
    server.run(*(f"create role extra{number} createrole" for number in range(MOST + 5)))

    assert len(answers(PostgresRoles(), postgres=postgres)) == MOST
