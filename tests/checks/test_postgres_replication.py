"""PostgresReplication: do replicas keep up?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from agent.check import Answer
from agent.checks.postgres_replication import PostgresReplication
from agent.systems.postgres import Postgres
from tests.checks.asking import answers, the_answer
from tests.postgres import Server


@pytest.fixture(scope="module")
def standby(postgres_server: Server) -> Iterator[Server]:
    server = Server(postgres_server.programs, postgres_server)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def both(postgres_server: Server, standby: Server) -> Iterator[Postgres]:
    with closing(Postgres({"main": postgres_server.dsn, "standby": standby.dsn})) as made:
        until = time.monotonic() + 10
        while not any("streaming" in one.say for one in answers(PostgresReplication(), postgres=made)):
            assert time.monotonic() < until
        yield made


@pytest.fixture
def slot(postgres_server: Server) -> Iterator[None]:
    postgres_server.run("select pg_create_physical_replication_slot('forgotten', true)")
    yield
    postgres_server.run("select pg_drop_replication_slot('forgotten')")


def test_neither_replicas_nor_slots_is_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresReplication(), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "no replicas and no slots")


def test_a_replica_that_is_missing_is_bad_when_it_is_wanted(postgres: Postgres) -> None:
    answer = the_answer(PostgresReplication(replicas_floor=1), postgres=postgres)

    assert (answer.state, answer.say) == ("bad", "0 replicas are connected, at least 1 should be")


def test_a_slot_without_a_reader_is_bad(postgres: Postgres, slot: None) -> None:
    answer = the_answer(PostgresReplication(), postgres=postgres)

    assert (answer.state, answer.target) == ("bad", "forgotten")
    assert answer.say.startswith("slot forgotten has no reader and keeps ")


def test_a_slot_that_lost_what_its_reader_needs_is_bad(postgres_server: Server, postgres: Postgres, slot: None) -> None:
    postgres_server.run("alter system set max_slot_wal_keep_size = '1MB'", "select pg_reload_conf()")
    for _ in range(3):
        postgres_server.run("create table grown (a int)", "drop table grown", "select pg_switch_wal()", "checkpoint")
    try:
        answer = the_answer(PostgresReplication(), postgres=postgres)
    finally:
        postgres_server.run("alter system reset max_slot_wal_keep_size", "select pg_reload_conf()")

    assert answer.say == "slot forgotten has lost log that its reader needs; the replica has to be built anew"


def test_a_replica_that_keeps_up_is_good_on_both_sides(both: Postgres) -> None:
    replica = the_answer(PostgresReplication(replicas_floor=1), postgres=both)
    standby = the_answer(PostgresReplication("standby"), postgres=both)

    assert (replica.state, replica.target) == ("good", "walreceiver")
    assert (standby.state, standby.target) == ("good", "standby")
    assert standby.say.startswith("this standby replays ")


def test_a_replica_that_falls_behind_is_bad(postgres_server: Server, standby: Server, both: Postgres) -> None:
    standby.run("select pg_wal_replay_pause()")
    postgres_server.run("create table late as select generate_series(1, 50000) as a", "drop table late")
    try:
        answer = _once_bad(PostgresReplication(lag_limit_mib=1), both)
    finally:
        standby.run("select pg_wal_replay_resume()")

    assert answer.target == "walreceiver"
    assert "MiB behind" in answer.say


def test_a_standby_that_receives_nothing_is_bad(standby: Server, both: Postgres) -> None:
    standby.run("alter system set primary_conninfo = 'host=127.0.0.1 port=1'", "select pg_reload_conf()")
    try:
        answer = _once_bad(PostgresReplication("standby"), both, because="no receiver runs")  # it says `stopping` on the way
    finally:
        standby.run("alter system reset primary_conninfo", "select pg_reload_conf()")

    assert answer.say == "this standby receives nothing (no receiver runs)"


def _once_bad(question: PostgresReplication, postgres: Postgres, because: str = "") -> Answer:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for one in answers(question, postgres=postgres):
            if one.state == "bad" and because in one.say:
                return one
    raise AssertionError(f"it never was bad {f'because {because}' if because else ''}")
