"""Do sessions wait for each other in PostgreSQL?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.postgres import Postgres


@check
class PostgresLocks:
    """Nobody waits for a lock for `wait_limit`, and fewer than `waiting_limit` wait at once. PostgreSQL 14 and newer."""

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    wait_limit: Annotated[Duration, About("bad where somebody waits for a lock for so long, as in 30s")] = timedelta(seconds=30)
    waiting_limit: Annotated[int, About("bad where so many wait at once", "50")] = 50

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the seconds of the longest wait."""
        seen = postgres.row(
            """
            with waiting as (
                select pid, coalesce(extract(epoch from clock_timestamp() - waitstart), 0)::float8 as seconds
                from pg_locks where not granted
            )
            select count(*) as number, coalesce(max(seconds), 0) as seconds,
                   (select pg_blocking_pids(pid) from waiting order by seconds desc limit 1) as blockers
            from waiting
            """,
            instance=self.instance,
        )
        limit = self.wait_limit.total_seconds()
        if not seen.number:
            return good("no session waits for a lock", value=0, limit=limit, target=self.instance)
        say = f"{seen.number} {'session waits' if seen.number == 1 else 'sessions wait'} for a lock"
        say += f", the longest for {rough(timedelta(seconds=seen.seconds))}{_because(seen.blockers)}"
        waits = seen.seconds >= limit or seen.number >= self.waiting_limit
        return (bad if waits else good)(say, value=seen.seconds, limit=limit, target=self.instance)


def _because(blockers: list[int] | None) -> str:
    if not blockers:
        return ""
    named = ", ".join("a prepared transaction" if pid == 0 else f"pid {pid}" for pid in blockers[:3])
    return f", because of {named}"
