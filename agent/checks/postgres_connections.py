"""Are PostgreSQL's connections running out?"""

from __future__ import annotations

from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.postgres import Postgres


@check
class PostgresConnections:
    """PostgreSQL has connections left for ordinary roles. The ones reserved for superusers do not count."""

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    used_limit: Annotated[float, About("bad from so many percent of the connections on", "90")] = 90

    def ask(self, postgres: Postgres) -> Answer:
        """The value is percent used."""
        seen = postgres.row(
            """
            select count(*) filter (where backend_type = 'client backend') as used,
                   current_setting('max_connections')::int
                   - current_setting('superuser_reserved_connections')::int
                   - coalesce(current_setting('reserved_connections', true)::int, 0) as slots  -- PostgreSQL 16
            from pg_stat_activity
            """,
            instance=self.instance,
        )
        used = 100 * seen.used / seen.slots
        say = f"{seen.used} of {seen.slots} connections are used ({used:.0f} %)"
        return (good if used < self.used_limit else bad)(say, value=used, limit=self.used_limit, target=self.instance)
