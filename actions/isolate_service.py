"""Cut a service off from the network while it runs on."""

from __future__ import annotations

from typing import Annotated

from agent.action import CannotReach, Change, action
from agent.schema import About, Address, Ttl, Unit, spell, spoken
from agent.systems.unit_facts import UnitFacts
from agent.systems.unit_filter import EVERYTHING, IpFilter, fewest, filter_of, unset_yet
from agent.systems.units import Units


@action(impact="disruptive", mutes=("check *",))
class IsolateService:
    """Cut a service off from every IP address, loopback too, while it runs on; open connections carry nothing any more.

    `allow` names networks that it may still talk to. Local sockets (AF_UNIX) and packet sockets (AF_PACKET) are not cut.
    """

    unit: Annotated[Unit, About("the systemd unit, as in nginx.service")]
    ttl: Ttl
    allow: Annotated[tuple[Address, ...], About("addresses and networks that it may still talk to, as in [192.0.2.10]")] = ()

    def plan(self, units: Units) -> list[Change]:
        """A change for the service, and one for each socket unit that listens for it: its connections are the socket's."""
        what = f"cut {self.unit} off"
        facts = units.facts(self.unit, what, kinds=("service", "socket"))
        if not facts.up or not facts.cgroup:
            raise CannotReach(f"cannot {what}: it is {facts.state} and has no processes; stop_service keeps it from starting")
        units.can_filter(self.allow)
        sockets = [units.facts(one, what) for one in facts.triggers if one.endswith(".socket")]
        wanted = IpFilter(EVERYTHING, fewest(self.allow))
        return [self._change(units, one, wanted) for one in (facts, *sockets) if not units.cuts(one, wanted)]

    def _change(self, units: Units, facts: UnitFacts, wanted: IpFilter) -> Change:
        spared = f" but {', '.join(map(spoken, wanted.allow))}" if wanted.allow else ""
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        before = filter_of(facts)
        return Change(
            describe=f"cut {facts.name} off from every address{spared} {lasting}",
            apply=units.cut(unit=facts.name, wanted=wanted),
            undo=units.uncut(unit=facts.name, ours=wanted, before=before, new=unset_yet(facts)),
            verify=units.is_cut(unit=facts.name, wanted=wanted, before=before),
            capture=(units.show(unit=facts.name),) if facts.name.endswith(".service") else (),
            touches=(f"unit {facts.name}",),
        )
