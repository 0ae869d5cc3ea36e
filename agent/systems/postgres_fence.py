"""A fence in a PostgreSQL database: SHARE locks on all its tables and catalogues, held by a prepared transaction.

Reading goes on; writing waits and fails, whoever does it: who overrides the read-only default, owners and superusers. It
survives the agent, a crash of the server and a failover to a standby, and one statement takes it away. A prepared transaction
belongs to one database, so each gets a fence of its own, named after it.

Not behind it: sequences, COPY TO PROGRAM, ALTER SYSTEM, foreign tables, and a superuser who rolls the fence back.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agent.action import CannotReach, Holds, call, slow
from agent.systems.postgres_granted import GRANTS, mending
from agent.systems.postgres_reading import execute, sqlstate
from agent.systems.postgres_sessions import PATIENCE, some
from agent.systems.postgres_writes import PostgresWrites

TRIES: Final = 5.0
"""Seconds in which the locks are tried for, and those who stand in the way are ended."""
_WAIT_MS: Final = 300
_LOCKING: Final = timedelta(seconds=8)
"""5,000 tables take half a second on a small machine."""
_CATALOGUES: Final = 11
_NO_SLOT: Final = re.compile(r"connection slots are reserved|too many clients")

_BLOCKERS: Final = """
    select distinct pid, backend_start from pg_locks join pg_stat_activity a using (pid)
    where granted and locktype = 'relation' and mode not in ('AccessShareLock', 'RowShareLock', 'ShareLock')
      and database in (0, (select oid from pg_database where datname = %s)) and usename is distinct from session_user
      and (backend_type = 'client backend' or backend_type = 'autovacuum worker' and query not like '%%(to prevent wraparound)%%')
"""
_WAITERS: Final = """
    select distinct pid, backend_start from pg_locks join pg_stat_activity a using (pid)
    where not granted and locktype = 'relation' and mode not in ('AccessShareLock', 'RowShareLock', 'ShareLock')
      and database in (0, (select oid from pg_database where datname = %s)) and usename is distinct from session_user
      and backend_type = 'client backend'
"""
_OLDER: Final = """
    select pid, backend_start from pg_stat_activity a join pg_prepared_xacts on database = datname
    where gid = %s and xact_start < prepared and backend_xid is not null and backend_type = 'client backend'
      and usename is distinct from session_user
"""
"""Whoever had made a table and not yet committed it can still write there: the list of tables did not show it."""
_STANDING: Final = """
    select owner, owner = session_user as ours,
           exists (select from pg_locks x join pg_locks l using (virtualtransaction)
                   where x.locktype = 'transactionid' and x.transactionid = p.transaction and x.pid is null and l.pid is null
                     and l.relation = 'pg_class'::regclass and l.mode = 'ShareLock' and l.granted
                     and l.database = (select oid from pg_database where datname = p.database)) as locks
    from pg_prepared_xacts p where gid = %s
"""


_GROUND: Final = """
    select exists (
             select from pg_proc p join pg_namespace n on n.oid = pronamespace
             where nspname = 'containment' and proname = 'lock_all' and has_schema_privilege(n.oid, 'usage')
               and has_function_privilege(p.oid, 'execute')
           ) as prepared,
           (select count(*) from pg_class where relkind in ('r', 'p') and relpersistence <> 't' and oid >= 16384) as tables
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A database that a fence would be put around: what stands there, or why none can."""

    database: str
    tables: int = 0
    fenced: bool = False
    lacks: str = ""


def gid(database: str) -> str:
    """The name of a database's prepared transaction."""
    return f"containment-{database}"


class PostgresFence(PostgresWrites):
    """Fences, by way of containment.lock_all and two-phase commit."""

    # Asking -------------------------------------------------------------------------------------------------------

    def databases(self, instance: str) -> list[str]:
        """The databases that can be logged in to, without a superuser's templates, in which nothing of anybody's is.

        Whoever owns a database may call it a template, and write there as before.
        """
        query = """
            select datname from pg_database join pg_roles o on o.oid = datdba
            where datallowconn and not (datistemplate and rolsuper) order by datname <> current_database(), 1
        """
        return [one.datname for one in self.rows(query, instance=instance)]

    def grounds(self, instance: str) -> list[Ground]:
        """Every database that a fence would be put around, those that are not prepared for it last.

        Raises:
            CannotReach: no fence is possible: a standby, no room for prepared transactions, too many tables.
        """
        cannot = f"cannot fence PostgreSQL {instance}"
        if self.standby(instance):
            raise CannotReach(f"{cannot}: it is a standby, where nobody can write; fence the primary")
        found = [self.ground(instance, one) for one in self.databases(instance)]
        wanted = [one for one in found if not one.fenced]
        has = self.row(
            """
            select current_setting('max_prepared_transactions')::int as prepared,
                   (select count(*) from pg_prepared_xacts) as used,
                   current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int
                     + current_setting('max_prepared_transactions')::int) as locks
            """,
            instance=instance,
        )
        if wanted and has.prepared - has.used < len(wanted):
            raise CannotReach(
                f"{cannot}: it takes {len(wanted)} prepared transactions, one for each database, and max_prepared_transactions"
                f" is {has.prepared}, of which {has.used} are in use; set it higher, and restart; strength soft needs none"
            )
        locks = sum(one.tables + _CATALOGUES for one in found)
        if wanted and locks > has.locks / 2:  # with more, readers of many tables get 53200, out of shared memory
            raise CannotReach(
                f"{cannot}: {locks} tables would take more than half of the server's {has.locks} locks; set"
                " max_locks_per_transaction higher, and restart; strength soft needs none"
            )
        return sorted(wanted, key=lambda one: bool(one.lacks))

    def ground(self, instance: str, database: str) -> Ground:
        """One database; where it cannot be asked, why. A fence may find a slot later."""
        stands = self._standing(instance, database) is True
        try:
            with self.session(instance, database) as connection:
                (found,) = execute(instance, connection, _GROUND)
        except CannotReach as error:
            return Ground(database, 0, stands, str(error))
        lacks = "" if found.prepared else f"containment.lock_all is missing or not granted; run {GRANTS} in it as a superuser"
        return Ground(database, found.tables, stands, lacks)

    def _standing(self, instance: str, database: str) -> bool | Holds:
        """As far as the locks show it."""
        found = self.rows(_STANDING, [gid(database)], instance=instance)
        if not found:
            return False
        if not found[0].ours:
            return Holds("no", f"role {found[0].owner} has prepared a transaction named {gid(database)}; ROLLBACK PREPARED it")
        return True if found[0].locks else Holds("partly", f"{gid(database)} stands, and holds no lock")

    def _asked(self, instance: str, database: str) -> bool | Holds:
        """The same, on a primary.

        Raises:
            CannotReach: a standby keeps prepared transactions, and shows none.
        """
        if self.standby(instance):
            mend = "stop_writes with strength fence is to be lifted before, or it is promoted"
            raise CannotReach(f"cannot see the fence of database {database}: PostgreSQL {instance} is a standby; {mend}")
        return self._standing(instance, database)

    # The fence ----------------------------------------------------------------------------------------------------

    @call
    @slow(TRIES + 3 * PATIENCE + _LOCKING.seconds)
    def fence(self, instance: str, database: str) -> None:
        """Lock every table and catalogue, end the sessions in the way, and leave the locks to a prepared transaction."""
        until = time.monotonic() + TRIES
        while self._asked(instance, database) is not True:
            try:
                self._lock_and_prepare(instance, database)
            except CannotReach as error:
                if sqlstate(error) not in ("55P03", "40P01"):
                    raise
                way = [] if self.end(instance, _BLOCKERS, [database]) else self._in_the_way(instance, database)
                if time.monotonic() > until or any(one.startswith("prepared") for one in way):  # which never ends by itself
                    others = f"{', '.join(way) or 'others'} held locks, and cannot be ended from here"
                    raise CannotReach(f"cannot fence database {database}: {others}") from error
        self.end(instance, _OLDER, [gid(database)])

    def _lock_and_prepare(self, instance: str, database: str) -> None:
        from psycopg.sql import SQL, Literal

        with mending(), self.session(instance, database) as connection:
            execute(instance, connection, "begin isolation level read committed")
            execute(instance, connection, SQL("set local statement_timeout = {}").format(Literal(f"{_LOCKING.seconds}s")))
            execute(instance, connection, "select containment.lock_all(%s)", [_WAIT_MS], within=_LOCKING)
            execute(instance, connection, SQL("prepare transaction {}").format(Literal(gid(database))), within=_LOCKING)

    def _in_the_way(self, instance: str, database: str) -> list[str]:
        """Who holds what the fence needs and cannot be ended."""
        found = self.rows(
            """
            select distinct coalesce(a.backend_type || ' ' || a.pid, 'prepared transaction ' || p.gid, 'somebody') as who
            from pg_locks l left join pg_stat_activity a using (pid)
                 left join pg_locks x on x.virtualtransaction = l.virtualtransaction and x.locktype = 'transactionid'
                                         and l.pid is null and x.pid is null
                 left join pg_prepared_xacts p on p.transaction = x.transactionid
            where l.granted and l.locktype = 'relation' and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareLock')
              and l.database in (0, (select oid from pg_database where datname = %s)) and a.usename is distinct from session_user
            """,
            [database],
            instance=instance,
        )
        return [one.who for one in found[:5]]

    @call
    @slow(2 * PATIENCE)
    def unfence(self, instance: str, database: str) -> None:
        """Roll the prepared transaction back, after ending those who wait to write: their statements would be carried out."""
        from psycopg.sql import SQL, Literal

        stands = self._asked(instance, database)
        if stands is True or (isinstance(stands, Holds) and stands.how == "partly"):
            self.end(instance, _WAITERS, [database])
            with mending(), self.session(instance, database) as connection:
                execute(instance, connection, SQL("rollback prepared {}").format(Literal(gid(database))))

    @call
    def is_fenced(self, instance: str, database: str) -> bool | Holds:
        """Whether the locks stand, and a write, made with all rights, meets them."""
        stands = self._asked(instance, database)
        if stands is not True:
            return stands
        try:
            (met,) = self.granted(instance, "select containment.try_write() as code", database=database)
        except CannotReach as error:
            if _NO_SLOT.search(str(error)):
                return True  # the locks are there; only the attempt is left out
            return Holds("partly", f"the locks stand, and no attempt to write could be made: {error}")
        if met.code != "55P03":
            return Holds("partly", f"a write in database {database} met {met.code}, not the fence")
        older = len(self.rows(_OLDER, [gid(database)], instance=instance))
        return (
            Holds("partly", f"{some(older, 'transaction')} older than the fence may write to tables of its own")
            if older
            else True
        )


NATIVE: Final = {
    "fence": """
BEGIN; SELECT containment.lock_all(300);  -- LOCK TABLE every table, pg_class and 10 more IN SHARE MODE
PREPARE TRANSACTION 'containment-{database_bare}';  -- in database {database}, with containment.kick for those in the way
""",
    "unfence": """
ROLLBACK PREPARED 'containment-{database_bare}';  -- in database {database}, after containment.kick for those who wait to write
""",
    "is_fenced": """
SELECT owner FROM pg_prepared_xacts WHERE gid = 'containment-{database_bare}';  -- agent
SELECT containment.try_write();  -- in database {database}: 55P03
""",
}
"""Each verb in SQL, for the dry run."""
