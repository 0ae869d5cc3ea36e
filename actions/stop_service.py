"""Stop a service and keep it from coming back."""

from __future__ import annotations

from typing import Annotated

from agent.action import CannotReach, Change, action
from agent.schema import About, Ttl, Unit, spell
from agent.systems.units import Units


@action(impact="destructive", mutes=("check *",))
class StopService:
    """Stop a service and keep it from coming back, until the time is over or somebody lifts it.

    Nothing can start it meanwhile: it is masked, and sockets, timers and paths that would start it are stopped with it. What
    ran before is started again afterwards, also what depends on the service and therefore stops with it.
    """

    unit: Annotated[Unit, About("the systemd unit, as in nginx.service")]
    ttl: Ttl

    def plan(self, units: Units) -> list[Change]:
        """One change, or none where the unit is masked and nothing of it runs."""
        facts = units.facts(self.unit, f"stop {self.unit}")
        if facts.transient:
            mend = "freeze_service or isolate_service leave it there"
            raise CannotReach(f"cannot stop {facts.name}: it has no file and would be gone, never to be started again; {mend}")
        if facts.load == "masked" and not facts.up and not facts.triggers:
            return []
        fallen = units.dependents(facts.name, f"stop {facts.name}") if facts.up else ()
        running = (*facts.triggers, *((facts.name,) if facts.up else ()), *fallen)
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        with_it = [*facts.triggers, *fallen]
        return [
            Change(
                describe=f"stop {', '.join((facts.name, *with_it))}, and keep {facts.name} stopped {lasting}",
                apply=units.hold_down(unit=facts.name, triggers=facts.triggers, link=facts.needs_link),
                undo=units.let_up(unit=facts.name, running=running),
                verify=units.is_held_down(unit=facts.name, triggers=facts.triggers, running=running),
                capture=(units.show(unit=facts.name),),
                touches=tuple(f"unit {one}" for one in (facts.name, *with_it)),
            )
        ]
