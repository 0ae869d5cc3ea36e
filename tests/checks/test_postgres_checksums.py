"""PostgresChecksums: has PostgreSQL read damaged pages?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from agent.checks.postgres_checksums import PostgresChecksums
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server, programs


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of our own, to be damaged."""
    made = Server(programs())
    try:
        made.start()
        made.run("create role agent login", "grant pg_monitor to agent", "create table t as select generate_series(1, 1000) as a")
        yield made
    finally:
        made.close()


@pytest.fixture
def own(server: Server) -> Iterator[Postgres]:
    with closing(Postgres({"main": server.dsn})) as made:
        yield made


def test_no_damage_is_good(own: Postgres) -> None:
    answer = the_answer(PostgresChecksums(), postgres=own)

    assert (answer.state, answer.say) == ("good", "no page has failed its checksum")


def test_a_damaged_page_is_bad_from_the_moment_somebody_reads_it(server: Server, own: Postgres) -> None:
    table = server.data / str(server.value("select pg_relation_filepath('t')"))
    server.stop("fast")
    with table.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xde\xad\xbe\xef")
    server.start()
    unread = the_answer(PostgresChecksums(), postgres=own)

    with pytest.raises(psycopg.errors.DataCorrupted):
        server.run("select sum(a) from t")

    read = the_answer(PostgresChecksums(), postgres=own)
    assert (unread.state, read.state, read.value, read.target) == ("good", "bad", 1, "postgres")
    assert read.say.startswith("1 reads of damaged pages in postgres, the last ")
    assert read.say.endswith(" ago; copy the data before anything else")
    assert the_answer(PostgresChecksums(within=timedelta(0)), postgres=own).state == "good"


def test_checksums_that_are_off_are_said(server: Server, own: Postgres) -> None:
    server.stop("fast")
    server.call("pg_checksums", "--disable", "-D", server.data)
    server.start()

    answer = the_answer(PostgresChecksums(), postgres=own)

    assert (answer.state, answer.target) == ("unknown", "main")
    assert answer.say.startswith("data checksums are off, so damaged pages go unnoticed")
