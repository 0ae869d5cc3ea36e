"""Taking a login away: what every action promises, and whose login is never taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from actions.lock_role import LockRole
from agent import execute
from agent.action import CannotReach, Protected
from agent.schema import Ttl
from agent.systems.postgres import Postgres
from tests.contract import ActionContract, Systems
from tests.postgres import Server, planned, run, systems_of

HOUR = Ttl(timedelta(hours=1))
NAME = 'thief"; drop table x; --'


@pytest.fixture
def thief(postgres_server: Server) -> Iterator[str]:
    """A role with a hostile name, which may log in."""
    quoted = '"' + NAME.replace('"', '""') + '"'
    postgres_server.run(f"create role {quoted} login connection limit 3")
    yield quoted
    postgres_server.run(f"drop role if exists {quoted}")


def log_in(server: Server, role: str) -> psycopg.Connection[Any]:
    return psycopg.connect(server.dsn, user=role, autocommit=True)


class TestLockARole(ActionContract):
    action = LockRole(role=NAME, ttl=HOUR)

    @pytest.fixture
    def systems(self, postgres: Postgres, postgres_server: Server, thief: str) -> Systems:
        self.server = postgres_server
        return systems_of(postgres)

    def world(self, systems: Systems) -> object:
        roles = "select rolname, rolcanlogin, rolconnlimit, rolsuper, rolconfig from pg_roles order by 1"
        return self.server.rows(roles), self.server.rows(
            "select rolname from containment.taken join pg_roles r on r.oid = id order by 1"
        )


def test_its_sessions_end_and_it_cannot_come_back_until_it_is_lifted(
    postgres_server: Server, postgres: Postgres, thief: str
) -> None:
    with closing(log_in(postgres_server, NAME)) as session:
        (change,) = planned(postgres, LockRole(role=NAME, ttl=HOUR))

        ((outcome,),) = execute.apply([[("M-1", change)]], systems_of(postgres))

        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    assert (outcome.result, len(outcome.found)) == ("in_force", 3)
    assert change.describe == f"let nobody log in as {NAME} for 1h, and end 1 session of {NAME} on PostgreSQL main"
    assert change.touches == ("postgres main", f"role {NAME}")
    with pytest.raises(psycopg.OperationalError, match="is not permitted to log in"):
        log_in(postgres_server, NAME)

    execute.undo([("M-1", change)], {"postgres": postgres})
    log_in(postgres_server, NAME).close()


@pytest.mark.parametrize(
    ("role", "why"), [("postgres", "a superuser"), ("agent", "the agent's own role"), ("mirror", "a role of replication")]
)
def test_some_are_never_locked_in_the_plan_the_verb_and_the_server(
    postgres_server: Server, postgres: Postgres, role: str, why: str
) -> None:
    postgres_server.run("create role mirror login replication")
    try:
        with pytest.raises(Protected, match=f"cannot cut off role {role} on PostgreSQL main: it is {why}"):
            planned(postgres, LockRole(role=role, ttl=HOUR))
        locked, ended = postgres.perform([postgres.lock_role("main", role), postgres.end_roles("main", (role,))])
        with pytest.raises(CannotReach, match="superusers, replication and the agent itself keep their login"):
            postgres.granted("main", "select containment.lock_role(%s)", [role])
    finally:
        postgres_server.run("drop role mirror")

    assert isinstance(locked.error, Protected)
    assert isinstance(ended.error, Protected)


def test_a_role_that_does_not_exist_is_refused_and_ended_without_harm(postgres: Postgres) -> None:
    with pytest.raises(CannotReach, match="cannot lock role nobody: PostgreSQL main has no such role"):
        planned(postgres, LockRole(role="nobody", ttl=HOUR))

    ended, held = postgres.perform([postgres.end_roles("main", ("nobody",)), postgres.roles_ended("main", ("nobody",))])

    assert (ended.error, held.value) == (None, True)


def test_a_login_that_somebody_took_before_is_not_given_back(postgres_server: Server, postgres: Postgres, thief: str) -> None:
    with closing(log_in(postgres_server, NAME)):
        postgres_server.run(f"alter role {thief} nologin")
        (change,) = planned(postgres, LockRole(role=NAME, ttl=HOUR))
        execute.apply([[("M-1", change)]], systems_of(postgres))

        (answer,) = postgres.perform([postgres.unlock_role("main", NAME)])

    assert (change.undo, answer.error) == (None, None)
    assert planned(postgres, LockRole(role=NAME, ttl=HOUR)) == []
    assert postgres.role("main", NAME).rolcanlogin is False


def test_a_login_that_somebody_gave_back_is_told(postgres_server: Server, postgres: Postgres, thief: str) -> None:
    (change,) = planned(postgres, LockRole(role=NAME, ttl=HOUR))
    execute.apply([[("M-1", change)]], systems_of(postgres))
    postgres_server.run(f"alter role {thief} login")

    (release,) = execute.undo([("M-1", change)], {"postgres": postgres})

    assert (release.result, release.say) == ("gone", f"somebody has given role {NAME} its login back")


def test_a_name_longer_than_names_can_be_is_no_shorter_name(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run(f'create role "{"x" * 63}" login')
    try:
        (answer,) = postgres.perform([postgres.end_roles("main", ("x" * 64,))])

        assert answer.error is None
        assert postgres.role("main", "x" * 63).rolcanlogin
    finally:
        postgres_server.run(f'drop role "{"x" * 63}"')


def test_ending_a_role_ends_its_sessions_for_good_and_ghosts_are_found(
    postgres_server: Server, postgres: Postgres, thief: str
) -> None:
    with closing(log_in(postgres_server, NAME)) as session:
        before, _, after = postgres.perform(
            [postgres.roles_ended("main", (NAME,)), postgres.end_roles("main", (NAME,)), postgres.roles_ended("main", (NAME,))]
        )
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    postgres_server.run(f"alter role {thief} login")
    with closing(log_in(postgres_server, NAME)) as ghost:
        postgres_server.run(f"drop role {thief}")
        haunted, _, free = postgres.perform([postgres.no_ghosts("main"), postgres.end_ghosts("main"), postgres.no_ghosts("main")])
        with suppress(psycopg.OperationalError):
            ghost.execute("select 1")
        assert ghost.broken

    assert (before.value, after.value) == (False, True)
    assert (haunted.value, free.value) == (False, True)


def test_a_fence_around_everything_is_named_as_what_is_in_the_way(
    postgres_server: Server, postgres: Postgres, thief: str
) -> None:
    fenced, locked, ended, lifted = postgres.perform(
        [
            postgres.fence("main", "postgres"),
            postgres.lock_role("main", NAME),
            postgres.end_roles("main", (NAME, "b", "c", "d")),
            postgres.unfence("main", "postgres"),
        ]
    )

    assert (fenced.error, lifted.error) == (None, None)
    said = "stop_writes with strength hard has locked all roles; lift the hard stop first, or order this before it"
    assert str(locked.error) == f"cannot take the login from {NAME} on PostgreSQL main: {said}"
    assert str(ended.error) == f"cannot take the login from {NAME}, b, c and 1 more on PostgreSQL main: {said}"


def test_a_thief_who_holds_his_own_row_is_locked_out_all_the_same(
    postgres_server: Server, postgres: Postgres, thief: str
) -> None:
    with closing(psycopg.connect(postgres_server.dsn, user=NAME)) as session:
        session.execute(f"alter role {thief} password 'mine'".encode())

        _, outcomes = run(postgres, LockRole(role=NAME, ttl=HOUR))

        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    assert [(one.result, one.error) for one in outcomes] == [("in_force", "")]


def test_many_roles_are_ended_in_one_call_and_one_that_may_not_be_protects_all(
    postgres_server: Server, postgres: Postgres
) -> None:
    roles = tuple(f"v-{at:03}" for at in range(200))
    postgres_server.run(
        "do $$ begin for i in 0..199 loop execute format('create role %I login', 'v-' || lpad(i::text, 3, '0')); end loop; end $$"
    )
    try:
        with closing(log_in(postgres_server, roles[7])) as session:
            refused, too_many, before = postgres.perform(
                [
                    postgres.end_roles("main", (*roles[:9], "postgres")),
                    postgres.end_roles("main", (*roles, "one more")),
                    postgres.roles_ended("main", roles),
                ]
            )
            postgres_server.run(f'alter role "{roles[0]}" nologin')
            part, ended, after = postgres.perform(
                [postgres.roles_ended("main", roles), postgres.end_roles("main", roles), postgres.roles_ended("main", roles)]
            )
            with pytest.raises(psycopg.OperationalError):
                session.execute("select 1")
    finally:
        postgres_server.run(
            "do $$ begin for i in 0..199 loop execute format('drop role %I', 'v-' || lpad(i::text, 3, '0')); end loop; end $$"
        )

    assert isinstance(refused.error, Protected)
    assert "cannot end 201 roles at once on PostgreSQL main: 200 is the most" in str(too_many.error)
    assert (before.value, ended.error, after.value) == (False, None, True)
    assert part.value.say == "199 of 200 roles can still log in, and 1 session of them left"
