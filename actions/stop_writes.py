"""Stop every write to a PostgreSQL server, and leave reading as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from agent.action import Change, Impact, action
from agent.schema import About, Ttl, spell
from agent.systems.postgres import LOCK_TIMEOUT, READ_ONLY, Postgres, some
from agent.systems.postgres_evidence import PostgresEvidence


@action(
    within=30,
    mutes=(
        "check postgres_archiver",
        "check postgres_crash",
        "check postgres_locks",
        "check postgres_prepared",
        "check postgres_primary",
        "check postgres_reachable",
        "check postgres_replication",
        "check postgres_settings",
        "check postgres_transactions",
    ),
)
class StopWrites:
    """Stop every write to a PostgreSQL server, and leave reading as it is.

    soft: new transactions are read-only, and every session from before is ended once. Whoever asks for a writing transaction
    still gets one, and is named. Locking reads (FOR UPDATE), new temporary tables and sequences fail too.
    hard: besides, all tables and catalogues are locked against writing, for owners and superusers too, until it is lifted. It
    survives a crash and a failover; vacuum stands still meanwhile, and roles cannot be changed: lock those before.
    fence: by itself, and for an agent on the server's own host only, the server is restarted as a standby that follows nobody,
    and once more when it is lifted. Every session ends each time, and nothing can be read for a second or two; meanwhile there
    are no temporary tables, no LISTEN, no FOR UPDATE, no SERIALIZABLE. Replicas keep streaming, logical subscribers wait. What
    manages the server (Patroni, pg_auto_failover, repmgr) promotes it or another one: pause that first.
    """

    ttl: Ttl
    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    strength: Annotated[Literal["soft", "hard", "fence"], About("how far it goes; each is described above", "hard")] = "soft"

    @property
    def impact(self) -> Impact:
        """A fence ends every session, twice, and nothing can be read meanwhile."""
        return "destructive" if self.strength == "fence" else "disruptive"

    def plan(self, postgres: Postgres, postgres_evidence: PostgresEvidence) -> list[Change]:
        """The switch, then what it does not reach: subscriptions (soft), or waits for locks and a fence per database (hard)."""
        changes = self._changes(postgres)
        seen = (
            postgres.all_sessions(instance=self.instance),
            postgres_evidence.activity(instance=self.instance),
            postgres_evidence.settings(instance=self.instance),
        )
        return [replace(changes[0], capture=seen), *changes[1:]] if changes else []

    def _changes(self, postgres: Postgres) -> list[Change]:
        if self.strength == "fence":
            return self._restart(postgres)
        postgres.refuse_unable(self.instance)
        rest = self._fences(postgres) if self.strength == "hard" else self._subscriptions(postgres)
        return [*self._switch(postgres), *rest]

    def _restart(self, postgres: Postgres) -> list[Change]:
        cluster = postgres.cluster(self.instance)
        if postgres.fenced_whole(self.instance, cluster):
            return []
        postgres.refuse_unfit(self.instance, cluster)
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        ended = some(len(postgres.sessions(self.instance)), "session")
        replicas = postgres.replicas(self.instance)
        return [
            Change(
                describe=f"restart PostgreSQL {self.instance} as a standby that follows nobody {lasting}: it ends {ended}, and"
                " nothing can be read for a second or two; then reads only, without FOR UPDATE, temporary tables, LISTEN;"
                f"{_following(len(replicas))} pause Patroni or the like first, or it promotes this server or another",
                apply=postgres.make_standby(instance=self.instance, cluster=cluster),
                undo=postgres.end_standby(instance=self.instance, cluster=cluster, replicas=replicas),
                verify=postgres.is_standby(instance=self.instance, cluster=cluster),
                touches=(
                    f"postgres {self.instance}",
                    *(f"database {one}" for one in postgres.databases(self.instance)),
                    *((f"unit {cluster.unit}",) if cluster.unit else ()),
                ),
            )
        ]

    def _switch(self, postgres: Postgres) -> list[Change]:
        if postgres.in_force(self.instance, READ_ONLY) == READ_ONLY.in_force:
            return []
        before = postgres.written(self.instance, READ_ONLY)
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        ended = some(len(postgres.sessions(self.instance)), "session")
        said = f"make PostgreSQL {self.instance} read-only {lasting}, and end {ended} from before"
        if overriding := postgres.overriding(self.instance):
            said += f"; {', '.join(overriding)} will override it"
        hard = self.strength == "hard"
        return [
            Change(
                describe=said,
                apply=postgres.stop_writes(instance=self.instance, before=before),
                undo=postgres.allow_writes(instance=self.instance, before=before),
                verify=postgres.writes_stopped(instance=self.instance, before=before, fenced=hard),
                touches=(f"postgres {self.instance}",),
            )
        ]

    def _subscriptions(self, postgres: Postgres) -> list[Change]:
        if postgres.standby(self.instance):
            return []
        return [
            Change(
                describe=f"pause what database {database} receives by subscription ({', '.join(names)})",
                apply=postgres.pause_subscriptions(instance=self.instance, database=database, names=names),
                undo=postgres.resume_subscriptions(instance=self.instance, database=database, names=names),
                verify=postgres.subscriptions_paused(instance=self.instance, database=database, names=names),
                touches=(f"postgres {self.instance}", f"database {database}"),
            )
            for database, names in postgres.subscriptions(self.instance).items()
        ]

    def _fences(self, postgres: Postgres) -> list[Change]:
        changes = [
            Change(
                describe=f"lock every table of database {one.database} ({one.tables}) against writing"
                + (f" (this will fail: {one.lacks})" if one.lacks else ""),
                apply=postgres.fence(instance=self.instance, database=one.database),
                undo=postgres.unfence(instance=self.instance, database=one.database),
                verify=postgres.is_fenced(instance=self.instance, database=one.database),
                touches=(f"postgres {self.instance}", f"database {one.database}"),
            )
            for one in postgres.grounds(self.instance)
        ]
        return [*self._lock_waits(postgres), *changes] if changes else []

    def _lock_waits(self, postgres: Postgres) -> list[Change]:
        if 0 < int(postgres.in_force(self.instance, LOCK_TIMEOUT)) <= int(LOCK_TIMEOUT.in_force):
            return []
        before = postgres.written(self.instance, LOCK_TIMEOUT)
        return [
            Change(
                describe=f"let nobody on PostgreSQL {self.instance} wait longer than {LOCK_TIMEOUT.ours} for a lock",
                apply=postgres.limit_lock_waits(instance=self.instance, before=before),
                undo=postgres.unlimit_lock_waits(instance=self.instance, before=before),
                verify=postgres.lock_waits_limited(instance=self.instance, before=before),
                touches=(f"postgres {self.instance}",),
            )
        ]


def _following(replicas: int) -> str:
    return f" {some(replicas, 'replica')} {'goes' if replicas == 1 else 'go'} on following;" if replicas else ""
