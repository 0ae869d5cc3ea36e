"""A whole server fenced by a restart: what every action promises, whom it stops, and what is left when it is lifted."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actions.stop_writes import StopWrites
from agent.action import Holds, InProgress
from agent.schema import Ttl
from agent.systems.postgres import Postgres
from tests.contract import ActionContract, Systems
from tests.postgres import Server, eventually, met, planned, programs, run, systems_of, take_back
from tests.postgres_load import loaded

HOUR = Ttl(timedelta(hours=1))
FENCE = StopWrites(ttl=HOUR, strength="fence")
HARD = StopWrites(ttl=HOUR, strength="hard")
OVERRIDING = "set default_transaction_read_only = off"


@pytest.fixture(scope="module")
def lone() -> Iterator[Server]:
    """A server of our own: it is restarted all the time."""
    server = Server(programs())
    try:
        server.start()
        server.run("create role app login", "create table written (a int)", "alter table written owner to app")
        server.run("create table ledger as select generate_series(1, 1000) as a")
        server.grant("postgres")
        yield server
    finally:
        server.close()


@pytest.fixture
def here(lone: Server) -> Iterator[Postgres]:
    """The agent on the server's host; the server is a primary again after, whatever a test has left."""
    with closing(Postgres({"main": lone.dsn})) as made:
        made.keep()
        yield made
    left = lone.data / "standby.signal"
    if left.exists() or lone.value("select pg_is_in_recovery()"):
        left.unlink(missing_ok=True)
        lone.stop("fast")
        lone.start()


def process(server: Server) -> object:
    """What a restart is to leave as it was: command line, user, environment, log, and what else is open of it."""
    place = Path(f"/proc/{server.postmaster}")
    status = (place / "status").read_text().splitlines()
    who = [line for line in status if line.startswith(("Uid", "Gid", "Groups"))]
    environment = {one for one in (place / "environ").read_bytes().split(b"\0") if not one.startswith(b"PG_GRANDPARENT_PID")}
    return (place / "cmdline").read_bytes(), who, environment, (place / "fd/1").readlink(), (place / "fd/2").readlink()


def timeline(server: Server) -> int:
    return int(server.value("select timeline_id from pg_control_checkpoint()"))


class TestFenceAServer(ActionContract):
    action = FENCE

    @pytest.fixture
    def systems(self, here: Postgres, lone: Server) -> Systems:
        self.server = lone
        return systems_of(here)

    def world(self, systems: Systems) -> object:
        server = self.server
        files = sorted(one.name for one in server.data.iterdir())
        return files, timeline(server), process(server), server.rows("select * from ledger"), met(server, "app")


def test_everybody_is_stopped_superusers_too_and_goes_on_after(lone: Server, here: Postgres) -> None:
    with loaded(lone) as load:
        load.writer("stubborn", OVERRIDING)
        load.writer("superuser", OVERRIDING, role="boss")
        eventually(lambda: len(load.counts()) == 3)

        plan, outcomes = run(here, FENCE)
        before = load.counts(), load.balance()
        refused = met(lone, "postgres", OVERRIDING)
        after = load.counts(), load.balance()
        lifted = take_back(here, plan)

        assert [(one.result, one.error) for one in outcomes] == [("in_force", "")]
        assert (refused, after) == ("25006", before)
        assert lifted == [("lifted", "")]
        eventually(lambda: all(load.counts()[who] > number for who, number in after[0].items()))
        assert lone.value("select count(*) from ledger") == 1000


def test_the_plan_says_what_it_costs_and_whom_it_touches(lone: Server, here: Postgres) -> None:
    with psycopg.connect(lone.dsn.replace("user=agent", "user=app")):
        (change,) = planned(here, FENCE)

    assert FENCE.impact == "destructive"
    assert change.describe == (
        "restart PostgreSQL main as a standby that follows nobody for 1h: it ends 1 session, and nothing can be read for a second"
        " or two; then reads only, without FOR UPDATE, temporary tables, LISTEN; pause Patroni or the like first, or it promotes"
        " this server or another"
    )
    assert change.touches == ("postgres main", "database postgres")
    assert [one.verb for one in change.capture] == ["all_sessions", "activity", "settings"]
    assert (
        here.native(change.apply)
        .splitlines()[1]
        .startswith(f"runuser -u postgres -- {lone.programs}/pg_ctl restart -D {lone.data} -m fast")
    )


# Interrupted ----------------------------------------------------------------------------------------------------------


def leave(server: Server, name: str, text: str) -> None:
    (server.data / name).write_text(text)
    os.chown(server.data / name, server.data.stat().st_uid, -1)


def held(postgres: Postgres, change: Any) -> Any:
    (answer,) = postgres.perform([change.verify])
    return answer.error or answer.value


def test_ended_before_the_restart_it_holds_in_part_and_the_undo_takes_the_file(lone: Server, here: Postgres) -> None:
    (change,) = planned(here, FENCE)
    leave(lone, "standby.signal", f"{change.apply.args['cluster'].mark}\nmore\n")
    up = lone.value("select pg_postmaster_start_time()")

    holds = held(here, change)
    lifted = take_back(here, [change])

    assert holds == Holds("partly", "standby.signal is there, and the server has not been restarted: everybody writes")
    assert lifted == [("lifted", "")]
    assert not (lone.data / "standby.signal").exists()
    assert lone.value("select pg_postmaster_start_time()") == up


def test_ended_before_the_restart_it_is_finished_by_the_next_try(lone: Server, here: Postgres) -> None:
    (change,) = planned(here, FENCE)
    leave(lone, "standby.signal", f"{change.apply.args['cluster'].mark}\n")

    again, outcomes = run(here, FENCE)

    assert again == [change]
    assert [one.result for one in outcomes] == ["in_force"]
    assert take_back(here, [change]) == [("lifted", "")]


def test_ended_while_the_file_was_made_the_undo_takes_that_too(lone: Server, here: Postgres) -> None:
    (change,) = planned(here, FENCE)
    leave(lone, "standby.signal.containment", "contain")

    holds = held(here, change)
    lifted = take_back(here, [change])

    assert holds == Holds("partly", "standby.signal was being made, and is not there yet")
    assert lifted == [("lifted", "")]
    assert not list(lone.data.glob("standby.signal*"))


def test_ended_in_the_middle_of_the_undo_the_next_one_finishes_it(lone: Server, here: Postgres) -> None:
    plan, _ = run(here, FENCE)
    (lone.data / "standby.signal").unlink()

    holds = held(here, plan[0])
    lifted = take_back(here, plan)

    assert holds == Holds("partly", "standby.signal is gone: nobody can write until the next restart")
    assert lifted == [("lifted", "")]
    assert met(lone, "app") == ""


def test_a_server_that_is_down_loses_the_fence_and_is_left_down(lone: Server, here: Postgres) -> None:
    plan, _ = run(here, FENCE)
    lone.stop("fast")

    holds = held(here, plan[0])
    (lifted,) = take_back(here, plan)
    running = (lone.data / "postmaster.pid").exists()
    lone.start()

    assert holds == Holds("partly", "the server does not run; it will be a standby when it does (standby.signal is there)")
    assert (lifted[0], running) == ("failed", False)  # it cannot be asked, so nothing is claimed
    assert met(lone, "app") == ""
    assert held(here, plan[0]) is False


def test_while_it_shuts_down_or_starts_up_it_is_under_way(lone: Server, here: Postgres) -> None:
    (change,) = planned(here, FENCE)
    with psycopg.connect(lone.dsn.replace("user=agent", "user=app")) as session:
        backend = session.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            lone.call("pg_ctl", "stop", "-m", "fast", "-W", "-s", "-D", lone.data)
            eventually(lambda: isinstance(held(here, change), InProgress))  # pg_ctl -W does not wait for the signal to arrive
            seen = held(here, change)
        finally:
            os.kill(backend, signal.SIGCONT)
    eventually(lambda: not (lone.data / "postmaster.pid").exists())
    lone.start()

    assert isinstance(seen, InProgress)
    assert "shutting down" in str(seen)


def test_a_server_that_does_not_come_up_is_started_again_without_the_fence(lone: Server, here: Postgres) -> None:
    (change,) = planned(here, FENCE)
    thief = threading.Thread(target=take_the_port, args=(lone,))
    thief.start()

    (answer,) = here.perform([change.apply])
    thief.join(10)

    assert str(answer.error).startswith(f"cannot fence PostgreSQL main: runuser -u postgres -- {lone.programs}/pg_ctl restart")
    assert str(answer.error).endswith("; it was started again without the fence")
    assert met(lone, "app") == ""
    assert held(here, change) is False


def take_the_port(server: Server) -> None:
    """As soon as the server lets go of its port, until it has said that it cannot have it back."""
    said = server.home / "log"
    start = said.stat().st_size
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        eventually(lambda: taken(wire, server.port))
        eventually(lambda: b"could not create any TCP/IP sockets" in said.read_bytes()[start:])


def taken(wire: socket.socket, port: int) -> bool:
    try:
        wire.bind(("127.0.0.1", port))
        wire.listen()
    except OSError:
        return False
    return True


# What others do meanwhile --------------------------------------------------------------------------------------------


def test_a_superuser_who_promotes_it_is_told_and_not_overruled(lone: Server, here: Postgres) -> None:
    plan, _ = run(here, FENCE)
    before = timeline(lone)
    lone.run("select pg_promote()")

    (answer,) = here.perform([plan[0].apply])
    lifted = take_back(here, plan)

    said = f"somebody has promoted it: timeline {before} has become {before + 1}"
    assert str(answer.error) == f"cannot fence PostgreSQL main: {said}; plan it anew"
    assert lifted == [("gone", said)]
    assert met(lone, "app") == ""


def test_a_file_that_somebody_took_away_is_put_back_without_a_restart(lone: Server, here: Postgres) -> None:
    plan, _ = run(here, FENCE)
    up = lone.value("select pg_postmaster_start_time()")
    (lone.data / "standby.signal").unlink()

    here.perform([plan[0].apply])

    assert held(here, plan[0]) is True
    assert lone.value("select pg_postmaster_start_time()") == up
    assert take_back(here, plan) == [("lifted", "")]


def test_a_file_of_somebody_elses_is_left(lone: Server, here: Postgres) -> None:
    plan, _ = run(here, FENCE)
    leave(lone, "standby.signal", "mine\n")

    lifted = take_back(here, plan)

    assert lifted == [("gone", f"{lone.data}/standby.signal is there, and not from this fence")]
    assert (lone.data / "standby.signal").read_text() == "mine\n"


def test_a_hard_stop_outlives_this_fence_and_says_that_it_cannot_be_seen_meanwhile(lone: Server, here: Postgres) -> None:
    hard, _ = run(here, HARD)
    whole, outcomes = run(here, FENCE)

    meanwhile = held(here, hard[-1])
    early = take_back(here, hard[-1:])
    lifted = take_back(here, whole)
    refused = met(lone, "postgres", OVERRIDING)
    rest = take_back(here, hard)

    assert [one.result for one in outcomes] == ["in_force"]
    assert str(meanwhile) == early[0][1]
    assert early[0][0] == "failed"
    assert "PostgreSQL main is a standby; stop_writes with strength fence is to be lifted before" in str(meanwhile)
    assert (lifted, refused) == ([("lifted", "")], "55P03")
    assert rest == [("lifted", "")] * len(hard)
    assert met(lone, "app") == ""


# Replicas ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def replica(lone: Server) -> Iterator[Server]:
    server = Server(lone.programs, lone, wal_retrieve_retry_interval="100ms")
    try:
        server.start()
        eventually(lambda: lone.value("select count(*) from pg_stat_replication where state = 'streaming'") == 1)
        yield server
    finally:
        server.close()
        eventually(lambda: lone.value("select count(*) from pg_stat_replication") == 0)


def test_a_replica_streams_on_in_the_same_timeline(lone: Server, replica: Server, here: Postgres) -> None:
    before = timeline(lone)

    plan, _ = run(here, FENCE)
    lifted = take_back(here, plan)
    lone.run("create table since as select 1 as a")

    assert "; 1 replica goes on following; " in plan[0].describe
    assert lifted == [("lifted", "")]
    assert timeline(lone) == before
    eventually(lambda: replica.value("select to_regclass('since') is not null"), within=15)
    lone.run("drop table since")


def test_with_a_replica_promoted_meanwhile_it_is_not_lifted(lone: Server, replica: Server, here: Postgres) -> None:
    with closing(Postgres({"main": lone.dsn}, follow=timedelta(seconds=1))) as hasty:
        plan, _ = run(hasty, FENCE)
        replica.call("pg_ctl", "promote", "-w", "-t", "20", "-s", "-D", replica.data)

        ((result, said),) = take_back(hasty, plan)

    assert result == "failed"
    assert "walreceiver at this host followed it and does not now; was it promoted?" in said
    assert held(here, plan[0]) is True
