"""Restart a service, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from agent.action import CannotReach, Change, Protected, action
from agent.schema import About, Duration, Unit, spell
from agent.systems.units import Units


@action(impact="disruptive", mutes=("check *",))
class RestartService:
    """Restart a service, or start it where it has failed; it cannot be taken back.

    Refused where it was started again `most` times `within` this time already, by whomever: one more restart mends nothing,
    and a person has to look.
    """

    unit: Annotated[Unit, About("the systemd unit, as in nginx.service")]
    most: Annotated[
        Annotated[int, Field(ge=1, le=100)], About("so many starts within `within` are the last: then a person has to look", "3")
    ] = 3
    within: Annotated[Duration, About("the time in which starts are counted, as in 10m")] = timedelta(minutes=10)

    def plan(self, units: Units) -> list[Change]:
        """One change, always: a restart is never there already."""
        what = f"restart {self.unit}"
        facts = units.facts(self.unit, what, kinds=("service",))
        if facts.load == "masked":
            raise CannotReach(f"cannot {what}: it is masked, so that nothing starts it; `systemctl unmask` lets it start")
        if facts.freezer != "running":
            raise CannotReach(f"cannot {what}: it is {facts.freezer}, and a restart would lose what was frozen; thaw it first")
        if units.restarts(facts.name, self.most, self.within) >= self.most:
            times = f"{self.most} times within {spell(self.within)}"
            raise Protected(f"cannot {what}: it was started again {times} already; one more mends nothing, a person has to look")
        with_it = units.dependents(facts.name, what)
        others = f" and with it {', '.join(with_it)}" if with_it else ""
        return [
            Change(
                describe=f"restart {facts.name}{others}; it is {facts.state}",
                apply=units.restart(unit=facts.name, invocation=facts.invocation),
                undo=None,
                verify=units.is_restarted(unit=facts.name, invocation=facts.invocation),
                capture=(units.show(unit=facts.name),),
                touches=tuple(f"unit {one}" for one in (facts.name, *with_it)),
            )
        ]
