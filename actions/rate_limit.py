"""Let through only so many new connections per second: from one address, or to a port or service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.action import Change, action
from agent.schema import About, Address, Port, Ttl, spell, spoken
from agent.systems.firewall import Firewall
from agent.systems.meter import HIGHEST

Rate = Annotated[int, Field(ge=1, le=HIGHEST)]


@action(impact="mild")
class RateLimit:
    """Drop new connections (TCP) and packets (UDP) beyond so many per second; connections that are open go on.

    `ip` throttles that address or network, on `ports` only where they are given. Without `ip`, every source is measured on
    its own; `per: all` measures everybody together. `burst` may come at once, twice `rps` unless it is given. `port` is one
    more port, as `$port` gives it.
    """

    rps: Annotated[Rate, About("new connections (TCP) and packets (UDP) per second that are let through", "20")]
    ttl: Ttl
    burst: Annotated[Rate | None, About("so many may come at once; twice `rps` where nothing is said", "40")] = None
    ip: Annotated[
        Address | None, About("measure this address or network; every source on its own where none is named", "203.0.113.7")
    ] = None
    ports: Annotated[tuple[Port, ...], About("only what goes to these ports, as in [80, 443]; all where none is named")] = ()
    port: Annotated[Port | None, About("one port more, for a field of the event: $port", "443")] = None
    service: Annotated[str, About("the ports of this service by its name in /etc/services", "http")] = ""
    per: Annotated[
        Literal["source", "all"],
        About("source: each is measured on its own; all: everybody together, for floods with forged senders", "all"),
    ] = "source"

    def plan(self, firewall: Firewall) -> list[Change]:
        """One change, or none where exactly that limit is in force for at least as long."""
        named = firewall.ports_of(self.service) if self.service else ()
        ports = tuple(sorted({*self.ports, *named, *([self.port] if self.port else [])}))
        ttl, burst = self.ttl.first, self.burst or min(2 * self.rps, HIGHEST)
        per = "source" if self.ip and self.ip.num_addresses == 1 else self.per
        if firewall.limited(self.ip, ports, self.rps, burst, ttl, per):
            return []
        return [
            Change(
                describe=f"let through {self._rate(ports)} {f'for {spell(ttl)}' if ttl else 'until it is lifted'}",
                apply=firewall.limit(ip=self.ip, ports=ports, rps=self.rps, burst=burst, ttl=ttl, per=per),
                undo=firewall.unlimit(ip=self.ip, ports=ports, rps=self.rps, burst=burst, per=per),
                verify=firewall.is_limited(ip=self.ip, ports=ports, rps=self.rps, burst=burst, per=per),
            )
        ]

    def _rate(self, ports: tuple[int, ...]) -> str:
        rate = f"{self.rps} new connections per second"
        to = f" to {self.service or 'port'} {', '.join(map(str, ports))}" if ports else ""
        if self.ip and self.ip.num_addresses == 1:
            return f"{rate} from {spoken(self.ip)}{to}"
        where = f" in {spoken(self.ip)}" if self.ip else ""
        return f"{rate} from {'each source' if self.per == 'source' else 'everybody'}{where}{to}"
