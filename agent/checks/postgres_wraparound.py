"""Is PostgreSQL running out of transaction numbers?"""

from __future__ import annotations

from typing import Annotated, Final

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.postgres import Postgres

STOPS: Final = 2**31 - 3_000_000
"""The age at which PostgreSQL 14 and newer accepts no more writes: SetTransactionIdLimit in varsup.c; multixacts likewise."""


@check
class PostgresWraparound:
    """The oldest transaction number of no database is `used_limit` percent of the way to where writes stop."""

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    used_limit: Annotated[float, About("bad from so many percent of the way on", "50")] = 50

    def ask(self, postgres: Postgres) -> Answer:
        """The value is percent of the way."""
        seen = postgres.row(
            """
            select datname as database, greatest(age(datfrozenxid), mxid_age(datminmxid)) as age
            from pg_database order by age desc limit 1
            """,
            instance=self.instance,
        )
        used = 100 * seen.age / STOPS
        if used < self.used_limit:
            say = f"{seen.database} is {used:.0f} % of the way to transaction number wraparound"
            return good(say, value=used, limit=self.used_limit, target=self.instance)
        say = f"{seen.database} is {used:.0f} % of the way to where writes stop (transaction number wraparound); look for old"
        say += " transactions, prepared transactions and slots, then VACUUM it"
        return bad(say, value=used, limit=self.used_limit, target=self.instance)
