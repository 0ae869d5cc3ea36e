"""A PostgreSQL server made read-only for all who keep to its default: the soft stop, which leaves reading as it is.

New transactions are read-only from the moment the server has read its settings. One that began before stays as it began, for
its whole life, and a session may have set the default for itself, which nobody else can see: so every session from before is
ended, once. Who asks for a writing transaction (BEGIN READ WRITE, SET, an ALTER ROLE of before) gets one all the same: that
is looked for, and said.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from agent.action import Holds, call, slow
from agent.systems.postgres_sessions import PATIENCE, some
from agent.systems.postgres_settings import READ_ONLY, RELOAD, PostgresSettings

_LOOK: Final = 0.3
"""Seconds in which those who still write are looked for; a short transaction shows its number for about a millisecond."""
_SIGNALS: Final = 0.05
"""Seconds after which every session has been told: the server signals one after the other."""
_OLD_TRANSACTIONS: Final = """
    select pid, backend_start from pg_stat_activity
    where backend_type = 'client backend' and usename is distinct from session_user and xact_start < %s
"""
_OLD_SESSIONS: Final = """
    select pid, backend_start from pg_stat_activity
    where backend_type = 'client backend' and usename is distinct from session_user and backend_start < %s
"""
_OVERRIDES: Final = """
    select concat_ws(' in ', 'role ' || rolname, 'database ' || datname) as who
    from pg_db_role_setting left join pg_roles r on r.oid = setrole left join pg_database d on d.oid = setdatabase,
         unnest(setconfig) as one
    where one like 'default_transaction_read_only=%' and lower(split_part(one, '=', 2)) in ('off', 'false', 'no', '0', 'f', 'n')
    order by 1
"""
_FOREIGN: Final = """
    select gid, owner from pg_prepared_xacts where owner <> session_user or gid not like 'containment-%' order by prepared
"""
_WRITING: Final = """
    select pid, coalesce(usename, 'of nobody') as role, coalesce(host(client_addr), 'this host') as place, backend_type
    from pg_stat_activity where backend_xid is not null and usename is distinct from session_user
"""
_NEXT: Final = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as number"


class PostgresWrites(PostgresSettings):
    """default_transaction_read_only, and what it does not reach."""

    # Asking -------------------------------------------------------------------------------------------------------

    def standby(self, instance: str) -> bool:
        """Whether the server replays another's changes, and lets nobody write by itself."""
        return bool(self.row("select pg_is_in_recovery() as standby", instance=instance).standby)

    def overriding(self, instance: str) -> list[str]:
        """Roles and databases with a default of their own, which wins over the server's: `role etl`, `database shop`."""
        return [one.who or "every role" for one in self.rows(_OVERRIDES, instance=instance)]

    def subscriptions(self, instance: str) -> dict[str, tuple[str, ...]]:
        """Database → its subscriptions that apply changes: what is read-only for others is not for them."""
        found = self.rows(
            """
            select datname, array_agg(subname::text order by subname) as names
            from pg_subscription join pg_database d on d.oid = subdbid where subenabled group by 1 order by 1
            """,
            instance=instance,
        )
        return {one.datname: tuple(one.names) for one in found}

    def _since(self, instance: str) -> datetime:
        """Since when nothing that began could write by default: our switch, else the last time the settings were read."""
        now = self.row("select pg_postmaster_start_time() as up, pg_conf_load_time() as read", instance=instance)
        switched = self._named(instance).switched
        since: datetime = switched[1] if switched and switched[0] == now.up else now.read
        return since

    def _leaks(self, instance: str) -> list[str]:
        """What can be written nonetheless, and who does, a sentence each."""
        said = []
        if overriding := self.overriding(instance):
            said.append(f"{', '.join(overriding)} override it (ALTER … SET)")
        if foreign := self.rows(_FOREIGN, instance=instance):
            names = ", ".join(f"{one.gid} of role {one.owner}" for one in foreign[:3])
            said.append(f"{some(len(foreign), 'prepared transaction')} can still be committed ({names})")
        if paused := self.subscriptions(instance):
            said.append(f"subscriptions still write ({', '.join(name for names in paused.values() for name in names)})")
        if writing := self._writing(instance):
            said.append(f"{writing}; strength hard stops that")
        return said

    def _writing(self, instance: str) -> str:
        """Who has, or had within the time we look, a transaction that writes."""
        first, until = self.row(_NEXT, instance=instance).number, time.monotonic() + _LOOK
        seen: dict[int, str] = {}
        vacuum = False
        while time.monotonic() < until:
            found = self.rows(_WRITING, instance=instance)
            vacuum |= any(one.backend_type == "autovacuum worker" for one in found)
            seen |= {one.pid: f"role {one.role} from {one.place}" for one in found if one.backend_type != "autovacuum worker"}
            time.sleep(0.002)
        if seen:
            return f"{some(len(seen), 'session')} wrote nonetheless ({', '.join(sorted(set(seen.values()))[:5])})"
        taken = self.row(_NEXT, instance=instance).number - first
        return f"{some(taken, 'transaction')} wrote nonetheless, too short to see whose" if taken and not vacuum else ""

    # The switch ---------------------------------------------------------------------------------------------------

    @call
    @slow(RELOAD + 2 * PATIENCE)
    def stop_writes(self, instance: str, before: str) -> None:
        """Make new transactions read-only, and end every session from before: first those that may be writing."""
        if self.take(instance, READ_ONLY, before):
            time.sleep(_SIGNALS)
            now = self.row("select pg_postmaster_start_time() as up, clock_timestamp() as time", instance=instance)
            self._named(instance).switched = (now.up, now.time)
        if self.standby(instance):
            return
        since = self._since(instance)
        self.end(instance, _OLD_TRANSACTIONS, [since])
        self.end(instance, _OLD_SESSIONS, [since])

    @call
    @slow(RELOAD)
    def allow_writes(self, instance: str, before: str) -> None:
        """Give default_transaction_read_only its former value, unless somebody has changed it since."""
        self._named(instance).switched = None
        self.put_back(instance, READ_ONLY, before)

    @call
    def writes_stopped(self, instance: str, before: str, fenced: bool) -> bool | Holds:
        """Whether new transactions are read-only and no session is older; unless `fenced`, also who gets round it."""
        held = self.stands(instance, READ_ONLY, before)
        if held is not True or self.standby(instance):
            return held
        if left := len(self.rows(_OLD_SESSIONS, [self._since(instance)], instance=instance)):
            return Holds("partly", f"{some(left, 'session')} from before the switch may still write")
        leaks = [] if fenced else self._leaks(instance)
        return Holds("partly", "; ".join(leaks)) if leaks else True

    # Subscriptions ------------------------------------------------------------------------------------------------

    @call
    def pause_subscriptions(self, instance: str, database: str, names: tuple[str, ...]) -> None:
        """Stop a database's subscriptions from applying what they receive; the publisher keeps it for them meanwhile."""
        for name in names:
            self.granted(instance, "select containment.pause_subscription(%s)", [name], database)

    @call
    def resume_subscriptions(self, instance: str, database: str, names: tuple[str, ...]) -> None:
        """Let those go on that were paused here."""
        for name in names:
            self.granted(instance, "select containment.resume_subscription(%s)", [name], database)

    @call
    def subscriptions_paused(self, instance: str, database: str, names: tuple[str, ...]) -> bool | Holds:
        """Whether all of them are paused, and their workers gone."""
        found = self.rows(
            """
            select subname, subenabled, (select max(pid) from pg_stat_subscription w where w.subid = s.oid) as worker
            from pg_subscription s join pg_database d on d.oid = subdbid where datname = %s::text and subname = any(%s::text[])
            """,
            [database, list(names)],
            instance=instance,
        )
        if running := sorted(one.subname for one in found if one.subenabled or one.worker):
            return Holds("partly", f"still applied: {', '.join(running)}") if len(running) < len(found) else False
        return True if found else Holds("no", f"there is no subscription {', '.join(names)} in {database} any more")


NATIVE: Final = {
    "stop_writes": """
ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf();
SELECT containment.kick(pid, backend_start) FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM session_user AND backend_start < now();
""",
    "allow_writes": """
ALTER SYSTEM {before_set} default_transaction_read_only{before_value}; SELECT pg_reload_conf();  -- if still ours
""",
    "writes_stopped": """
SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only';  -- on
SELECT * FROM pg_stat_activity WHERE backend_start < the switch OR backend_xid IS NOT NULL;  -- none
""",
    "pause_subscriptions": """
SELECT containment.pause_subscription(one) FROM unnest(ARRAY[{names}]) AS one;  -- ALTER SUBSCRIPTION … DISABLE, in {database}
""",
    "resume_subscriptions": """
SELECT containment.resume_subscription(one) FROM unnest(ARRAY[{names}]) AS one;  -- ALTER SUBSCRIPTION … ENABLE, in {database}
""",
    "subscriptions_paused": "SELECT subenabled FROM pg_subscription WHERE subname IN ({names});  -- false, each",
}
"""Each verb in SQL, for the dry run."""
