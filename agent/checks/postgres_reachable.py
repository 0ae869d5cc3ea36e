"""Does PostgreSQL answer?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.action import CannotReach
from agent.check import Answer, bad, check, good, unknown
from agent.schema import About, Duration, rough
from agent.systems.postgres import NotAdmitted, Postgres


@check
class PostgresReachable:
    """PostgreSQL answers over a new connection and over the one that stays open.

    A stopped postmaster and a full server show only on the new one, a restart only on the kept one.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    within: Annotated[Duration, About("bad where it does not answer in time, as in 3s")] = timedelta(seconds=3)

    def ask(self, postgres: Postgres) -> Answer:
        """Ask over both; the value is the seconds that a new login took."""
        had = postgres.keeps(self.instance)
        lost = self._lost(postgres) if had else ""
        try:
            took = postgres.ask_new(self.instance, self.within)
        except NotAdmitted as error:
            return unknown(str(error), target=self.instance)
        except CannotReach as error:
            kept = "; the connection that was kept open still answers" if had and not lost else ""
            return bad(f"{error}{kept}", target=self.instance)
        if lost:
            say = f"PostgreSQL takes new connections, but the one that was kept open is lost (a restart, a crash?): {lost}"
            return bad(say, value=took.total_seconds(), target=self.instance)
        if not had:
            postgres.ask_kept(self.instance, self.within)  # from now on there is one
        return good(f"PostgreSQL answers, a new login takes {rough(took)}", value=took.total_seconds(), target=self.instance)

    def _lost(self, postgres: Postgres) -> str:
        """What is wrong with the connection that was kept open, or nothing."""
        try:
            postgres.ask_kept(self.instance, self.within)
        except CannotReach as error:
            return str(error)
        return ""
