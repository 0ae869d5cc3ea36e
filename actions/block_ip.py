"""Drop every packet from and to one address or network."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from actions.rate_limit import RateLimit
from agent.action import Change, action
from agent.schema import About, Address, Port, Ttl, spell, spoken
from agent.systems.firewall import Firewall

REFUSED = ("*.failure", "*.invalid_user", "*.probe", "*.denied", "*.unknown", "*.connections_full", "http.*")
"""What somebody who is cut off may still leave in logs; never that they got in."""


@action(impact="mild", mutes=REFUSED)
class BlockIp:
    """Drop every packet from and to one address or network, also for traffic forwarded to containers.

    With `ports`, only what goes to these TCP and UDP ports of this host or its containers, and the replies.
    """

    ip: Annotated[Address, About("the address or network that is cut off", "203.0.113.7")]
    ttl: Ttl
    ports: Annotated[
        tuple[Port, ...], About("only these TCP and UDP ports of this host, as in [80, 443]; all where none is named")
    ] = ()

    def milder(self, rps: int, ttl: timedelta) -> RateLimit:
        """What slows the same address and ports down instead: the rung below, when the block is let go step by step."""
        return RateLimit(rps=rps, ip=self.ip, ports=self.ports, ttl=Ttl(ttl))

    def plan(self, firewall: Firewall) -> list[Change]:
        """One change, or none where that block is in force for at least as long."""
        ttl, ports = self.ttl.first, tuple(sorted(set(self.ports)))
        if firewall.blocks(self.ip, ttl, ports):
            return []
        lasting = f"for {spell(ttl)}" if ttl else "until it is lifted"
        what = f"what comes to port {', '.join(map(str, ports))} from" if ports else "every packet from and to"
        return [
            Change(
                describe=f"drop {what} {spoken(self.ip)} {lasting}",
                apply=firewall.block(ip=self.ip, ttl=ttl, ports=ports),
                undo=firewall.unblock(ip=self.ip, ports=ports),
                verify=firewall.is_blocked(ip=self.ip, ports=ports),
            )
        ]
