"""While a flood of SYNs comes to some ports, let only those through who ask a second time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.action import Change, action
from agent.schema import About, Port, Ttl, spell
from agent.systems.firewall import Firewall
from agent.systems.meter import HIGHEST


@action(impact="mild")
class SynProtect:
    """While more than `rps` new TCP connections per second come to `ports`, drop the first SYN of each.

    A client sends its SYN again after a second and gets in; a forged sender never learns that it should. No address is
    blocked, open connections go on, and below `rps` nothing changes. It ends in the kernel, with or without the agent.
    """

    ports: Annotated[tuple[Port, ...], About("the TCP ports that are protected, as in [80, 443]")]
    ttl: Ttl
    rps: Annotated[
        Annotated[int, Field(ge=1, le=HIGHEST)], About("it begins to act above so many new connections per second", "100")
    ] = 100

    def plan(self, firewall: Firewall) -> list[Change]:
        """One change, or none where exactly that is in force for at least as long."""
        ports, ttl, rps = tuple(sorted(set(self.ports))), self.ttl.first, self.rps
        if firewall.limited(None, ports, rps, rps, ttl, "again"):
            return []
        to = f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}"
        lasting = f"for {spell(ttl)}" if ttl else "until it is lifted"
        return [
            Change(
                describe=f"while more than {rps} SYNs per second come to {to}, drop the first of each client {lasting}",
                apply=firewall.limit(ip=None, ports=ports, rps=rps, burst=rps, ttl=ttl, per="again"),
                undo=firewall.unlimit(ip=None, ports=ports, rps=rps, burst=rps, per="again"),
                verify=firewall.is_limited(ip=None, ports=ports, rps=rps, burst=rps, per="again"),
            )
        ]
