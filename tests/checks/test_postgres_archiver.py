"""PostgresArchiver: does the archive keep up?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from agent.checks.postgres_archiver import PostgresArchiver
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.checks.waiting import once
from tests.postgres import Server, programs


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(programs(), archive_mode="on")
    try:
        made.start()
        made.run("create role agent login", "grant pg_monitor to agent")
        yield made
    finally:
        made.close()


@pytest.fixture
def own(server: Server) -> Iterator[Postgres]:
    with closing(Postgres({"main": server.dsn})) as made:
        yield made


def archive_with(server: Server, command: str) -> None:
    server.run(f"alter system set archive_command = '{command}'", "select pg_reload_conf()")
    server.run("create table grown (a int)", "drop table grown", "select pg_switch_wal()")


def test_an_archive_that_is_off_is_bad(postgres: Postgres) -> None:
    answer = the_answer(PostgresArchiver(), postgres=postgres)

    assert (answer.state, answer.target) == ("bad", "main")
    assert answer.say.startswith("nothing is archived: archive_mode is off")


def test_a_command_that_fails_is_bad_until_one_goes_well(server: Server, own: Postgres) -> None:
    archive_with(server, "false")
    failed = once("bad", PostgresArchiver(), own)

    archive_with(server, "true")

    assert failed.say.startswith("1 file waits to be archived; archiving 0000000100000000000000")
    assert failed.say.endswith(" ago, and nothing went since")
    assert once("good", PostgresArchiver(), own).limit == 64


def test_many_that_wait_are_bad_even_without_a_failure(server: Server, own: Postgres) -> None:
    archive_with(server, "")

    answer = the_answer(PostgresArchiver(waiting_limit=1), postgres=own)

    assert (answer.state, answer.value, answer.say) == ("bad", 1, "1 file waits to be archived")
