"""Where a channel's servers are: their names with their ports, as its options say. Pure."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Final
from urllib.parse import urlsplit

HTTPS: Final = 443
_PORT: Final = re.compile(r"\[?(?P<host>[^\s/@\[\]]+?)\]?:(?P<port>\d{1,5})", re.ASCII)


def servers(notifier: Any) -> list[tuple[str, int]]:
    """Each host that the channel talks to; at the port that an option names with it, else at that of HTTPS."""
    named: dict[str, int] = {}
    for one in fields(notifier):
        value = getattr(notifier, one.name)
        if isinstance(value, str) and (found := _server(value)):
            named.setdefault(*found)
    return [(host, named.get(host.lower(), HTTPS)) for host in notifier.hosts()]


def _server(text: str) -> tuple[str, int] | None:
    if "://" in text:
        try:
            parts = urlsplit(text)
            return (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else HTTPS))
        except ValueError:
            return None
    found = _PORT.fullmatch(text)
    return (found["host"].lower(), int(found["port"])) if found else None
