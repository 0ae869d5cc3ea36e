"""Does PostgreSQL hold old transactions?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.postgres import Postgres


@check
class PostgresTransactions:
    """No transaction stays open for `open_limit`, and none does nothing for `idle_limit`.

    An old one holds its locks, and no dead row younger than it can be cleaned away.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    open_limit: Annotated[Duration, About("a transaction that is open for longer is bad, as in 1h")] = timedelta(hours=1)
    idle_limit: Annotated[Duration, About("one that does nothing for longer is bad, as in 10m")] = timedelta(minutes=10)

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the seconds of the worse of the two."""
        found = postgres.rows(
            """
            select pid, usename as role, datname as database, idle, extract(epoch from age)::float8 as seconds from (
                select *, row_number() over (partition by idle order by age desc) as place from (
                    select pid, usename, datname, false as idle, clock_timestamp() - xact_start as age from pg_stat_activity
                    where backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null
                    union all
                    select pid, usename, datname, true, clock_timestamp() - state_change from pg_stat_activity
                    where backend_type = 'client backend' and state like 'idle in transaction%'
                ) as each
            ) as ranked
            where place = 1
            order by idle desc
            """,
            instance=self.instance,
        )
        answers = [self._judge(one) for one in found]
        if not answers:
            return good("no transaction is open", target=self.instance)
        return next((one for one in answers if one.state == "bad"), answers[-1])

    def _judge(self, seen: Any) -> Answer:
        limit = self.idle_limit if seen.idle else self.open_limit
        what = "transaction that does nothing has been idle" if seen.idle else "transaction has been open"
        say = f"the oldest {what} for {rough(timedelta(seconds=seen.seconds))} ({seen.role} in {seen.database}, pid {seen.pid})"
        verdict = good if seen.seconds < limit.total_seconds() else bad
        return verdict(say, value=seen.seconds, limit=limit.total_seconds(), target=self.instance)
