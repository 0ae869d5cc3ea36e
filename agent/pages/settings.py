"""What agent.yaml says about the pages: where they listen, and by which names browsers may come. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.intake.settings import Listen, Tls

LARGEST: Final = 64 << 10
"""Bytes of a form."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `pages:`. `hosts` are names that browsers know this host by, each with or without a port."""

    listen: Listen | None = None
    socket: Path | None = None
    hosts: tuple[str, ...] = ()
    tls: Tls | None = None

    @property
    def names(self) -> frozenset[str]:
        """Every name that a browser may ask by: one more would let any web page make its own name lead here (DNS rebinding)."""
        return frozenset(self._names())

    def _names(self) -> Iterator[str]:
        yield from (without_port(one) for one in self.hosts)
        if self.listen:
            yield without_port(str(self.listen))
            if self.listen.loopback:
                yield from ("localhost", "127.0.0.1", "[::1]")

    @property
    def address(self) -> str:
        """Where people find them, as in https://shop1.example.com:9444. Without TLS of its own, a name is that of a proxy's."""
        if not self.hosts:
            return f"{'https' if self.tls else 'http'}://{self.listen}"
        first = self.hosts[0]
        bare = without_port(first) == first
        return f"https://{first}:{self.listen.port}" if bare and self.tls and self.listen else f"https://{first}"


def without_port(host: str) -> str:
    """The name or address alone; an IPv6 address keeps its brackets."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() and (name.endswith("]") or ":" not in name) else host.lower()
