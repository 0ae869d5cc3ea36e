"""Are PostgreSQL's connections running out?"""

from __future__ import annotations

from agent.check import Answer, bad, check, good
from agent.systems.postgres import Postgres


@check
class PostgresConnections:
    """PostgreSQL has connections left for ordinary roles. The ones reserved for superusers do not count."""

    instance: str = "main"
    used_limit: float = 90

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
