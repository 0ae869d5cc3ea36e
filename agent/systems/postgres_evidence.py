"""What a PostgreSQL server looks like before it is changed: read only, each part with its own cap and its own error.

What is gone first comes first: sessions and locks (12 ms with 60 sessions and 482 locks), then the configuration (7 ms). Plain
SELECTs on catalogues; tables of users are not read, since that would prune the deleted rows that somebody may want back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, LiteralString, NamedTuple, TypeAlias

from agent.action import Call, CannotReach, System, call
from agent.systems.postgres import Postgres
from agent.systems.postgres_reading import sqlstate

if TYPE_CHECKING:
    from psycopg.sql import Composable

_Found: TypeAlias = dict[str, Any]
"""`rows`, and `cut` where there were more; or `error`."""

BEGINS: Final = 6.0
"""Seconds after which no part is begun any more; one that was may take four more, and then all have had ten."""
_MOST: Final = 900
_STATEMENTS: Final = 500


class _Part(NamedTuple):
    """One question, and what it reads, for people."""

    name: str
    reads: str
    query: LiteralString
    most: int = _MOST


_ACTIVITY: Final = (
    _Part(
        "server",
        "pg_control_system(), pg_control_checkpoint()",
        """
        select clock_timestamp() as now, version(), session_user as asked_by, current_database() as database,
               current_setting('cluster_name') as cluster, inet_server_addr() as address, inet_server_port() as port,
               pg_postmaster_start_time() as started, pg_conf_load_time() as configured, pg_is_in_recovery() as standby,
               (select system_identifier::text from pg_control_system()) as system,
               (select timeline_id from pg_control_checkpoint()) as timeline
        """,
        1,
    ),
    _Part(
        "log_position",
        "pg_current_wal_insert_lsn(), pg_current_snapshot()",
        """
        select pg_current_snapshot()::text as snapshot,
               case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end as lsn,
               case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_lsn()) end as file
        """,
        1,
    ),
    _Part(
        "sessions",
        "pg_stat_activity",
        """
        select to_jsonb(a) || jsonb_build_object(
                   'query', left(query, 4000),
                   'blocked_by', case when wait_event_type = 'Lock' then pg_blocking_pids(pid) end,
                   'ssl', (select to_jsonb(s) - 'pid' from pg_stat_ssl s where s.pid = a.pid and s.ssl)) as session
        from pg_stat_activity a order by backend_type <> 'client backend', state = 'idle', xact_start nulls last
        """,
    ),
    _Part("locks", "pg_locks", "select * from pg_locks order by granted, pid"),
    _Part("prepared", "pg_prepared_xacts", "select * from pg_prepared_xacts order by prepared"),
    _Part("last_commit", "pg_last_committed_xact()", "select * from pg_last_committed_xact()", 1),
    _Part("replicas", "pg_stat_replication", "select * from pg_stat_replication"),
    _Part("slots", "pg_replication_slots", "select * from pg_replication_slots"),
    _Part("receiver", "pg_stat_wal_receiver", "select to_jsonb(r) - 'conninfo' as receiver from pg_stat_wal_receiver r", 1),
    _Part(
        "subscriptions",
        "pg_subscription",
        """
        select oid, subdbid, subname, subenabled, subowner::regrole::text as owner, subslotname, subpublications
        from pg_subscription
        """,
    ),
    _Part(
        "progress",
        "pg_stat_progress_*",
        """
        select 'copy' as what, to_jsonb(p) as progress from pg_stat_progress_copy p
        union all select 'vacuum', to_jsonb(p) from pg_stat_progress_vacuum p
        union all select 'create index', to_jsonb(p) from pg_stat_progress_create_index p
        union all select 'base backup', to_jsonb(p) from pg_stat_progress_basebackup p
        """,
    ),
    _Part("database_counters", "pg_stat_database", "select * from pg_stat_database"),
    _Part("log_counters", "pg_stat_wal", "select * from pg_stat_wal", 1),
    _Part("writer_counters", "pg_stat_bgwriter", "select * from pg_stat_bgwriter", 1),
    _Part("archiver", "pg_stat_archiver", "select * from pg_stat_archiver", 1),
)
_SETTINGS: Final = (
    _Part(
        "settings",
        "pg_settings",
        """
        select name, setting, unit, source, sourcefile, sourceline, reset_val, pending_restart
        from pg_settings where source not in ('default', 'client', 'session') or pending_restart order by name
        """,
    ),
    _Part("role_settings", "pg_db_role_setting", "select *, xmin::text as changed_by from pg_db_role_setting"),
    _Part("files", "pg_file_settings", "select * from pg_file_settings"),
    _Part(
        "logins",
        "pg_hba_file_rules",
        """
        select line_number, type, database, user_name, address, netmask, auth_method, error,
               array(select regexp_replace(one, '^(radiussecrets=).*', '\\1') from unnest(options) as one) as options
        from pg_hba_file_rules order by line_number
        """,
    ),
    _Part("login_names", "pg_ident_file_mappings", "select * from pg_ident_file_mappings"),
    _Part("roles", "pg_roles", "select to_jsonb(r) - 'rolpassword' as role from pg_roles r order by oid"),
    _Part(
        "members",
        "pg_auth_members",
        """
        select roleid::regrole::text as role, member::regrole::text, grantor::regrole::text, admin_option,
               xmin::text as changed_by
        from pg_auth_members
        """,
    ),
    _Part(
        "databases",
        "pg_database",
        """
        select oid, datname, datdba::regrole::text as owner, datallowconn, datconnlimit, datfrozenxid, datacl::text as rights
        from pg_database
        """,
    ),
    _Part("parameter_rights", "pg_parameter_acl", "select parname, paracl::text as rights from pg_parameter_acl"),
    _Part(
        "objects",
        "pg_event_trigger, pg_extension, pg_language, pg_foreign_server, pg_publication, pg_proc",
        """
        select 'event trigger' as what, evtname::text as name, evtowner::regrole::text as owner, xmin::text as changed_by
        from pg_event_trigger
        union all select 'extension', extname, extowner::regrole::text, xmin::text from pg_extension
        union all select 'foreign server', srvname, srvowner::regrole::text, xmin::text from pg_foreign_server
        union all select 'publication', pubname, pubowner::regrole::text, xmin::text from pg_publication
        union all select 'language', lanname, lanowner::regrole::text, xmin::text
                  from pg_language where lanispl and not lanpltrusted
        union all select 'security definer', oid::regprocedure::text, proowner::regrole::text, xmin::text
                  from pg_proc where prosecdef and oid >= 16384
        """,
    ),
)


class PostgresEvidence(System):
    """What `Change.capture` takes from the PostgreSQL servers of agent.yaml."""

    name = "postgres_evidence"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def native(self, one: Call) -> str:
        """What is read, by the names of PostgreSQL's own catalogue."""
        parts = _ACTIVITY if one.verb == "activity" else _SETTINGS
        read = [*(part.reads for part in parts), *(["pg_stat_statements"] if one.verb == "settings" else [])]
        return f"read on PostgreSQL {one.args['instance']}, at most {_MOST} rows each: {', '.join(read)}"

    @call
    def activity(self, instance: str) -> dict[str, Any]:
        """Who is doing what at this moment: sessions, locks, replication, counters. Part by part, `rows` or `error`.

        Raises:
            CannotReach: the server does not answer at all.
        """
        return _taken(instance, {one.name: partial(self._part, instance, one) for one in _ACTIVITY})

    @call
    def settings(self, instance: str) -> dict[str, Any]:
        """How the server is set up, who may do what, and the statements that cost most. Part by part, `rows` or `error`.

        Raises:
            CannotReach: the server does not answer at all.
        """
        asks = {one.name: partial(self._part, instance, one) for one in _SETTINGS}
        return _taken(instance, {**asks, "statements": partial(self._statements, instance)})

    def _part(self, instance: str, part: _Part) -> _Found:
        from psycopg import sql

        return self._capped(instance, sql.SQL(part.query), part.most)

    def _statements(self, instance: str) -> _Found:
        """From the extension's own schema: on the search path, anybody's view of that name could stand in for it."""
        from psycopg import sql

        found = self._postgres.rows(
            """
            select nspname as name from pg_extension join pg_namespace n on n.oid = extnamespace
            where extname = 'pg_stat_statements'
            """,
            instance=instance,
        )
        if not found:
            return {"error": "the extension pg_stat_statements is not in this database"}
        query = sql.SQL(
            """
            select to_jsonb(s) || jsonb_build_object('query', left(query, 2000)) as statement
            from {}.pg_stat_statements s order by total_exec_time desc
            """
        )
        return self._capped(instance, query.format(sql.Identifier(found[0].name)), _STATEMENTS)

    def _capped(self, instance: str, query: Composable, most: int) -> _Found:
        """The server makes the JSON: every type that a catalogue may have in some version has a form there."""
        from psycopg import sql

        whole = sql.SQL("select to_jsonb(q) as row from ({}) q limit {}").format(query, sql.Literal(most + 1))
        rows = [one.row for one in self._postgres.rows(whole, instance=instance)]
        return {"rows": rows[:most], **({"cut": f"more than {most} rows"} if len(rows) > most else {})}


def _taken(instance: str, asks: Mapping[str, Callable[[], _Found]]) -> dict[str, Any]:
    """Each part's answer or error. Without an answer at all from the server, the rest is left out: it would hold up the act."""
    until, taken = time.monotonic() + BEGINS, dict[str, _Found]()
    for name, ask in asks.items():
        if time.monotonic() > until:
            taken[name] = {"error": f"left out: {BEGINS:g} s for evidence were over"}
            continue
        try:
            taken[name] = ask()
        except CannotReach as error:
            if not sqlstate(error) and not taken:
                raise
            taken[name] = {"error": str(error)}
            if not sqlstate(error):
                left = {one: {"error": "left out: the server did not answer before it"} for one in asks if one not in taken}
                return {"instance": instance, "parts": {**taken, **left}}
    return {"instance": instance, "parts": taken}
