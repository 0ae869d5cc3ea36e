"""What agent.yaml says about the intake: where it listens, who may send, and how each shows who it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from agent.event import Kind

if TYPE_CHECKING:
    from agent.streams.sender import Sender

BAD_INPUT: Final = Kind(
    "agent.bad_input",
    "A sender that is known sent a document that cannot be read; its beginning is kept.",
    {"sender": "text", "reason": "text"},
    forgeable=True,
)
"""Forgeable, since `reason` quotes the document. `raw` is its first 4 KiB."""

REFUSED: Final = Kind(
    "intake.refused",
    "Somebody at the intake did not show who they are: an unknown sender, a wrong token, a bad signature.",
    {"src.ip": "address", "uid": "integer", "known": "flag", "sender": "text", "reason": "text"},
)
"""Not forgeable: the address is that of a connection which was made (behind a proxy or NAT, that of the proxy), the uid is the
kernel's word, `reason` is one of our own, and `sender` is there only where agent.yaml has such a one. Nothing of what was sent is
kept. At most eight at once and six a minute for one peer, and ten a second in all; the rest is counted."""

LARGEST: Final = 1 << 20
"""Bytes of a body, where agent.yaml says nothing."""
LARGEST_EVER: Final = 8 << 20
GRAFANA_SIGNATURE: Final = "X-Grafana-Alerting-Signature"
GRAFANA_TIMESTAMP: Final = "X-Grafana-Alerting-Timestamp"
SIGNATURE: Final = "X-Containment-Signature"
PAGERDUTY_SIGNATURE: Final = "X-PagerDuty-Signature"

Style = Literal["containment", "grafana", "pagerduty"]
Way = Literal["users", "client_names", "bearer", "basic", "hmac", "path", "none"]
IN_THE_CLEAR: Final[frozenset[Way]] = frozenset({"bearer", "basic", "path"})
"""Ways that send the secret itself, which whoever reads along then has."""


@dataclass(frozen=True, slots=True)
class Auth:
    """How a sender shows who it is. `file` holds secrets, one a line; `names` are users, or names in client certificates."""

    way: Way
    file: Path | None = None
    names: tuple[str, ...] = ()
    style: Style = "containment"
    timestamp_header: str = GRAFANA_TIMESTAMP


@dataclass(frozen=True, slots=True)
class Inlet:
    """One configured sender: who it is, what it writes, and how much of that is taken."""

    name: str
    sender: Sender
    auth: Auth
    burst: int = 50
    per_second: float = 50.0
    largest: int = LARGEST
    expect: timedelta | None = None
    """Silent for longer than this, it is overdue."""

    @property
    def source(self) -> str:
        """What its events are filed under."""
        return f"in:{self.name}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate and key, and the issuers whose clients are believed."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP address."""

    address: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this host can come in there."""
        return ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `intake:`."""

    socket: Path
    inlets: tuple[Inlet, ...]
    listen: Listen | None = None
    tls: Tls | None = None

    @property
    def kinds(self) -> Iterator[Kind]:
        """Every kind of event that can come of it."""
        yield from (BAD_INPUT, REFUSED)
        for one in self.inlets:
            yield from one.sender.kinds

    def risks(self) -> Iterable[tuple[Inlet, str]]:
        """Senders whose way to show who they are does not go with where the intake listens, and why; '; ' before the mend."""
        for one in self.inlets:
            if why := self._risk(one.auth.way):
                yield one, why

    def _risk(self, way: Way) -> str:
        if way == "client_names" and (self.tls is None or self.tls.client_ca_file is None):
            return "client_names needs to know whose certificates to believe; write intake: {listen: …, tls: {client_ca_file: …}}"
        if self.listen is None or self.listen.loopback:
            return ""
        if way == "none":
            return f"anybody who reaches {self.listen} could send; listen on 127.0.0.1, or give it a way to show who it is"
        if way in IN_THE_CLEAR and self.tls is None:
            return (
                "its secret would cross the network in the clear; write intake: {tls: …}, listen on 127.0.0.1, or use hmac_file"
            )
        return ""
