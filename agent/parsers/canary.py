"""The agent's own canary: lines that it writes itself every few minutes, to see that they still reach the kernel."""

from __future__ import annotations

import re
from typing import Final

from agent.event import Kind
from agent.streams.parser import Said, parser

CANARY: Final = Kind(
    "agent.canary",
    "The agent wrote this line itself, to prove that what it reads still reaches the kernel.",
    {"nonce": "text", "src.ip": "address"},
)
LOST: Final = Kind(
    "agent.canary.lost",
    "A canary did not come through: `say` names the station that it reached last.",
    {"say": "text"},
)

_HOST: Final = r"(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-4])"
_LINE: Final = re.compile(rf"\S+ containment-agent canary: nonce=([0-9a-f]{{16}}) ip=(198\.51\.100\.{_HOST})")


@parser(kinds=(CANARY,), hint=rb"containment-agent canary: nonce=", longest=128)
class Canary:
    """Canaries of the agent. Whatever else stands in a line, the address is one of TEST-NET-2 (RFC 5737), which is nobody's."""

    def read(self, text: str) -> Said | None:
        """One whole line."""
        found = _LINE.fullmatch(text)
        return Said(CANARY.name, {"nonce": found[1], "src.ip": found[2]}) if found else None
