"""Where something of the agent listens, as agent.yaml says it: a TCP address with or without TLS, a unix socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from agent.intake.settings import Listen, Tls
from agent.schema import About


def _listen(text: str) -> str:
    listening(text)
    return text


def listening(text: str) -> Listen:
    """A TCP address as it is written: an IP address and a port.

    Raises:
        ValueError: it is none.
    """
    host, colon, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        colon = ""
    if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f'`{text}` is no address with a port; write "127.0.0.1:9443", or "[::]:9443" for all addresses')
    return Listen(str(address), int(port))


Listening = Annotated[str, AfterValidator(_listen)]


@dataclass(frozen=True)
class TlsKeys:
    """How a listener shows who it is, and whom it believes."""

    cert_file: Annotated[Path, About("its certificate, with those between it and the issuer, in PEM; read again when renewed")]
    key_file: Annotated[Path, About("the key of that, which only the agent can read")]
    client_ca_file: Annotated[Path | None, About("the issuers of client certificates, for senders with client_names")] = None

    @property
    def tls(self) -> Tls:
        """The same for the listener."""
        return Tls(self.cert_file, self.key_file, self.client_ca_file)


HTTPS_EXAMPLE = "{cert_file: /etc/containment-agent/tls.pem, key_file: /etc/containment-agent/tls.key}"
Https = Annotated[
    TlsKeys | None,
    About("speak HTTPS: {cert_file: …, key_file: …}; with client_ca_file only to clients of those issuers", HTTPS_EXAMPLE),
]


def misplaced(port: int) -> Mapping[str, str]:
    """What people write beside `listen:` and `tls:`, and where it goes."""
    return {
        **dict.fromkeys(("cert_file", "key_file", "client_ca_file"), "it goes inside tls: {…}"),
        **dict.fromkeys(("port", "address"), f'write listen: "127.0.0.1:{port}"'),
    }


def tls_needs_an_address(tls: TlsKeys | None, listen: str | None, port: int) -> None:
    """Raise ValueError where TLS is to be spoken and no TCP address is named."""
    if tls and not listen:
        raise ValueError(f'tls is for a TCP address, and none is named; write listen: "192.0.2.10:{port}"')


def somewhere(listen: str | None, socket: Path | None, port: int) -> None:
    """Raise ValueError where neither a TCP address nor a unix socket is named."""
    if not listen and not socket:
        raise ValueError(f'this says nowhere to listen; write listen: "127.0.0.1:{port}"')
