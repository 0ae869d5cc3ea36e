"""Freeze every process of a service where it stands."""

from __future__ import annotations

from typing import Annotated

from agent.action import CannotReach, Change, action
from agent.schema import About, Ttl, Unit, spell
from agent.systems.units import Units


@action(impact="disruptive", mutes=("check *",))
class FreezeService:
    """Freeze every process of a service where it stands, with its memory and open files kept for a look at them.

    It does nothing more and answers nobody; afterwards it goes on where it stood. A service that systemd watches by
    WatchdogSec= is refused, because systemd would kill it.
    """

    unit: Annotated[Unit, About("the systemd unit, as in nginx.service")]
    ttl: Ttl

    def plan(self, units: Units) -> list[Change]:
        """One change, or none where it is frozen."""
        what = f"freeze {self.unit}"
        facts = units.facts(self.unit, what, kinds=("service",))
        if facts.active != "active":
            raise CannotReach(f"cannot {what}: it is {facts.state}, and only what runs can be frozen")
        if not facts.can_freeze:
            mend = "boot with systemd.unified_cgroup_hierarchy=1, or use isolate_service or stop_service"
            raise CannotReach(
                f"cannot {what}: systemd freezes where cgroups of version 2 stand alone, and here they do not; {mend}"
            )
        if facts.freezer.startswith("frozen"):
            return []
        if facts.watchdog:
            mend = "systemd would kill it before long; use isolate_service or stop_service"
            raise CannotReach(f"cannot {what}: it has a watchdog (WatchdogSec=), and {mend}")
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        return [
            Change(
                describe=f"freeze every process of {facts.name} {lasting}",
                apply=units.freeze(unit=facts.name),
                undo=units.thaw(unit=facts.name),
                verify=units.is_frozen(unit=facts.name, invocation=facts.invocation),
                capture=(units.show(unit=facts.name),),
                touches=(f"unit {facts.name}",),
            )
        ]
