"""What a PostgreSQL server lets the agent do beyond watching: the statements that need agent/grants/postgres.sql."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.systems.postgres_reading import ANSWER, PostgresReading, Query, execute, log_in, sqlstate

if TYPE_CHECKING:
    from psycopg import Connection

GRANTS: Final = Path(__file__).parents[1] / "grants/postgres.sql"
MEND: Final = f"run {GRANTS} there as a superuser"
_MENDS: Final = {
    "42501": MEND,  # no right
    "42883": MEND,  # no such function
    "3F000": MEND,  # no such schema
    "42P01": MEND,  # no such table
    "55P03": "somebody holds it: a transaction that changes the same, or stop_writes with strength hard: lift that first",
    "53100": "free space first; soft needs some of it in the data directory, and a CHECKPOINT there would end the server",
}
_RIGHTS: Final = """
    select has_parameter_privilege('default_transaction_read_only', 'alter system')
             and has_parameter_privilege('lock_timeout', 'alter system') as settings,
           has_function_privilege('pg_reload_conf()', 'execute') as reload,
           has_table_privilege('pg_file_settings', 'select')
             and has_function_privilege('pg_show_all_file_settings()', 'execute') as files,
           array(
             select proname::text from pg_proc p join pg_namespace n on n.oid = pronamespace
             where nspname = 'containment' and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
           ) as functions,
           session_user as role, current_database() as database
"""


class PostgresGranted(PostgresReading):
    """Statements with the agent's rights, each in a transaction that says itself whether it writes."""

    def ungranted(self, instance: str) -> list[str]:
        """What the agent may not do in the whole cluster, or the database of the kept connection; a sentence each.

        Raises:
            CannotReach: as in `rows`.
        """
        try:
            found = self.row(_RIGHTS, instance=instance)
        except CannotReach as error:
            if sqlstate(error) == "42883":  # has_parameter_privilege
                raise CannotReach(
                    f"cannot act on PostgreSQL {instance}: it is older than 15, where only superusers can"
                ) from error
            raise
        able = {
            "change default_transaction_read_only and lock_timeout": found.settings,
            "have settings read anew": found.reload,
            "see the files of settings": found.files,
            "end sessions": "kick" in found.functions,
            "lock roles": "lock_role" in found.functions,
        }
        return [f"role {found.role} may not {what} (asked in database {found.database})" for what, may in able.items() if not may]

    @contextmanager
    def session(self, instance: str, database: str = "") -> Iterator[Connection[Any]]:
        """A connection for several statements: the kept one where it is in that database, else a new one.

        What is left open in it is rolled back.

        Raises:
            CannotReach: no connection; with every slot taken, only the database of the kept one can be reached.
        """
        named = self._named(instance)
        self.row("select 1 as one", instance=instance)  # opens the kept one anew where the server was restarted
        with named.lock:
            kept = self._kept(instance, named)
            if database in ("", kept.info.dbname):
                with _rolled_back(instance, kept):
                    yield kept
                return
        with closing(log_in(instance, named.dsn, ANSWER, database)) as fresh, _rolled_back(instance, fresh):
            yield fresh

    def granted(self, instance: str, query: Query, params: Sequence[Any] = (), database: str = "") -> list[Any]:
        """A statement that the grants allow, in a transaction that may write wherever the server lets it.

        Raises:
            CannotReach: refused, with the mend where there is one; no answer within 4 s.
        """
        with mending(), self.session(instance, database) as connection:
            execute(instance, connection, "begin read write")
            found = execute(instance, connection, query, params)
            execute(instance, connection, "commit")
        return found


@contextmanager
def mending() -> Iterator[None]:
    """Add to what the server refused how to mend it, where it is one of the refusals that are known."""
    try:
        yield
    except CannotReach as error:
        mend = _MENDS.get(sqlstate(error))
        if mend is None:
            raise
        raise CannotReach(f"{error}; {mend}") from error.__cause__


@contextmanager
def _rolled_back(name: str, connection: Connection[Any]) -> Iterator[None]:
    from psycopg.pq import TransactionStatus

    try:
        yield
    finally:
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(CannotReach):  # it is closed then, and the server rolls back by itself
                execute(name, connection, "rollback")
