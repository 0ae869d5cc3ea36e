"""Whether a PostgreSQL server can be restarted as a standby that follows nobody, and come back as what it was.

A restart reads every file anew, and a standby obeys settings that mean nothing to a primary. Each refusal here is a server that
would have stayed down, lost rows, or followed another one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agent.action import CannotReach
from agent.systems import postgres_signal
from agent.systems.postgres_fence import PostgresFence
from agent.systems.postgres_granted import mending
from agent.systems.postgres_host import Postmaster, find, refuse_unrestartable
from agent.systems.postgres_reading import execute

FOLLOW: Final = timedelta(seconds=7)
"""After a restart, replicas are back by then; they try every 5 s."""
_SEEN: Final = """
    select pg_backend_pid() as backend, pg_is_in_recovery() as standby, current_setting('data_directory') as directory,
           (select system_identifier::text from pg_control_system()) as system,
           case when pg_is_in_recovery() then (select timeline_id from pg_control_checkpoint())
                else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end as timeline
"""
_BROKEN: Final = """
    select format('%s, line %s: %s', f.sourcefile, f.sourceline, concat_ws(': ', f.name, error)) as what
    from pg_file_settings f left join pg_settings s on s.name = f.name
    where error is not null and coalesce(s.source, '') not in ('command line', 'environment variable')
    union all
    select format('pg_hba.conf, line %s: %s', line_number, error) from pg_hba_file_rules where error is not null
"""
"""With an error in one of these files a server does not start; and what waits for a restart would come into force."""
_MISLED: Final = """
    select name from pg_settings
    where (name in ('primary_conninfo', 'restore_command', 'archive_cleanup_command', 'promote_trigger_file', 'recovery_target',
                    'recovery_target_lsn', 'recovery_target_name', 'recovery_target_time', 'recovery_target_xid')
           and setting <> '')
       or (name = 'hot_standby' and setting = 'off') or (name = 'wal_level' and setting = 'minimal')
    order by 1
"""
"""Settings that say nothing to a primary, and that a standby obeys: it would follow another server, replay an archive, or end."""
_UP_FOR: Final = "select extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 as seconds"
_UNLOGGED: Final = """
    select format('%s.%s.%s', current_database(), nspname, relname) as name
    from pg_class c join pg_namespace n on n.oid = relnamespace
    where relpersistence = 'u' and relkind in ('r', 'S') and pg_relation_size(c.oid) > 0 order by 1
"""
"""Whether a table holds rows is not for the agent to read: one that takes no room holds none."""
_REPLICAS: Final = """
    select format('%s at %s', application_name, coalesce(host(client_addr), 'this host')) as name from pg_stat_replication
    where state in ('streaming', 'catchup')
      and pid not in (select active_pid from pg_replication_slots where slot_type = 'logical' and active_pid is not null)
    order by 1
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One server and no other: where its data is, which it is, and in which timeline; `restart` is the command, for people."""

    directory: str
    system: str
    timeline: int
    unit: str
    restart: str

    @property
    def mark(self) -> str:
        """The first line of our standby.signal."""
        return f"containment-agent: system {self.system}, timeline {self.timeline}"

    @property
    def signal(self) -> str:
        """Where that is."""
        return f"{self.directory}/{postgres_signal.NAME}"


class PostgresFit(PostgresFence):
    """What is asked before a server is restarted, by SQL and on its own host."""

    def __init__(self, instances: Mapping[str, str], follow: timedelta = FOLLOW) -> None:
        """`follow` is how long after a restart replicas may be away before one counts as promoted."""
        super().__init__(instances)
        self._follow = follow.total_seconds()

    def seen(self, instance: str) -> Any:
        """What it says of itself: backend (our own session's process), standby, directory, system, timeline.

        Raises:
            CannotReach: as in `rows`.
        """
        return self.row(_SEEN, instance=instance)

    def cluster(self, instance: str) -> Cluster:
        """The server as it is now.

        Raises:
            CannotReach: it is not on this host, or we may not act for it.
        """
        seen = self.seen(instance)
        server = find(f"cannot fence PostgreSQL {instance}", seen.directory, seen.backend)
        return Cluster(seen.directory, seen.system, seen.timeline, server.unit, server.said)

    def replicas(self, instance: str) -> tuple[str, ...]:
        """Who streams from it to stay a copy of it, as in `walreceiver at 10.0.0.2`."""
        return tuple(one.name for one in self.rows(_REPLICAS, instance=instance))

    def refuse_unfit(self, instance: str, cluster: Cluster) -> None:
        """Nothing, where the server can be made a standby and come back as what it was.

        Raises:
            CannotReach: it would not come up, lose rows, or follow another server; the first reason, with its mend.
        """
        cannot = f"cannot fence PostgreSQL {instance}"
        seen = self.seen(instance)
        if seen.standby:
            raise CannotReach(f"{cannot}: it is a standby, where nobody can write; fence the primary")
        if postgres_signal.look(cluster.directory) not in (None, cluster.mark):
            mend = "it would be a standby after any restart; remove that file if nobody wants it"
            raise CannotReach(f"{cannot}: {cluster.signal} is there, and not from here: {mend}")
        self._refuse_misled(cannot, instance)
        self._refuse_unlogged(cannot, instance)
        refuse_unrestartable(cannot, find(cannot, seen.directory, seen.backend))

    def _refuse_misled(self, cannot: str, instance: str) -> None:
        self._refuse_broken(cannot, instance)
        if misled := [one.name for one in self.rows(_MISLED, instance=instance)]:
            why = "a standby would obey: it would not come up, or not stay as it is"
            raise CannotReach(f"{cannot}: with {', '.join(misled)} as set, {why}; change that, or use strength hard")

    def _refuse_broken(self, cannot: str, instance: str) -> None:
        with mending():
            broken = self.rows(_BROKEN, instance=instance)
        if broken:
            why = "it might not come up, or not as it is now"
            raise CannotReach(f"{cannot}: it takes a restart, and with {broken[0].what}, {why}; mend that line")

    def _refuse_unlogged(self, cannot: str, instance: str) -> None:
        """Whatever is unlogged is emptied by a standby, as by a crash."""
        found: list[str] = []
        for database in self.databases(instance):
            with self.session(instance, database) as connection:
                found += [one.name for one in execute(instance, connection, _UNLOGGED)]
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            mend = "ALTER TABLE … SET LOGGED, TRUNCATE them, or use strength hard"
            raise CannotReach(f"{cannot}: unlogged and not empty, this would be lost: {', '.join(found[:5])}{more}; {mend}")

    def refuse_unliftable(self, instance: str, server: Postmaster, replicas: Sequence[str]) -> None:
        """Nothing, where the server can be restarted as a primary again.

        Raises:
            CannotReach: it would not come up, or one of `replicas` may be a primary by now.
        """
        cannot = f"cannot lift the fence of PostgreSQL {instance}"
        refuse_unrestartable(cannot, server)
        self._refuse_broken(cannot, instance)
        # One that was promoted meanwhile does not follow any more; with this one, there would be two primaries.
        while gone := Counter(replicas) - Counter(self.replicas(instance)):
            if self.row(_UP_FOR, instance=instance).seconds > self._follow:
                mend = f"let it follow again, or remove {postgres_signal.NAME} by hand and restart"
                raise CannotReach(f"{cannot}: {', '.join(gone.elements())} followed it and does not now; was it promoted? {mend}")
            time.sleep(0.1)
