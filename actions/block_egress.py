"""Drop what this host sends to one address or network, as to a command-and-control server."""

from __future__ import annotations

from agent.action import Change, action
from agent.schema import Address, Port, Ttl, spell, spoken
from agent.systems.firewall import Firewall


@action(impact="mild")
class BlockEgress:
    """Drop every packet that this host and its containers send to one address or network, on open connections too.

    With `ports`, only what goes to these TCP and UDP ports of theirs. What they send still comes in: `block_ip` stops that.
    """

    ip: Address
    ttl: Ttl
    ports: tuple[Port, ...] = ()

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
