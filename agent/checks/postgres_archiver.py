"""Does PostgreSQL's archive keep up?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About, rough
from agent.systems.postgres import Postgres


@check
class PostgresArchiver:
    """The last try to archive write-ahead log went well, and fewer than `waiting_limit` files of it wait.

    What is not archived is missing when the way back is needed, and stays in pg_wal until the disk is full.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    waiting_limit: Annotated[int, About("bad from so many files of write-ahead log that wait on", "64")] = 64

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the number of files that wait, of 16 MiB each unless the cluster was made with others."""
        seen = postgres.row(
            """
            select current_setting('archive_mode') as mode, pg_is_in_recovery() as standby, last_failed_wal as failed,
                   coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) as failing,
                   extract(epoch from clock_timestamp() - last_failed_time)::float8 as seconds,
                   (select count(*) from pg_ls_archive_statusdir() where name like '%.ready') as waiting
            from pg_stat_archiver
            """,
            instance=self.instance,
        )
        if seen.mode == "off":
            say = "nothing is archived: archive_mode is off; set it and restart, or leave this check out"
            return bad(say, target=self.instance)
        if seen.standby and seen.mode != "always":
            return good("this standby leaves the archive to its primary", target=self.instance)
        say = f"{seen.waiting} {'file waits' if seen.waiting == 1 else 'files wait'} to be archived"
        if seen.failing:
            say += f"; archiving {seen.failed} failed {rough(timedelta(seconds=seen.seconds))} ago, and nothing went since"
        fails = seen.failing or seen.waiting >= self.waiting_limit
        return (bad if fails else good)(say, value=seen.waiting, limit=self.waiting_limit, target=self.instance)
