"""Stopping writes: what every action promises, and whom it stops on a real server under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from actions.stop_writes import StopWrites
from agent.action import Change
from agent.schema import Ttl
from agent.systems.postgres import READ_ONLY, Postgres
from tests.contract import ActionContract, Systems
from tests.postgres import Server, eventually, met, planned, release, run, systems_of, take_back
from tests.postgres_load import Load, loaded

HOUR = Ttl(timedelta(hours=1))
SOFT = StopWrites(ttl=HOUR)
HARD = StopWrites(ttl=HOUR, strength="hard")
pytestmark = pytest.mark.usefixtures("written")


class StopContract(ActionContract):
    @pytest.fixture
    def systems(self, postgres: Postgres, postgres_server: Server) -> Systems:
        self.server = postgres_server
        return systems_of(postgres)

    def world(self, systems: Systems) -> object:
        files = "select name, setting from pg_file_settings where sourcefile like '%auto.conf' order by 1"
        prepared = "select gid, owner from pg_prepared_xacts order by 1"
        server = self.server
        return (server.rows(files), server.rows(prepared), met(server, "app"), server.value("show lock_timeout"))


class TestStopWritesSoftly(StopContract):
    action = SOFT


class TestStopWritesHard(StopContract):
    action = HARD


# Under load ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def load(postgres_server: Server) -> Iterator[Load]:
    with loaded(postgres_server) as made:
        yield made


def test_soft_stops_the_honest_and_names_who_gets_round_it(load: Load, postgres: Postgres) -> None:
    dsn = load.server.dsn.replace("user=agent", "user=app")
    load.writer("stubborn", "set default_transaction_read_only = off")
    eventually(lambda: len(load.counts()) == 2)
    with psycopg.connect(dsn) as begun, psycopg.connect(dsn) as written:
        begun.execute("select 1")
        written.execute("insert into load values ('open')")

        plan, outcomes = run(postgres, SOFT)
        before = load.counts(), load.balance()
        time.sleep(0.5)
        after = load.counts(), load.balance()

        assert [one.result for one in outcomes] == ["partly"]
        assert "wrote nonetheless (role app from 127.0.0.1); strength hard stops that" in outcomes[0].error
        assert after[1] == before[1]
        assert after[0]["honest"] == before[0]["honest"]
        assert after[0]["stubborn"] > before[0]["stubborn"]
        for session in (begun, written):
            with pytest.raises(psycopg.OperationalError):
                session.execute("insert into load values ('late')")

    take_back(postgres, plan)
    eventually(lambda: load.counts()["honest"] > after[0]["honest"])


def test_hard_stops_those_who_override_owners_and_superusers(load: Load, postgres: Postgres) -> None:
    load.writer("stubborn", "set default_transaction_read_only = off")
    load.writer("superuser", "set default_transaction_read_only = off", role="boss")
    eventually(lambda: len(load.counts()) == 3)

    plan, outcomes = run(postgres, HARD)
    before = load.counts(), load.balance()
    time.sleep(0.5)
    after = load.counts(), load.balance()
    lifted = take_back(postgres, plan)

    assert [(one.result, one.error) for one in outcomes] == [("in_force", "")] * 4
    assert after == before
    assert lifted == [("lifted", "")] * 4
    eventually(lambda: all(load.counts()[who] > number for who, number in after[0].items()))


# What outlives what -------------------------------------------------------------------------------------------------------


@pytest.fixture
def hard(postgres: Postgres) -> list[Change]:
    plan, outcomes = run(postgres, HARD)
    assert [one.result for one in outcomes] == ["in_force"] * 4
    return plan


OVERRIDING = "set default_transaction_read_only = off"


def test_a_fence_outlives_the_agent_and_a_crash_and_a_new_agent_takes_it_away(
    postgres_server: Server, postgres: Postgres, hard: list[Change]
) -> None:
    postgres.close()
    postgres_server.stop("immediate")
    postgres_server.start()

    with closing(Postgres({"main": postgres_server.dsn})) as fresh:
        after_the_crash = met(postgres_server, "postgres", OVERRIDING)
        lifted = take_back(fresh, hard)

    assert after_the_crash == "55P03"
    assert lifted == [("lifted", "")] * 4
    assert met(postgres_server, "app") == ""


def test_a_fence_goes_along_to_a_standby_that_takes_over(postgres_server: Server, postgres: Postgres, hard: list[Change]) -> None:
    standby = Server(postgres_server.programs, postgres_server)
    try:
        standby.start()
        standby.call("pg_ctl", "promote", "-w", "-t", "20", "-s", "-D", standby.data)
        refused = met(standby, "postgres", OVERRIDING)
        with closing(Postgres({"main": standby.dsn})) as there:
            lifted = take_back(there, hard)
        wrote = met(standby, "postgres")
    finally:
        standby.close()

    assert (refused, wrote) == ("55P03", "")
    assert lifted == [("lifted", "")] * 4


def test_what_waits_behind_a_fence_is_not_carried_out_when_it_is_lifted(
    postgres_server: Server, postgres: Postgres, hard: list[Change]
) -> None:
    with psycopg.connect(postgres_server.dsn.replace("user=agent", "user=app"), autocommit=True) as writer:
        writer.execute(f"{OVERRIDING}; set lock_timeout = 0")
        waiting = threading.Thread(target=lambda: suppress_errors(writer, "insert into written values (66)"))
        waiting.start()
        eventually(lambda: postgres_server.value("select count(*) from pg_locks where not granted") == 1)

        take_back(postgres, hard)
        waiting.join(5)

    assert postgres_server.value("select count(*) from written where a = 66") == 0


def suppress_errors(session: psycopg.Connection[Any], statement: str) -> None:
    with suppress(psycopg.Error):
        session.execute(statement.encode())


def test_a_table_that_was_not_yet_committed_is_no_way_round_the_fence(postgres_server: Server, postgres: Postgres) -> None:
    with psycopg.connect(postgres_server.admin) as maker:
        maker.execute("create table hidden (a int)")

        run(postgres, HARD)

        with pytest.raises(psycopg.OperationalError):
            maker.execute("insert into hidden values (1)")


def test_what_holds_a_lock_and_is_no_session_is_named(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("begin; insert into written values (1); prepare transaction 'theirs'")

    plan = planned(postgres, SOFT)
    _, soft = run(postgres, SOFT)
    hard = planned(postgres, StopWrites(ttl=HOUR, strength="hard"))
    (fence,) = postgres.perform([hard[-2].apply])

    assert len(plan) == 1
    assert soft[0].error == "1 prepared transaction can still be committed (theirs of role postgres)"
    assert "prepared transaction theirs held locks, and cannot be ended from here" in str(fence.error)


def test_values_that_stood_there_before_stand_there_again(postgres_server: Server, postgres: Postgres) -> None:
    files = "select name, setting from pg_file_settings where sourcefile like '%auto.conf' order by 1"
    postgres_server.run(
        "alter system set default_transaction_read_only = 'no'",
        "alter system set lock_timeout = '2min'",
        "select pg_reload_conf()",
    )
    eventually(lambda: postgres_server.value("show lock_timeout") == "2min")
    before = postgres_server.rows(files)

    plan, outcomes = run(postgres, HARD)
    held = postgres_server.rows(files)
    take_back(postgres, plan)

    assert [one.result for one in outcomes] == ["in_force"] * 4
    assert dict(held) == {"default_transaction_read_only": "on", "lock_timeout": "500ms"}
    assert postgres_server.rows(files) == before
    assert (met(postgres_server, "app"), postgres_server.value("show lock_timeout")) == ("", "2min")


# What others do meanwhile --------------------------------------------------------------------------------------------


def test_what_somebody_changes_meanwhile_is_left_and_told(
    postgres_server: Server, postgres: Postgres, hard: list[Change]
) -> None:
    postgres_server.run(
        "alter system set default_transaction_read_only = 'false'",
        "alter system set lock_timeout = '7s'",
        "select pg_reload_conf()",
    )
    eventually(lambda: postgres_server.value("show lock_timeout") == "7s")

    lifted = take_back(postgres, hard)

    assert [one[0] for one in lifted] == ["lifted", "lifted", "gone", "gone"]
    assert lifted[2][1] == "somebody has changed lock_timeout in postgresql.auto.conf to 7s"
    assert lifted[3][1] == "somebody has changed default_transaction_read_only in postgresql.auto.conf to false"
    assert postgres_server.value("show lock_timeout") == "7s"


def test_what_was_changed_since_the_plan_is_not_overruled(postgres_server: Server, postgres: Postgres) -> None:
    (change,) = planned(postgres, SOFT)
    postgres_server.run("alter system set default_transaction_read_only = 'false'")

    (answer,) = postgres.perform([change.apply])

    assert "somebody has changed default_transaction_read_only in postgresql.auto.conf to false; plan it anew" in str(
        answer.error
    )
    assert postgres.written("main", READ_ONLY) == "false"


def test_roles_and_databases_that_override_the_default_are_named(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run(
        "alter role app set default_transaction_read_only = off", "alter database shop set default_transaction_read_only = no"
    )
    try:
        (change,) = planned(postgres, SOFT)
        _, outcomes = run(postgres, SOFT)
    finally:
        postgres_server.run("alter role app reset all", "alter database shop reset all")

    assert change.describe.endswith("; database shop, role app will override it")
    assert (outcomes[0].result, outcomes[0].error) == ("partly", "database shop, role app override it (ALTER … SET)")


def test_a_transaction_named_like_a_fence_by_somebody_else_is_none(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("begin; create table decoy (a int); prepare transaction 'containment-postgres'")

    (held,) = postgres.perform([postgres.is_fenced("main", "postgres")])
    (undone,) = postgres.perform([postgres.unfence("main", "postgres")])

    assert held.value.say == "role postgres has prepared a transaction named containment-postgres; ROLLBACK PREPARED it"
    assert undone.error is None
    assert postgres_server.value("select count(*) from pg_prepared_xacts") == 1


def test_a_database_that_its_owner_calls_a_template_is_fenced_all_the_same(postgres_server: Server, postgres: Postgres) -> None:
    owner = postgres_server.dsn.replace("user=agent dbname=postgres", "user=app dbname=shop")
    try:
        with psycopg.connect(owner, autocommit=True) as session:
            session.execute("alter database shop is_template true")

        plan, outcomes = run(postgres, HARD)

        assert [one.result for one in outcomes] == ["in_force"] * 4
        with psycopg.connect(owner) as session, pytest.raises(psycopg.errors.LockNotAvailable):
            session.execute("set transaction read write").execute("create table sneaked (a int)")
        take_back(postgres, plan)
    finally:
        release(postgres_server)
        postgres_server.run("alter database shop is_template false")


def test_a_database_whose_texts_are_bytes_to_others_is_fenced_and_seen_to_be(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("alter database shop set client_encoding = 'SQL_ASCII'")
    try:
        plan, outcomes = run(postgres, HARD)
        take_back(postgres, plan)

        assert [(one.result, one.error) for one in outcomes] == [("in_force", "")] * 4
    finally:
        postgres_server.run("alter database shop reset client_encoding")


def test_subscriptions_are_paused_and_go_on_after(postgres_server: Server, postgres: Postgres) -> None:
    away = "connection 'host=127.0.0.1 port=1' publication p with (connect = false, slot_name = none"
    postgres_server.run(
        f"create subscription fed {away})", f"create subscription idle {away})", "create subscription used " + away + ")"
    )
    try:
        postgres_server.run(*(f"alter subscription {one} set (slot_name = 's')" for one in ("fed", "used")))
        postgres_server.run(*(f"alter subscription {one} enable" for one in ("fed", "used")))

        plan, outcomes = run(postgres, SOFT)
        paused = postgres_server.rows("select subname, subenabled from pg_subscription order by 1")
        lifted = take_back(postgres, plan)
        after = postgres_server.rows("select subname, subenabled from pg_subscription order by 1")
    finally:
        for one in ("fed", "used", "idle"):
            postgres_server.run(
                f"alter subscription {one} disable",
                f"alter subscription {one} set (slot_name = none)",
                f"drop subscription {one}",
            )

    assert [one.result for one in outcomes][1] == "in_force"
    assert paused == [("fed", False), ("idle", False), ("used", False)]
    assert [one[0] for one in lifted] == ["lifted", "lifted"]
    assert after == [("fed", True), ("idle", False), ("used", True)]
