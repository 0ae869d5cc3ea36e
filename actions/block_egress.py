"""Drop what this host sends to one address or network, as to a command-and-control server."""

from __future__ import annotations

from typing import Annotated

from agent.action import Change, action
from agent.schema import About, Address, Port, Ttl, spell, spoken
from agent.systems.firewall import Firewall


@action(impact="mild")
class BlockEgress:
    """Drop every packet that this host and its containers send to one address or network, on open connections too.

    With `ports`, only what goes to these TCP and UDP ports of theirs. What they send still comes in: `block_ip` stops that.
    """

    ip: Annotated[Address, About("the address or network that nothing is sent to", "203.0.113.7")]
    ttl: Ttl
    ports: Annotated[
        tuple[Port, ...], About("only what goes to these TCP and UDP ports, as in [25]; all where none is named")
    ] = ()

    def plan(self, firewall: Firewall) -> list[Change]:
        """One change, or none where that block is in force for at least as long."""
        ttl, ports = self.ttl.first, tuple(sorted(set(self.ports)))
        if firewall.blocks_egress(self.ip, ttl, ports):
            return []
        lasting = f"for {spell(ttl)}" if ttl else "until it is lifted"
        to = f"port {', '.join(map(str, ports))} of {spoken(self.ip)}" if ports else spoken(self.ip)
        return [
            Change(
                describe=f"drop every packet that this host or a container sends to {to} {lasting}",
                apply=firewall.block_egress(ip=self.ip, ttl=ttl, ports=ports),
                undo=firewall.unblock_egress(ip=self.ip, ports=ports),
                verify=firewall.is_blocked_egress(ip=self.ip, ports=ports),
            )
        ]
