"""PostgresCrash: has it crashed and started itself again?"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from agent.checks.postgres_crash import PostgresCrash
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.postgres import Server, programs


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of our own, to be crashed."""
    made = Server(programs())
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


def crash(server: Server) -> None:
    with psycopg.connect(server.admin) as victim:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            victim.execute("select 1")
    until = time.monotonic() + 20
    while True:
        try:
            server.value("select 1")
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


def test_a_server_that_was_started_and_one_that_was_restarted_are_good(server: Server, own: Postgres) -> None:
    started = the_answer(PostgresCrash(), postgres=own)
    server.stop("fast")
    server.start()

    restarted = the_answer(PostgresCrash(), postgres=own)

    assert (started.state, restarted.state) == ("good", "good")
    assert restarted.say.endswith(" without a crash")


def test_a_crash_is_bad_for_a_while(server: Server, own: Postgres) -> None:
    while server.value("select clock_timestamp() - pg_postmaster_start_time() < '2.1 s'"):
        time.sleep(0.05)
    crash(server)

    bad = the_answer(PostgresCrash(), postgres=own)
    later = the_answer(PostgresCrash(within=timedelta(0)), postgres=own)

    assert (bad.state, later.state, bad.limit) == ("bad", "good", 3600)
    assert bad.say.startswith("PostgreSQL crashed and started itself again ")
    assert bad.say.endswith(" ago; its log says which process was terminated by which signal")
