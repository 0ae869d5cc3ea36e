"""Ending sessions: what every action promises, and whose sessions are never ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from typing import Any

import psycopg
import pytest

from actions.end_sessions import EndSessions
from agent import execute
from agent.action import CannotReach, Protected
from agent.systems.postgres import Postgres, Session
from tests.contract import OnceContract, Systems
from tests.postgres import Server, eventually, planned, systems_of


@pytest.fixture
def app(postgres_server: Server) -> Iterator[psycopg.Connection[Any]]:
    """A session of the role app over TCP, in the database postgres."""
    with closing(psycopg.connect(postgres_server.dsn.replace("user=agent", "user=app"), autocommit=True)) as session:
        yield session


class TestEndTheSessionsOfARole(OnceContract):
    action = EndSessions(role="app")

    @pytest.fixture
    def systems(self, postgres: Postgres, postgres_server: Server, app: psycopg.Connection[Any]) -> Systems:
        self.server = postgres_server
        return systems_of(postgres)

    def world(self, systems: Systems) -> object:
        return self.server.rows("select pid, backend_start from pg_stat_activity where usename = 'app' order by 1")


@pytest.mark.parametrize(
    ("action", "ended"),
    [
        (EndSessions(role="app"), True),
        (EndSessions(address=ip_network("127.0.0.0/8")), True),
        (EndSessions(database="postgres", role="app"), True),
        (EndSessions(database="shop"), False),
        (EndSessions(address=ip_network("10.0.0.0/8"), role="app"), False),
        (EndSessions(role="app' or true --"), False),
    ],
)
def test_only_what_fits_everything_given_is_ended(
    app: psycopg.Connection[Any], postgres: Postgres, action: EndSessions, ended: bool
) -> None:
    plan = planned(postgres, action)
    execute.apply([[("M-1", change) for change in plan]], systems_of(postgres))

    lives = True
    try:
        app.execute("select 1")
    except psycopg.OperationalError:
        lives = False
    assert (len(plan), lives) == (int(ended), not ended)


def test_the_plan_says_whose_and_what_they_did_is_kept_first(app: psycopg.Connection[Any], postgres: Postgres) -> None:
    app.execute("select 'exfiltrated'")
    (change,) = planned(postgres, EndSessions(role="app", database="postgres"))

    ((outcome,),) = execute.apply([[("M-1", change)]], systems_of(postgres))

    assert change.describe == "end 1 session of role app in database postgres on PostgreSQL main"
    assert change.touches == ("postgres main", "role app")
    (seen,) = outcome.found[0]["value"]
    assert (seen["usename"], seen["client_addr"], seen["query"]) == ("app", "127.0.0.1", "select 'exfiltrated'")


def test_nobody_given_is_refused(postgres: Postgres) -> None:
    with pytest.raises(CannotReach, match="whose is not said; give a role, an address or a database"):
        planned(postgres, EndSessions())


def test_the_agents_own_sessions_and_replication_are_left_alone(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("create role mirror login replication")
    receive = [postgres_server.programs / "pg_receivewal", "-D", postgres_server.home, "-h", "127.0.0.1", "-U", "mirror"]
    with subprocess.Popen([*map(str, receive), "-p", str(postgres_server.port)]) as mirror:
        try:
            eventually(lambda: postgres_server.value("select count(*) from pg_stat_replication") == 1)
            with pytest.raises(Protected, match="role agent on PostgreSQL main: it is the agent's own role"):
                planned(postgres, EndSessions(role="agent"))
            with pytest.raises(Protected, match="role mirror on PostgreSQL main: replication would break"):
                planned(postgres, EndSessions(role="mirror"))

            rest = planned(postgres, EndSessions(address=ip_network("127.0.0.1")))
            kicked = postgres.rows(
                "select containment.kick(pid, backend_start) as told from pg_stat_activity where usename in ('agent', 'mirror')"
            )

            assert (rest, [one.told for one in kicked]) == ([], [False, False])
            assert postgres_server.value("select count(*) from pg_stat_replication") == 1
        finally:
            mirror.terminate()
            mirror.wait(10)
            eventually(lambda: postgres_server.value("select count(*) from pg_stat_replication") == 0)
            postgres_server.run("drop role mirror")


def test_a_number_used_anew_hits_nobody_else(app: psycopg.Connection[Any], postgres: Postgres) -> None:
    (session,) = postgres.sessions("main", role="app")
    older = Session(session.pid, "2001-01-01 00:00:00.000000")

    (ended, held) = postgres.perform([postgres.end_sessions("main", (older,)), postgres.sessions_ended("main", (older,))])

    assert (ended.error, held.value) == (None, True)
    assert app.execute("select 1").fetchone() == (1,)


def test_a_superusers_session_is_ended_too(postgres_server: Server, postgres: Postgres) -> None:
    with closing(psycopg.connect(postgres_server.admin)) as boss:
        plan = planned(postgres, EndSessions(role="postgres"))
        execute.apply([[("M-1", change) for change in plan]], systems_of(postgres))

        with pytest.raises(psycopg.OperationalError):
            boss.execute("select 1")
