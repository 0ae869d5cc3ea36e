"""Do PostgreSQL's replicas keep up?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.postgres import Postgres

MIB = 1024 * 1024


@check
class PostgresReplication:
    """Replicas are there and keep up, and no slot is without its reader.

    A slot without a reader keeps write-ahead log until the disk is full. On a standby: it receives, and replays in time.
    A replica that is gone without a slot leaves no trace, so say how many there should be: `replicas_floor`.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    lag_limit: Annotated[Duration, About("bad where a replica is so far behind, as in 5m")] = timedelta(minutes=5)
    lag_limit_mib: Annotated[int, About("bad where it is so many MiB behind", "1024")] = 1024
    replicas_floor: Annotated[int, About("bad where fewer replicas are connected", "1")] = 0

    def ask(self, postgres: Postgres) -> list[Answer]:
        """One answer per replica, slot, and standby; the value is seconds behind (for a slot: MiB kept)."""
        replicas = postgres.rows(
            """
            select coalesce(nullif(application_name, ''), host(client_addr), pid::text) as name, state,
                   coalesce(extract(epoch from replay_lag), 0)::float8 as seconds,
                   coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
                                                 else pg_current_wal_lsn() end, replay_lsn), 0)::bigint as bytes
            from pg_stat_replication where state <> 'backup'
            """,
            instance=self.instance,
        )
        slots = postgres.rows(
            """
            select slot_name as name, active, wal_status as status,
                   coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
                                                 else pg_current_wal_lsn() end, restart_lsn), 0)::bigint as bytes
            from pg_replication_slots where not temporary
            """,
            instance=self.instance,
        )
        answers = [*map(self._replica, replicas), *map(self._slot, slots), *self._standby(postgres)]
        if len(replicas) < self.replicas_floor:
            say = f"{len(replicas)} replicas are connected, at least {self.replicas_floor} should be"
            answers.append(bad(say, value=len(replicas), limit=self.replicas_floor, target=self.instance))
        return answers or [good("no replicas and no slots", target=self.instance)]

    def _replica(self, seen: Any) -> Answer:
        limit = self.lag_limit.total_seconds()
        behind = seen.seconds >= limit or seen.bytes >= self.lag_limit_mib * MIB
        late = rough(timedelta(seconds=seen.seconds))
        say = f"replica {seen.name} is {seen.state}, {late} and {seen.bytes // MIB:,} MiB behind"
        return (bad if behind else good)(say, value=seen.seconds, limit=limit, target=seen.name)

    def _slot(self, seen: Any) -> Answer:
        kept = seen.bytes / MIB
        if seen.status in ("lost", "unreserved"):
            lost = "has lost log that its reader needs" if seen.status == "lost" else "is about to lose log that its reader needs"
            return bad(f"slot {seen.name} {lost}; the replica has to be built anew", target=seen.name)
        verdict, reader = (good, "is read") if seen.active else (bad, "has no reader")
        return verdict(f"slot {seen.name} {reader} and keeps {kept:,.0f} MiB of log", value=kept, target=seen.name)

    def _standby(self, postgres: Postgres) -> list[Answer]:
        seen = postgres.row(
            """
            select pg_is_in_recovery() as standby, (select status from pg_stat_wal_receiver) as receiver,
                   case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
                        else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)
                   end::float8 as seconds
            """,
            instance=self.instance,
        )
        if not seen.standby:
            return []
        limit = self.lag_limit.total_seconds()
        if seen.receiver != "streaming":
            return [bad(f"this standby receives nothing ({seen.receiver or 'no receiver runs'})", target=self.instance)]
        say = f"this standby replays {rough(timedelta(seconds=seen.seconds))} behind what it received"
        return [(good if seen.seconds < limit else bad)(say, value=seen.seconds, limit=limit, target=self.instance)]
