"""What the policies of these tests may name: kinds of events, actions and lists, small and of our own making."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from agent.event import CHECK, Catalogue, Kind
from agent.schema import Address, Duration, Flag, Port, Ttl, Unit, address

FAILURE = Kind(
    "auth.ssh.failure",
    "Somebody failed to log in over SSH.",
    {"src.ip": "address", "user": "text", "method": "text", "invalid_user": "flag", "port": "port"},
    forgeable=True,
)
SUCCESS = Kind(
    "auth.ssh.success", "Somebody logged in over SSH.", {"src.ip": "address", "user": "text", "method": "text"}, forgeable=True
)
SOURCE = Kind(
    "http.source",
    "Requests of one client.",
    {"src.ip": "address", "rps": "number", "requests": "integer", "error_ratio": "number"},
    state=True,
)
UNIT = Kind("unit.failed", "A systemd unit failed.", {"unit": "unit", "result": "text"})


@dataclass(frozen=True)
class BlockIp:
    """Drop every packet from one address or network."""

    name: ClassVar[str] = "block_ip"
    impact: ClassVar[str] = "mild"
    ip: Address
    ttl: Ttl
    ports: tuple[Port, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class RateLimit:
    """Let only so many requests of one address through."""

    name: ClassVar[str] = "rate_limit"
    impact: ClassVar[str] = "mild"
    port: Port
    rps: int
    ttl: Ttl
    protocol: Literal["tcp", "udp"] = "tcp"
    burst: int = 40
    log: Flag = False


@dataclass(frozen=True)
class RestartService:
    """Restart a systemd unit."""

    name: ClassVar[str] = "restart_service"
    impact: ClassVar[str] = "disruptive"
    unit: Unit
    grace: Duration | None = None


ACTIONS: dict[str, type[Any]] = {"block_ip": BlockIp, "rate_limit": RateLimit, "restart_service": RestartService}
KINDS = {kind.name: kind for kind in (FAILURE, SUCCESS, SOURCE, UNIT, CHECK)}
LISTS = {"office": (address("198.51.100.0/24"),), "monitoring": (address("192.0.2.10"),), "nobody": ()}
CATALOGUE = Catalogue(KINDS, ACTIONS, LISTS, channels=frozenset({"phone", "sre"}), checks=frozenset({"shop-http"}))
