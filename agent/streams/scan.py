"""What scanners find, in one form for all of them: the report of one target, and its findings behind it. Pure.

A scan repeats all that it found before. So each finding has a fingerprint, the same from night to night, and the report says
that all of its target is here: what was there and is not here any more is gone (agent/scans/).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from agent.event import Event, Kind, Value
from agent.streams.document import Object, wrong
from agent.streams.fit import text
from agent.streams.parser import Said
from agent.streams.sender import MOST, BadDocumentError

SCAN: Final = Kind(
    "scan.report",
    "A scan of one target is complete: how many findings it has, how many of them are new, and how many of before are gone.",
    {
        "scanner": "text",
        "target": "text",
        "image": "text",
        "findings": "integer",
        "new": "integer",
        "known": "integer",
        "gone": "integer",
    },
)
FINDING: Final = Kind(
    "scan.finding",
    "A scanner found something that its last scan of the same target had not: a vulnerability, a secret, a misconfiguration.",
    {
        "scanner": "text",
        "kind": "text",
        "id": "text",
        "severity": "text",
        "package": "text",
        "version": "text",
        "fixed": "text",
        "target": "text",
        "image": "text",
        "path": "text",
        "title": "text",
        "known_exploited": "flag",
        "fingerprint": "text",
    },
)
"""`kind` is vulnerability, secret, misconfiguration or code; `severity` critical, high, medium, low, negligible or unknown.
`known_exploited` is absent where the scanner does not say. `path` is where in the target it is: a file, and its line."""

What = Literal["vulnerability", "secret", "misconfiguration", "code"]
SEVERITIES: Final = frozenset({"critical", "high", "medium", "low", "negligible"})
MARK: Final = 16
"""Characters of a fingerprint."""


class Found(NamedTuple):
    """One finding, as its scanner says it. `mark` is what the scanner itself tells it from others by, where it does."""

    kind: What
    id: str
    severity: str
    package: str = ""
    version: str = ""
    fixed: str = ""
    path: str = ""
    title: str = ""
    known_exploited: bool | None = None
    mark: str = ""


class Scanned(NamedTuple):
    """What was scanned by what; `image` is its name where it is a container image."""

    scanner: str
    target: str
    image: str = ""


def said(of: Scanned, found: Iterable[Found]) -> list[Said]:
    """The report, and each finding once.

    Raises:
        BadDocumentError: there are more than may come at once.
    """
    here: dict[str, Said] = {}
    for one in found:
        fields = _fields(of, one)
        here.setdefault(str(fields["fingerprint"]), Said(FINDING.name, fields))
        if len(here) > MOST:
            raise BadDocumentError(f"more than {MOST} findings of {of.target}; scan its parts, or less severe ones apart")
    report: dict[str, Value] = {"scanner": of.scanner, "target": of.target, "image": of.image or None, "findings": len(here)}
    return [Said(SCAN.name, {name: value for name, value in report.items() if value is not None}), *here.values()]


def _fields(of: Scanned, one: Found) -> Mapping[str, Value]:
    severity = one.severity.lower()
    fields: dict[str, Value] = {
        "scanner": of.scanner,
        "kind": one.kind,
        "id": one.id,
        "severity": severity if severity in SEVERITIES else "unknown",
        "package": one.package,
        "version": one.version,
        "fixed": one.fixed,
        "target": of.target,
        "image": of.image,
        "path": one.path,
        "title": one.title,
    }
    told = {name: value for name, value in fields.items() if value}
    told |= {} if one.known_exploited is None else {"known_exploited": one.known_exploited}
    tells = [one.mark] if one.mark else [one.package, one.version, one.path]
    return {**told, "fingerprint": _mark([of.scanner, of.target, one.kind, one.id, *tells])}


def _mark(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:MARK]


def is_scan(events: Iterable[Event]) -> bool:
    """Whether the report of a scan is among them."""
    return any(one.kind == SCAN.name for one in events)


# Reading ------------------------------------------------------------------------------------------------------------------


def objects(of: Object, name: str, place: str = "") -> list[tuple[str, Object]]:
    """The objects in the list under a name with their places; none where there is no such list."""
    where = f"{place}.{name}" if place else name
    value = of.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(where, "a list", value)
    if len(value) > 10 * MOST:
        raise BadDocumentError(f"{where}: {len(value)} at once, and at most {10 * MOST} are looked at")
    for number, one in enumerate(value):
        if not isinstance(one, dict):
            raise wrong(f"{where}[{number}]", "an object", one)
    return [(f"{where}[{number}]", one) for number, one in enumerate(value)]


def named(of: Object, name: str, place: str) -> str:
    """The text under a name, which must be there; one line of it."""
    if not (said := text(of.get(name))):
        raise wrong(f"{place}.{name}" if place else name, "text", of.get(name))
    return said


def word(of: Object, name: str) -> str:
    """The text under a name; empty where there is none."""
    return text(of.get(name))


def at(path: str, line: Any) -> str:
    """A file and a line in it."""
    return f"{path}:{line}" if isinstance(line, int) and not isinstance(line, bool) and 0 < line < 1 << 31 else path
