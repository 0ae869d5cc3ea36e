"""PostgresPrimary: is this server what it should be?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from agent.checks.postgres_primary import PostgresPrimary
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server


@pytest.fixture(scope="module")
def both(postgres_server: Server) -> Iterator[Postgres]:
    standby = Server(postgres_server.programs, postgres_server)
    try:
        standby.start()
        with closing(Postgres({"main": postgres_server.dsn, "standby": standby.dsn})) as made:
            yield made
    finally:
        standby.close()


def test_both_are_good_as_what_they_should_be(both: Postgres) -> None:
    primary = the_answer(PostgresPrimary(), postgres=both)
    standby = the_answer(PostgresPrimary("standby", standby=True), postgres=both)

    assert (primary.state, primary.say) == ("good", "PostgreSQL main is the primary")
    assert (standby.state, standby.say, standby.target) == ("good", "PostgreSQL standby is a standby", "standby")


def test_both_are_bad_as_the_other(both: Postgres) -> None:
    primary = the_answer(PostgresPrimary(standby=True), postgres=both)
    standby = the_answer(PostgresPrimary("standby"), postgres=both)

    assert (primary.state, standby.state) == ("bad", "bad")
    assert standby.say.startswith("PostgreSQL standby is a standby and should be the primary: a failover, ")
