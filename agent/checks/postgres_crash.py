"""Has PostgreSQL crashed and started itself again?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About, Duration, rough
from agent.systems.postgres import Postgres

_AT_ONCE: Final = 2.0
"""Seconds within which a starting server has its checkpointer, recovery or not (PostgreSQL 15 and newer)."""


@check
class PostgresCrash:
    """PostgreSQL has not crashed in the last `within`. PostgreSQL 15 and newer.

    When one process dies by a signal, all sessions are ended and all processes but the first start anew: the start time of the
    server stays as it was, that of its checkpointer does not.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    within: Annotated[Duration, About("a crash within the last so long is bad, as in 1h")] = timedelta(hours=1)

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the seconds since it started itself again."""
        seen = postgres.row(
            """
            select extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 as up,
                   extract(epoch from clock_timestamp() - backend_start)::float8 as since,
                   current_setting('server_version_num')::int as version
            from (values (1)) as always left join pg_stat_activity on backend_type = 'checkpointer'
            """,
            instance=self.instance,
        )
        if seen.since is None or seen.version < 150_000:
            why = "its checkpointer is not there yet" if seen.since is None else "before version 15 its processes do not tell"
            return unknown(f"cannot see whether PostgreSQL {self.instance} crashed: {why}", target=self.instance)
        if seen.up - seen.since < _AT_ONCE:
            return good(f"PostgreSQL runs since {rough(timedelta(seconds=seen.up))} without a crash", target=self.instance)
        say = f"PostgreSQL crashed and started itself again {rough(timedelta(seconds=seen.since))} ago"
        limit = self.within.total_seconds()
        if seen.since >= limit:
            return good(say, value=seen.since, limit=limit, target=self.instance)
        say += "; its log says which process was terminated by which signal"
        return bad(say, value=seen.since, limit=limit, target=self.instance)
