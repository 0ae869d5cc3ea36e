"""`metrics:` of agent.yaml: where Prometheus asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from agent.grammar.config_listening import Https, Listening, listening, misplaced, somewhere, tls_needs_an_address
from agent.metrics.settings import Settings
from agent.schema import About


@dataclass(frozen=True)
class MetricsKeys:
    """/metrics for Prometheus, and /healthz."""

    listen: Annotated[Listening | None, About('a TCP address, as in "127.0.0.1:9445"')] = None
    socket: Annotated[Path | None, About("a unix socket, for a collector on this host")] = None
    tls: Https = None
    anybody: Annotated[bool, About("true: whoever reaches an address that is not loopback may read all of it")] = False

    elsewhere: ClassVar[Mapping[str, str]] = {
        **misplaced(9445),
        **dict.fromkeys(("user", "password", "auth"), "who may ask is said by tls: {client_ca_file: …}"),
        **dict.fromkeys(("path", "interval"), "it is always /metrics, whenever somebody asks"),
    }

    def __post_init__(self) -> None:
        """What belongs together."""
        somewhere(self.listen, self.socket, 9445)
        tls_needs_an_address(self.tls, self.listen, 9445)
        where = listening(self.listen) if self.listen else None
        if where is None or where.loopback or self.anybody or (self.tls and self.tls.client_ca_file):
            return
        raise ValueError(
            f"whoever reaches {where} could read what this host does about attacks; listen on 127.0.0.1:{where.port}, "
            "write tls: {…, client_ca_file: …}, or say that you mean it: anybody: true"
        )


def metrics(keys: MetricsKeys | None) -> Settings | None:
    """What `metrics:` says; None where there is none."""
    if keys is None:
        return None
    tls = keys.tls.tls if keys.tls else None
    return Settings(listening(keys.listen) if keys.listen else None, keys.socket, tls, keys.anybody)
