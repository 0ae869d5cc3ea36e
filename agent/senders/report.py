"""People's reports by way of another program: a web form, a help desk, a chat bot. Each opens an incident at once.

{"text": "customers see other people's orders", "severity": "P1", "service": "shop", "ip": "203.0.113.7", "reporter": "alice"}
"""

from __future__ import annotations

from typing import Any, Final

from agent.event import REPORT, Value
from agent.schema import canonical
from agent.streams.document import needed, whole, wrong
from agent.streams.parser import Said
from agent.streams.sender import BadDocumentError, sender
from agent.visible import visible

__all__ = ["REPORT", "Report"]

LONGEST: Final = 4096
_SHORT: Final = 255
_SEVERITIES: Final = ("P0", "P1", "P2", "P3")
_KNOWN: Final = ("text", "severity", "service", "ip", "reporter")


@sender(kinds=(REPORT,))
class Report:
    """A report of a person: `text`, and where it is known `severity` (P2), `service`, `ip` and the `reporter`'s name."""

    def read(self, document: Any) -> list[Said]:
        """The one report of a document; a word that is not known is refused, lest somebody relies on it."""
        plain = whole(document)
        if unknown := [one for one in plain if one not in _KNOWN]:
            raise BadDocumentError(f"{visible(unknown[0], 60)}: not known; there are {', '.join(_KNOWN)}")
        text = needed(plain, "text")
        if len(text) > LONGEST:
            raise BadDocumentError(f"text: {len(text)} characters, and at most {LONGEST} are taken")
        severity = plain.get("severity", "P2")
        if severity not in _SEVERITIES:
            raise wrong("severity", "P0, P1, P2 or P3", severity)
        fields: dict[str, Value] = {"text": visible(text, LONGEST), "severity": severity}
        for name in ("service", "reporter"):
            if plain.get(name) is not None:
                fields[name] = visible(needed(plain, name), _SHORT)
        if plain.get("ip") is not None:
            fields["src.ip"] = _address(plain["ip"])
        return [Said(REPORT.name, fields)]


def _address(given: Any) -> str:
    known = canonical(given) if isinstance(given, str) and len(given) <= _SHORT else None
    if known is None:
        raise wrong("ip", "one address", given)
    return known
