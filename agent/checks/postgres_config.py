"""Would PostgreSQL take its configuration files?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About
from agent.systems.postgres import Postgres
from agent.systems.postgres_file_views import missing_grant

_MOST: Final = 3
"""Lines that are named."""


@check
class PostgresConfig:
    """PostgreSQL would take its configuration files at the next reload, and come up with them after a restart.

    With one line that it cannot read, it goes on with the old settings and says so in its log alone: then a stop of writes by
    ALTER SYSTEM is ignored too. Settings that only wait for a restart are named, and are good.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the number of lines that are wrong."""
        missing = missing_grant(postgres, "pg_file_settings", self.instance)
        if missing:
            return unknown(missing, target=self.instance)
        wrong = postgres.rows(
            """
            select coalesce(name, '') as name, f.sourcefile as file, f.sourceline as line, error,
                   coalesce(context = 'postmaster', false) as waits, (select bool_or(applied) from pg_file_settings) as some
            from pg_file_settings f left join pg_settings using (name)
            where error is not null order by seqno
            """,
            instance=self.instance,
        )
        refused = [one for one in wrong if not one.waits]
        if not refused:
            return good(self._waiting(wrong), value=0, limit=1, target=self.instance)
        ignored = "the next reload would be ignored, and " if not refused[0].some else ""
        named = "; ".join(f"{one.file}:{one.line}: {one.name} {one.error}".replace(":  ", ": ") for one in refused[:_MOST])
        more = f" and {len(refused) - _MOST} more" if len(refused) > _MOST else ""
        say = f"{ignored}PostgreSQL would not come up after a restart: {named}{more}"
        return bad(say, value=len(refused), limit=1, target=self.instance)

    def _waiting(self, wrong: Sequence[Any]) -> str:
        names = sorted({one.name for one in wrong})
        waits = f"; these wait for a restart: {', '.join(names[:_MOST])}" if names else ""
        return f"the configuration files hold nothing that PostgreSQL would refuse{waits}"
