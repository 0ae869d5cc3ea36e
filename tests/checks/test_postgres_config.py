"""PostgresConfig: would PostgreSQL take its configuration files?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.checks.postgres_config import PostgresConfig
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server


@pytest.fixture
def file(postgres_server: Server) -> Iterator[Path]:
    """The server's own file; it is never loaded while a test has it."""
    path = postgres_server.data / "postgresql.conf"
    before = path.read_text()
    yield path
    path.write_text(before)


def test_files_that_can_be_read_are_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresConfig(), postgres=postgres)

    assert (answer.state, answer.value) == ("good", 0)
    assert answer.say.startswith("the configuration files hold nothing that PostgreSQL would refuse")


@pytest.mark.parametrize(
    ("line", "error"), [("work_mem = = 3", "syntax error"), ("wrok_mem = 3", "wrok_mem unrecognized configuration parameter")]
)
def test_a_line_that_makes_a_reload_do_nothing_is_bad(postgres: Postgres, file: Path, line: str, error: str) -> None:
    number = len(file.read_text().splitlines()) + 1
    file.write_text(f"{file.read_text()}{line}\n")

    answer = the_answer(PostgresConfig(), postgres=postgres)

    assert (answer.state, answer.value) == ("bad", 1)
    assert answer.say == (
        f"the next reload would be ignored, and PostgreSQL would not come up after a restart: {file}:{number}: {error}"
    )


def test_a_value_that_is_none_is_bad_for_the_next_start(postgres: Postgres, file: Path) -> None:
    file.write_text(f"{file.read_text()}work_mem = 'much'\n")

    answer = the_answer(PostgresConfig(), postgres=postgres)

    assert answer.state == "bad"
    assert answer.say.startswith("PostgreSQL would not come up after a restart: ")
    assert answer.say.endswith(": work_mem setting could not be applied")


def test_what_waits_for_a_restart_is_good_and_named(postgres: Postgres, file: Path) -> None:
    file.write_text(f"{file.read_text()}wal_level = minimal\n")

    answer = the_answer(PostgresConfig(), postgres=postgres)

    assert answer.state == "good"
    assert "; these wait for a restart: " in answer.say
    assert "wal_level" in answer.say


def test_a_role_without_the_grant_is_told_what_to_grant(postgres_server: Server) -> None:
    postgres_server.run("create role watcher login", "grant pg_monitor to watcher")
    try:
        with closing(Postgres({"main": postgres_server.dsn.replace("user=agent", "user=watcher")})) as postgres:
            before = the_answer(PostgresConfig(), postgres=postgres)
            postgres_server.run(*before.say.partition("in the database postgres: ")[2].split("; "))
            after = the_answer(PostgresConfig(), postgres=postgres)
    finally:
        postgres_server.run("drop owned by watcher", "drop role watcher")

    assert (before.state, after.state) == ("unknown", "good")
