"""`pages:` of agent.yaml: where the web pages listen, and by which names browsers come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator

from agent.grammar.config_listening import Https, Listening, listening, misplaced, somewhere, tls_needs_an_address
from agent.pages.settings import Settings
from agent.schema import About

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::(\d{{1,5}}))?")


def _host(text: str) -> str:
    found = _HOST.fullmatch(text.lower())
    if not found or len(text) > 253 or not 0 < int(found[1] or 1) < 1 << 16:
        raise ValueError(f"`{text}` is no name of a host; write it as it stands in a browser, as in shop1.example.com")
    return text.lower()


@dataclass(frozen=True)
class PagesKeys:
    """Web pages for people, who log in by `contain web`."""

    listen: Annotated[Listening | None, About('a TCP address, as in "127.0.0.1:9444"; others than loopback with tls only')] = None
    socket: Annotated[Path | None, About("a unix socket, for a proxy on this host that speaks TLS")] = None
    tls: Https = None
    hosts: Annotated[
        tuple[Annotated[str, AfterValidator(_host)], ...], About("names that browsers come by, as in [shop1.example.com]")
    ] = ()

    elsewhere: ClassVar[Mapping[str, str]] = {
        **misplaced(9444),
        **dict.fromkeys(("host", "server_name", "allowed_hosts", "name"), "write hosts: [shop1.example.com]"),
        **dict.fromkeys(("user", "users", "password", "auth"), "people log in by the link that `contain web` prints"),
        "link": "where notices lead to stands in notify: {link: https://shop1.example.com:9444}",
    }

    def __post_init__(self) -> None:
        """What belongs together."""
        somewhere(self.listen, self.socket, 9444)
        tls_needs_an_address(self.tls, self.listen, 9444)
        where = listening(self.listen) if self.listen else None
        if where and not where.loopback and not self.tls:
            raise ValueError(
                f"logins would cross the network in the clear; write tls: {{…}}, or listen on 127.0.0.1:{where.port}"
            )
        if not self.hosts and (where is None or ip_address(where.address).is_unspecified):
            raise ValueError("this does not say by which name browsers come; write hosts: [shop1.example.com]")


def pages(keys: PagesKeys | None) -> Settings | None:
    """What `pages:` says; None where there is none."""
    if keys is None:
        return None
    tls = keys.tls.tls if keys.tls else None
    return Settings(listening(keys.listen) if keys.listen else None, keys.socket, keys.hosts, tls)
