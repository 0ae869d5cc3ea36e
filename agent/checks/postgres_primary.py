"""Is this PostgreSQL the primary, or the standby, that it should be?"""

from __future__ import annotations

from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About, Flag
from agent.systems.postgres import Postgres


@check
class PostgresPrimary:
    """This server is the primary; with `standby`, it is a standby. Otherwise there was a failover, or somebody promoted it."""

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    standby: Annotated[Flag, About("true: it should be a standby", "true")] = False

    def ask(self, postgres: Postgres) -> Answer:
        """Whether it replays the log of another."""
        standby = postgres.row("select pg_is_in_recovery() as standby", instance=self.instance).standby
        is_now = "a standby" if standby else "the primary"
        if standby == self.standby:
            return good(f"PostgreSQL {self.instance} is {is_now}", target=self.instance)
        should = "a standby" if self.standby else "the primary"
        say = f"PostgreSQL {self.instance} is {is_now} and should be {should}: a failover, or somebody promoted a standby"
        return bad(say, target=self.instance)
