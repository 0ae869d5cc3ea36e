"""Has PostgreSQL read damaged pages?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About, Duration, rough
from agent.systems.postgres import Postgres


@check
class PostgresChecksums:
    """No page failed its checksum in the last `within`.

    PostgreSQL notices only when somebody reads the page, and not at all with data checksums off.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    within: Annotated[Duration, About("failures of the last so long are bad, as in 1d")] = timedelta(days=1)

    def ask(self, postgres: Postgres) -> list[Answer]:
        """One answer per database that has failures; the value is their number since the statistics were reset."""
        if postgres.row("select current_setting('data_checksums') as mode", instance=self.instance).mode != "on":
            say = "data checksums are off, so damaged pages go unnoticed; stop the server and run pg_checksums --enable"
            return [unknown(say, target=self.instance)]
        damaged = postgres.rows(
            """
            select coalesce(datname, 'the shared catalogs') as name, checksum_failures as failures,
                   extract(epoch from clock_timestamp() - checksum_last_failure)::float8 as seconds
            from pg_stat_database where checksum_failures > 0
            """,
            instance=self.instance,
        )
        answers = []
        for one in damaged:
            ago = rough(timedelta(seconds=one.seconds))
            say = f"{one.failures} reads of damaged pages in {one.name}, the last {ago} ago; copy the data before anything else"
            verdict = bad if one.seconds < self.within.total_seconds() else good
            answers.append(verdict(say, value=one.failures, limit=1, target=one.name))
        return answers or [good("no page has failed its checksum", value=0, limit=1, target=self.instance)]
