"""`metrics:` of agent.yaml: where Prometheus asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from agent.grammar.config_intake import Listening, TlsKeys, listening
from agent.intake.settings import Tls
from agent.metrics.settings import Settings
from agent.schema import About


@dataclass(frozen=True)
class MetricsKeys:
    """/metrics for Prometheus, and /healthz."""

    listen: Annotated[Listening | None, About('a TCP address, as in "127.0.0.1:9445"')] = None
    socket: Annotated[Path | None, About("a unix socket, for a collector on this host")] = None
    tls: Annotated[
        TlsKeys | None,
        About(
            "speak HTTPS: {cert_file: …, key_file: …}; with client_ca_file only to clients of those issuers",
            "{cert_file: /etc/containment-agent/tls.pem, key_file: /etc/containment-agent/tls.key}",
        ),
    ] = None
    anybody: Annotated[bool, About("true: whoever reaches an address that is not loopback may read all of it")] = False

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("cert_file", "key_file", "client_ca_file"), "it goes inside tls: {…}"),
        **dict.fromkeys(("port", "address"), 'write listen: "127.0.0.1:9445"'),
        **dict.fromkeys(("user", "password", "auth"), "who may ask is said by tls: {client_ca_file: …}"),
        **dict.fromkeys(("path", "interval"), "it is always /metrics, whenever somebody asks"),
    }

    def __post_init__(self) -> None:
        """What belongs together."""
        if not self.listen and not self.socket:
            raise ValueError('this says nowhere to listen; write listen: "127.0.0.1:9445"')
        if self.tls and not self.listen:
            raise ValueError('tls is for a TCP address, and none is named; write listen: "192.0.2.10:9445"')
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
    tls = Tls(keys.tls.cert_file, keys.tls.key_file, keys.tls.client_ca_file) if keys.tls else None
    return Settings(listening(keys.listen) if keys.listen else None, keys.socket, tls, keys.anybody)
