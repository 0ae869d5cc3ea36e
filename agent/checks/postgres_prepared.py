"""Does PostgreSQL hold prepared transactions that nobody ends?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.postgres import Postgres


@check
class PostgresPrepared:
    """No prepared transaction is older than `age_limit`, except the fences of the agent itself.

    Nobody's session owns one: it keeps its locks over crashes and restarts, and can still be committed while writes are stopped.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    age_limit: Annotated[Duration, About("a prepared transaction older than this is bad, as in 10m")] = timedelta(minutes=10)

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the seconds of the oldest."""
        held = postgres.rows(
            """
            select left(gid, 60) as gid, owner as role, database, owner = session_user and gid like 'containment-%' as ours,
                   extract(epoch from clock_timestamp() - prepared)::float8 as seconds
            from pg_prepared_xacts order by prepared
            """,
            instance=self.instance,
        )
        limit = self.age_limit.total_seconds()
        others = [one for one in held if not one.ours]
        if not others:
            say = "no transaction is prepared" + (f", but for {len(held)} of the agent's own fences" if held else "")
            return good(say, value=0, limit=limit, target=self.instance)
        say = f"{len(others)} prepared; the oldest, {self._named(others[0])}"
        if others[0].seconds < limit:
            return good(say, value=others[0].seconds, limit=limit, target=self.instance)
        say += "; ask its owner, then COMMIT PREPARED or ROLLBACK PREPARED it in that database"
        return bad(say, value=others[0].seconds, limit=limit, target=self.instance)

    def _named(self, seen: Any) -> str:
        return f"'{seen.gid}' of {seen.role} in {seen.database}, is {rough(timedelta(seconds=seen.seconds))} old"
