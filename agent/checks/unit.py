"""Do systemd units run, and stay running?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent import schema
from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.units import Units, UnitState


@check
class Unit:
    """Units are active, and systemd has not had to restart them `restarts_limit` times in `restarts_span`.

    A service that crashes and comes back looks active most of the time.
    """

    units: Annotated[tuple[schema.Unit, ...], About("systemd units, as in [nginx.service, cron.service]")]
    restarts_limit: Annotated[int, About("so many restarts in `restarts_span` are bad", "3")] = 3
    restarts_span: Annotated[Duration, About("the time in which restarts are counted, as in 10m")] = timedelta(minutes=10)
    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=3)

    def ask(self, units: Units) -> list[Answer]:
        """Ask for all at once; one answer per unit, the value is its restarts."""
        states = units.states(self.units, restarts_within=self.restarts_span, within=self.within)
        return [self._judge(state) for state in states]

    def _judge(self, unit: UnitState) -> Answer:
        verdict, say = good, f"{unit.name} is {unit.active} ({unit.sub})"
        if unit.load == "not-found":
            verdict, say = bad, f"{unit.name} does not exist on this host"
        elif unit.active not in ("active", "reloading", "refreshing"):
            verdict, say = bad, say + (f": {unit.result}" if unit.result else "")
        elif unit.restarts >= self.restarts_limit:
            verdict, say = bad, f"{unit.name} keeps crashing: {unit.restarts} restarts in {rough(self.restarts_span)}"
        return verdict(say, value=unit.restarts, limit=self.restarts_limit, target=unit.name)
