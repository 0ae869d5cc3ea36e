"""Connections to PostgreSQL servers, by name, and what they say: one stays open to each, from the start.

With every slot taken nobody gets a new connection (PostgreSQL 15 reserves slots for superusers only), and a stopped
postmaster shows only on a new one: so both kinds are asked, and what must work in an emergency goes over the kept one.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

from agent.action import CannotReach, System
from agent.systems.cut_off import cut_off

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import SQL, Composed

Query: TypeAlias = "LiteralString | SQL | Composed"
ANSWER: Final = timedelta(seconds=3)
"""What the server may take for one question; it stops by itself then."""
MOST_ROWS: Final = 1_000
_SESSION: Final = " ".join(
    f"-c {setting}"
    for setting in (
        f"statement_timeout={ANSWER.seconds}s",
        "search_path=pg_catalog",  # nothing that others may create stands before the server's own names
        "jit=off",
    )
)
_KEPT: Final = "select set_config('default_transaction_read_only', 'on', false) a, set_config('lock_timeout', '1s', false) b"
"""Not among the options: those would hide from pg_settings.reset_val what other sessions get."""
_OURS: Final = re.compile(
    r"password|authentication|pg_hba|(role|database) \".*\" does not exist|not permitted to log in|permission denied|certificate"
    r"|too many connections for role|unsupported startup parameter",
    re.IGNORECASE,
)


class NotAdmitted(CannotReach):
    """The agent's own login is wrong, which says nothing about the server. psycopg gives no SQLSTATE here: the text decides."""


@dataclass
class _Instance:
    """One server: how to reach it, the connection that stays open, and since when it was seen to refuse writes."""

    dsn: str
    kept: Connection[Any] | None = None
    monitors: bool = False
    switched: tuple[datetime, datetime] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class PostgresReading(System):
    """The PostgreSQL servers of agent.yaml: name → connection string or URL."""

    name = "postgres"
    rights = "`systems: {postgres: {…}}`, and what `contain grants postgres` grants there"

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
        with log_in(instance, self._named(instance).dsn, within) as connection:
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
            opened = log_in(name, instance.dsn, ANSWER)
            try:
                execute(name, opened, _KEPT)
            except CannotReach:
                opened.close()
                raise
            instance.kept = opened
        return instance.kept

    # Reading ------------------------------------------------------------------------------------------------------

    def rows(self, query: Query, params: Sequence[Any] = (), *, instance: str = "main") -> list[Any]:
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

    def row(self, query: Query, params: Sequence[Any] = (), *, instance: str = "main") -> Any:
        """The one row of a query that always has one.

        Raises:
            CannotReach: as in `rows`.
        """
        return self.rows(query, params, instance=instance)[0]

    def _fetch(self, name: str, named: _Instance, query: Query, params: Sequence[Any]) -> list[Any]:
        connection = self._kept(name, named)
        if not named.monitors:
            (seen,) = execute(name, connection, "select session_user as role, pg_has_role('pg_monitor', 'usage') as monitors")
            if not seen.monitors:
                raise CannotReach(
                    f"cannot watch PostgreSQL {name}: the role {seen.role} does not see the sessions of others;"
                    f' run there: GRANT pg_monitor TO "{seen.role}"'
                )
            named.monitors = True
        return execute(name, connection, query, params)


def sqlstate(error: CannotReach) -> str:
    """The server's code for what it refused; empty where it said nothing."""
    return getattr(error.__cause__, "sqlstate", None) or ""


def execute(
    name: str, connection: Connection[Any], query: Query, params: Sequence[Any] = (), within: timedelta = ANSWER
) -> list[Any]:
    """One statement on one connection: its rows, at most 1,000.

    Raises:
        CannotReach: refused (`sqlstate` knows the code), or no answer `within` and a second, which closes the connection.
    """
    import psycopg

    try:
        with cut_off(connection.fileno(), within + timedelta(seconds=1)):
            done = connection.execute(query, params or None)
            return done.fetchmany(MOST_ROWS) if done.description else []
    except (psycopg.Error, OSError, UnicodeDecodeError) as error:  # a name may be in the bytes of another encoding
        raise CannotReach(f"cannot ask PostgreSQL {name}: {_why(error)}") from error


def log_in(name: str, dsn: str, within: timedelta, database: str = "") -> Connection[Any]:
    """A new connection, to the string's own database unless another is named.

    Raises:
        NotAdmitted: the agent's role, password, database or pg_hba.conf line does not fit.
        CannotReach: no answer `within` (2 s at least), or no free slot.
    """
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
            client_encoding="UTF8",  # in a database that says SQL_ASCII, texts would come as bytes
            options=f"{given.get('options') or ''} {_SESSION}".strip(),
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            **({"dbname": database} if database else {}),
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


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ") if lines else type(error).__name__
