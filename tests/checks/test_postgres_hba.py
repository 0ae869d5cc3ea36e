"""PostgresHba: does pg_hba.conf let people in without a password?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.checks.postgres_hba import PostgresHba
from agent.schema import address
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server

SAFE = "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n"


@pytest.fixture
def file(postgres_server: Server) -> Iterator[Path]:
    """The server's own file; it is never loaded while a test has it."""
    path = postgres_server.data / "pg_hba.conf"
    before = path.read_text()
    path.write_text(SAFE)
    yield path
    path.write_text(before)


def test_passwords_over_the_network_are_good(postgres: Postgres, file: Path) -> None:
    answer = the_answer(PostgresHba(), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "pg_hba.conf trusts nobody over the network")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("all", "all"),
        ("0.0.0.0/0", "0.0.0.0"),
        ("::/0", "::"),
        ("10.0.0.0 255.0.0.0", "10.0.0.0"),
        ("samenet", "samenet"),
        (".example.com", ".example.com"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("10.1.0.0 255.0.255.0", "10.1.0.0"),
    ],
)
def test_trust_over_the_network_is_bad_from_anywhere(postgres: Postgres, file: Path, place: str, shown: str) -> None:
    file.write_text(f"{SAFE}host all bob {place} trust\n")

    answer = the_answer(PostgresHba(trusted=(address("192.0.2.0/24"),)), postgres=postgres)

    assert (answer.state, answer.value) == ("bad", 1)
    assert answer.say == f"pg_hba.conf line 3 trusts bob from {shown} without a password"


@pytest.mark.parametrize("place", ["10.1.2.3/32", "10.1.0.0 255.255.0.0", "fd00:1::/32"])
def test_trust_within_what_is_trusted_is_good(postgres: Postgres, file: Path, place: str) -> None:
    file.write_text(f"{SAFE}hostssl all all {place} trust\n")

    answer = the_answer(PostgresHba(trusted=(address("10.0.0.0/8"), address("fd00::/8"))), postgres=postgres)

    assert answer.state == "good"


def test_a_line_that_only_cannot_match_now_is_not_broken(postgres: Postgres, file: Path) -> None:
    file.write_text(f"{SAFE}hostssl all all all cert\n")

    answer = the_answer(PostgresHba(), postgres=postgres)

    assert answer.state == "good"  # the view shows an error: ssl is off here


def test_broken_lines_are_bad_and_the_first_three_are_named(postgres: Postgres, file: Path) -> None:
    file.write_text(SAFE + "host all all 1.2.3.4/99 md5\n" * 5)

    answer = the_answer(PostgresHba(), postgres=postgres)

    assert (answer.state, answer.value) == ("bad", 5)
    assert answer.say.startswith("pg_hba.conf line 3 is broken, so that the file is not loaded: invalid CIDR mask")
    assert answer.say.endswith("; and 2 more")


def test_a_role_without_the_grant_is_told_what_to_grant(postgres_server: Server, file: Path) -> None:
    postgres_server.run("create role watcher login", "grant pg_monitor to watcher")
    try:
        with closing(Postgres({"main": postgres_server.dsn.replace("user=agent", "user=watcher")})) as postgres:
            before = the_answer(PostgresHba(), postgres=postgres)
            postgres_server.run(*before.say.partition("in the database postgres: ")[2].split("; "))
            after = the_answer(PostgresHba(), postgres=postgres)
    finally:
        postgres_server.run("drop owned by watcher", "drop role watcher")

    assert (before.state, after.state) == ("unknown", "good")
