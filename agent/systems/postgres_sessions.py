"""Sessions of PostgreSQL, seen and ended: by process and start, so that a process number used anew hits nobody else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from agent.action import Holds, Protected, call, slow
from agent.schema import Address
from agent.systems.postgres_granted import PostgresGranted, mending

PATIENCE: Final = 3.0
"""Seconds in which a session that was told to end usually has."""
_PAUSE: Final = 0.02
_GHOSTS: Final = """
    select pid, backend_start from pg_stat_activity
    where backend_type = 'client backend' and usesysid is not null and usesysid not in (select oid from pg_roles)
"""
_LISTED: Final = """
    select pid, backend_start from pg_stat_activity join unnest(%s::int[], %s::timestamp[]) as one (pid, begun) using (pid)
    where backend_start = begun at time zone 'UTC'
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One session and no other, ever: its process, when that began (UTC, as in 2026-11-23 11:35:54.123456), and whose it is."""

    pid: int
    begun: str
    role: str = ""


class PostgresSessions(PostgresGranted):
    """Ending sessions through containment.kick, which refuses the agent's own, replication's, and the server's own processes."""

    # Asking -------------------------------------------------------------------------------------------------------

    def sessions(self, instance: str, role: str = "", address: Address | None = None, database: str = "") -> list[Session]:
        """Client sessions that fit everything given, the oldest first, at most 1,000. Never the agent's own.

        Raises:
            CannotReach: as in `rows`.
        """
        found = self.rows(
            """
            with given (role, network, database) as (values (%s::text, %s::inet, %s::text))
            select pid, to_char(backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as begun, usename
            from pg_stat_activity, given
            where backend_type = 'client backend' and usename is distinct from session_user
              and (role = '' or usename = role) and (database = '' or datname = database)
              and (network is null or client_addr <<= network)
            order by backend_start, pid
            """,
            [role, str(address) if address else None, database],
            instance=instance,
        )
        return [Session(one.pid, one.begun, one.usename or "") for one in found]

    def role(self, instance: str, role: str) -> Any:
        """A role's row (oid, rolsuper, rolreplication, rolcanlogin, own), or None."""
        found = self.rows(
            """
            select oid, rolsuper, rolreplication, rolcanlogin, rolname = session_user as own
            from pg_roles where rolname = %s::text
            """,
            [role],
            instance=instance,
        )
        return found[0] if found else None

    def refuse_to_end(self, instance: str, role: str) -> None:
        """Nothing, for a role whose sessions may be ended.

        Raises:
            Protected: the agent's own role, or one of replication.
            CannotReach: as in `rows`.
        """
        found = self.role(instance, role)
        if found and (found.own or (found.rolreplication and not found.rolsuper)):
            why = "it is the agent's own role" if found.own else "replication would break"
            raise Protected(f"cannot end the sessions of role {role} on PostgreSQL {instance}: {why}")

    @call
    def sessions_seen(self, instance: str, sessions: tuple[Session, ...]) -> list[dict[str, Any]]:
        """What these sessions are: who, from where, since when, and the statement (4,000 bytes of it at most)."""
        found = self.rows(
            """
            select pid, backend_start::text, usename, datname, host(client_addr) as client_addr, client_port, application_name,
                   state, xact_start::text, backend_xid::text, substr(textsend(query), 1, 4000) as query
            from pg_stat_activity join unnest(%s::int[], %s::timestamp[]) as one (pid, begun) using (pid)
            where backend_start = begun at time zone 'UTC'
            """,
            _columns(sessions),
            instance=instance,
        )
        return [_told(one) for one in found]

    @call
    def all_sessions(self, instance: str) -> list[dict[str, Any]]:
        """The same of every session, processes of the server included; those in a transaction first, 1,000 at most."""
        found = self.rows(
            """
            select pid, backend_start::text, usename, datname, host(client_addr) as client_addr, client_port, application_name,
                   state, xact_start::text, backend_xid::text, substr(textsend(query), 1, 4000) as query, backend_type,
                   case when wait_event_type = 'Lock' then pg_blocking_pids(pid) end as blocked_by
            from pg_stat_activity where usename is distinct from session_user order by xact_start, backend_start
            """,
            instance=instance,
        )
        return [_told(one) for one in found]

    # Ending -------------------------------------------------------------------------------------------------------

    @call
    @slow(PATIENCE)
    def end_sessions(self, instance: str, sessions: tuple[Session, ...]) -> None:
        """End these sessions; what they had open is rolled back."""
        self.end(instance, _LISTED, _columns(sessions))

    @call
    def sessions_ended(self, instance: str, sessions: tuple[Session, ...]) -> bool | Holds:
        """Whether none of these sessions lives."""
        left = len(self.rows(_LISTED, _columns(sessions), instance=instance))
        if left and left < len(sessions):
            return Holds("partly", f"{left} of {some(len(sessions), 'session')} are left")
        return not left

    @call
    @slow(PATIENCE)
    def end_ghosts(self, instance: str) -> None:
        """End every session whose role is gone: dropping a role ends none."""
        self.end(instance, _GHOSTS)

    @call
    def no_ghosts(self, instance: str) -> bool:
        """Whether every session has a role that exists."""
        return not self.rows(_GHOSTS, instance=instance)

    def end(self, instance: str, which: LiteralString, params: Sequence[Any] = ()) -> set[tuple[int, datetime]]:
        """End the client sessions that a query finds (pid, backend_start), and all that come to fit it, until none does or
        3 s are over. Answers those that were told to end; verify says who is left.

        Raises:
            CannotReach: as in `rows`, or the grants are missing.
        """
        told: set[tuple[int, datetime]] = set()
        until = time.monotonic() + PATIENCE
        while found := {(one.pid, one.backend_start) for one in self.rows(which, params, instance=instance)}:
            if time.monotonic() > until:
                break
            if new := found - told:
                told |= new
                pids, begun = zip(*new, strict=True)
                kick = "select containment.kick(pid, begun) from unnest(%s::int[], %s::timestamptz[]) as one (pid, begun)"
                with mending():
                    self.rows(kick, [list(pids), list(begun)], instance=instance)
            time.sleep(_PAUSE)
        return told


def some(number: int, thing: str) -> str:
    """`1 session`, `7 sessions`."""
    return f"{number} {thing}{'s' * (number != 1)}"


def _told(row: Any) -> dict[str, Any]:
    """A session's row. Its statement is in the bytes of its own database, and may be no text in ours: left() would refuse all."""
    told: dict[str, Any] = row._asdict()
    return told if row.query is None else told | {"query": row.query.decode(errors="backslashreplace")}


def _columns(sessions: Sequence[Session]) -> list[Any]:
    return [[one.pid for one in sessions], [one.begun for one in sessions]]


NATIVE: Final = {
    "sessions_seen": "SELECT * FROM pg_stat_activity WHERE (pid, backend_start) IN ({sessions});",
    "all_sessions": "SELECT * FROM pg_stat_activity;",
    "end_sessions": "SELECT containment.kick(pid, begun) FROM (VALUES {sessions}) AS one (pid, begun);  -- UTC",
    "sessions_ended": "SELECT count(*) FROM pg_stat_activity WHERE (pid, backend_start) IN ({sessions});  -- 0; UTC",
    "end_ghosts": """
SELECT containment.kick(pid, backend_start) FROM pg_stat_activity WHERE usesysid NOT IN (SELECT oid FROM pg_roles);
""",
    "no_ghosts": "SELECT count(*) FROM pg_stat_activity WHERE usesysid NOT IN (SELECT oid FROM pg_roles);  -- 0",
}
"""Each verb in SQL, for the dry run."""
