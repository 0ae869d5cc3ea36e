"""PostgreSQL servers, by name: what they say about themselves, over a connection that stays open.

The agent's own role needs no superuser:

    CREATE ROLE agent LOGIN CONNECTION LIMIT 8;
    GRANT pg_monitor TO agent;

One connection per instance is opened early and kept, because with every slot taken nobody gets a new one (PostgreSQL 15
reserves slots for superusers only), and because a stopped postmaster shows only on a new one.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, LiteralString

from agent.action import CannotReach, System
from agent.systems.cut_off import cut_off

if TYPE_CHECKING:
    from psycopg import Connection

ANSWER: Final = timedelta(seconds=3)
"""What the server may take for one question; it stops by itself then."""
MOST_ROWS: Final = 1_000
_SESSION: Final = " ".join(
    f"-c {setting}"
    for setting in (
        f"statement_timeout={ANSWER.seconds}s",
        "lock_timeout=1s",
        "default_transaction_read_only=on",
        "search_path=pg_catalog",  # nothing that others may create stands before the server's own names
        "jit=off",
    )
)
_OURS: Final = re.compile(
    r"password|authentication|pg_hba|(role|database) \".*\" does not exist|not permitted to log in|permission denied|certificate"
    r"|too many connections for role|unsupported startup parameter",
    re.IGNORECASE,
)


class NotAdmitted(CannotReach):
    """The agent's own login is wrong, which says nothing about the server. psycopg gives no SQLSTATE here: the text decides."""


@dataclass
class _Instance:
    """One server: how to reach it, and the connection that stays open."""

    dsn: str
    kept: Connection[Any] | None = None
    monitors: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Postgres(System):
    """The PostgreSQL servers of agent.yaml: name → connection string or URL."""

    name = "postgres"

    def __init__(self, instances: Mapping[str, str]) -> None:
        self._instances = {name: _Instance(dsn) for name, dsn in instances.items()}

    # Connections --------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Open the connection that stays open to every instance; to be done at start, while there is still a slot.

        Raises:
            CannotReach: some instance does not answer; the others are connected.
        """
        failed = []
        for name, instance in self._instances.items():
            try:
                with instance.lock:
                    self._kept(name, instance)
            except CannotReach as error:
                failed.append(str(error))
        if failed:
            raise CannotReach("; ".join(failed))

    def close(self) -> None:
        """End every connection."""
        for instance in self._instances.values():
            if instance.kept:
                instance.kept.close()

    def ask_new(self, instance: str, within: timedelta) -> timedelta:
        """How long it takes to log in anew and get an answer.

        Raises:
            NotAdmitted: the agent's role, password, database or pg_hba.conf line does not fit.
            CannotReach: no answer `within` (2 s at least: the floor of libpq), or no free slot.
        """
        started = time.monotonic()
        with _open(instance, self._named(instance).dsn, within) as connection:
            _answers(instance, connection, within)
        return timedelta(seconds=time.monotonic() - started)

    def keeps(self, instance: str) -> bool:
        """Whether a connection is open, as far as this side knows."""
        kept = self._named(instance).kept
        return kept is not None and not kept.closed

    def ask_kept(self, instance: str, within: timedelta) -> None:
        """Get an answer over the connection that stays open, which is opened if there never was one.

        Raises:
            CannotReach: the server has ended it, or no answer `within`; the next question opens another.
        """
        named = self._named(instance)
        with named.lock:
            _answers(instance, self._kept(instance, named), within)

    def _named(self, instance: str) -> _Instance:
        if instance not in self._instances:
            known = ", ".join(self._instances) or "none"
            raise CannotReach(f"cannot ask PostgreSQL {instance}: agent.yaml does not name it under postgres; it names {known}")
        return self._instances[instance]

    def _kept(self, name: str, instance: _Instance) -> Connection[Any]:
        if instance.kept is None or instance.kept.closed:
            instance.kept = _open(name, instance.dsn, ANSWER)
        return instance.kept

    # Reading ------------------------------------------------------------------------------------------------------

    def rows(self, query: LiteralString, params: Sequence[Any] = (), *, instance: str = "main") -> list[Any]:
        """What the server answers, at most 1,000 rows with a field per column, asked over the kept connection.

        Outside a transaction, in which pg_stat_activity would be a frozen picture.

        Raises:
            CannotReach: no answer within 3 s, or the role does not see what others do.
        """
        named = self._named(instance)
        with named.lock:
            known = named.kept
            try:
                return self._fetch(instance, named, query, params)
            except CannotReach as error:
                if known is None or not known.closed or isinstance(error.__cause__, TimeoutError):
                    raise
            return self._fetch(instance, named, query, params)  # it was restarted since the last question

    def row(self, query: LiteralString, params: Sequence[Any] = (), *, instance: str = "main") -> Any:
        """The one row of a query that always has one.

        Raises:
            CannotReach: as in `rows`.
        """
        return self.rows(query, params, instance=instance)[0]

    def _fetch(self, name: str, named: _Instance, query: LiteralString, params: Sequence[Any]) -> list[Any]:
        connection = self._kept(name, named)
        if not named.monitors:
            (seen,) = _execute(name, connection, "select session_user as role, pg_has_role('pg_monitor', 'usage') as monitors")
            if not seen.monitors:
                raise CannotReach(
                    f"cannot watch PostgreSQL {name}: the role {seen.role} does not see the sessions of others;"
                    f' run there: GRANT pg_monitor TO "{seen.role}"'
                )
            named.monitors = True
        return _execute(name, connection, query, params)


def _open(name: str, dsn: str, within: timedelta) -> Connection[Any]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.rows import namedtuple_row

    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # its text quotes the string, and that holds a password
        raise NotAdmitted(f"cannot log in to PostgreSQL {name}: its connection string in agent.yaml cannot be read") from None
    try:
        conninfo = make_conninfo(
            dsn,
            connect_timeout=max(2, math.ceil(within.total_seconds())),
            application_name="containment-agent",
            options=f"{given.get('options') or ''} {_SESSION}".strip(),
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        # No prepared statements: a pooler would hand them to somebody else.
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, row_factory=namedtuple_row)
    except psycopg.Error as error:
        why = _why(error)
        kind = NotAdmitted if _OURS.search(why) else CannotReach
        raise kind(f"cannot log in to PostgreSQL {name}: {why}") from error


def _answers(name: str, connection: Connection[Any], within: timedelta) -> None:
    import psycopg

    try:
        with cut_off(connection.fileno(), within):
            connection.execute("select 1").fetchone()
    except (psycopg.Error, OSError) as error:
        raise CannotReach(f"cannot ask PostgreSQL {name}: {_why(error)}") from error


def _execute(name: str, connection: Connection[Any], query: LiteralString, params: Sequence[Any] = ()) -> list[Any]:
    import psycopg

    try:
        with cut_off(connection.fileno(), ANSWER + timedelta(seconds=1)):
            return connection.execute(query, params or None).fetchmany(MOST_ROWS)
    except (psycopg.Error, OSError) as error:
        raise CannotReach(f"cannot ask PostgreSQL {name}: {_why(error)}") from error


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ") if lines else type(error).__name__
