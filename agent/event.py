"""What was seen: typed, timed, with flat dotted fields, as one small tuple. And the kinds of events a policy can name.

A kind is declared by whatever makes its events (a parser, a sensor, the checks), in the file of its maker; `Catalogue`
gathers them. Fields are flat (`src.ip`), so that a match is one look-up and a typo can be pointed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

FieldType = Literal["address", "text", "integer", "number", "flag", "port", "unit"]
Value = str | int | float | bool | None

COMMON: Mapping[str, FieldType] = MappingProxyType({"source": "text", "host": "text"})
"""Fields that every kind has: the sensor the event came from, and this host's name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: its name in policies, one line for ops, its fields with their types.

    `state` kinds say how things are (checks, rates), again and again; `for: 3 of 5` is for them. `forgeable` kinds carry
    text that an unauthenticated stranger can write. `alert` kinds are what other tools tell of: they hold from `status:
    firing` to `status: resolved`, and a policy that does not name `status` means those that fire. `open` is a prefix, as in
    `labels.`, under which any name is a text field.
    """

    name: str
    about: str
    fields: Mapping[str, FieldType]
    state: bool = False
    forgeable: bool = False
    alert: bool = False
    open: str = ""

    def field(self, name: str) -> FieldType | None:
        """The type of a field, or None where the kind has no such field."""
        if self.open and name.startswith(self.open) and len(name) > len(self.open):
            return "text"
        return self.fields.get(name) or COMMON.get(name)


SKEW = 600.0
"""Seconds."""


class Event(NamedTuple):
    """Something seen. `ts` is the time the source gives, `seen` ours (both Unix seconds); windows run on `seen`.

    `fields` never changes after the event was made. `raw` is the line it came from, at most 4 KiB.
    """

    kind: str
    seen: float
    fields: Mapping[str, Value]
    source: str = ""
    ts: float = 0.0
    raw: str = ""
    forgeable: bool = False

    def get(self, name: str) -> Value:
        """A field's value, or None. `source` is on every event."""
        return self.source if name == "source" else self.fields.get(name)

    @property
    def skewed(self) -> bool:
        """Whether the source's time is known and more than 10 min from ours: read late, a wrong clock, or a lie."""
        return self.ts > 0 and abs(self.ts - self.seen) > SKEW


CHECK = Kind(
    "check",
    "One answer of a health check.",
    {
        "name": "text",
        "check": "text",
        "ok": "flag",
        "state": "text",
        "say": "text",
        "target": "text",
        "about": "text",
        "value": "number",
        "limit": "number",
    },
    state=True,
)
"""`name` is the check's name in agent.yaml, `check` its type. `ok` is absent while the answer is unknown, so that no
`ok: false` matches it: an unknown answer never triggers an action. `about` names what it depends on, with commas:
`unit nginx.service, container web`."""


# Another tool's alert holds from `firing` until it says `resolved`; it tells so again and again. One kind for all tools, so that
# one policy covers them; `fingerprint` is what tells a repeat from another alert.
ALERT = Kind(
    "alert",
    "Another tool says that something holds, or no longer does: Alertmanager, Grafana, CloudWatch, or anything that can POST.",
    {
        "sender": "text",
        "name": "text",
        "status": "text",
        "severity": "text",
        "fingerprint": "text",
        "summary": "text",
        "service": "text",
        "instance": "text",
        "user": "text",
        "container": "text",
        "unit": "unit",
        "src.ip": "address",
        "dst.ip": "address",
        "value": "number",
        "link": "text",
        "repeats": "number",
        "truncated": "integer",
    },
    alert=True,
    open="labels.",
)
"""`status` is firing or resolved, `severity` as the sender says it. `labels.` are the labels of the sender's own, as text.
`repeats` is how often, in seconds, the sender tells of what still fires; absent where it tells once. `truncated` is how many
further alerts the sender cut off from the same message; absent where it cut none."""

FIRING = "firing"
RESOLVED = "resolved"

REPORT = Kind(
    "report",
    "A person says that something is wrong: contain report, or a sender of the type report.",
    {"text": "text", "severity": "text", "service": "text", "src.ip": "address", "reporter": "text"},
)
"""`severity` is P0 to P3. `reporter` is who says so: by the control socket the kernel's word, else whom the sender names. Each
opens an incident. A policy may name it too; its steps then wait for a person's yes."""
REPORTED = "people.report"
"""What stands in the place of a policy in the incident of a report; no file can hold one of that name."""

ANSWERED = Kind(
    "agent.answered",
    "Somebody did something with one of the agent's incidents in another tool, as PagerDuty: acknowledged it, wrote a note.",
    {"incident": "text", "incident.host": "text", "tool": "text", "what": "text", "who": "text", "to": "text", "text": "text"},
)
"""`what` is acknowledged, unacknowledged, noted, assigned, escalated, resolved or reopened, as that tool means it; what comes
of it stands in people/answering.py. `who` is the name there, for which nothing vouches but that tool's signature."""


@dataclass(frozen=True)
class Catalogue:
    """Everything a policy may name on this host: kinds of events, actions, and lists of addresses."""

    kinds: Mapping[str, Kind]
    actions: Mapping[str, type[Any]]
    lists: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    feeds: frozenset[str] = frozenset()
    """Those of the lists that others keep; what stands on them here is for tests of policies."""
    channels: frozenset[str] | None = None
    """Ways to people; None where no agent.yaml says which there are: then any name may be one."""
    checks: frozenset[str] | None = None
    """The same of the checks."""


def gather(modules: Iterable[Any]) -> dict[str, Kind]:
    """Every kind that the modules declare, by name.

    Raises:
        TypeError: two different kinds share a name.
    """
    found = {CHECK.name: CHECK, ALERT.name: ALERT, REPORT.name: REPORT}
    for module in modules:
        for made in vars(module).values():
            if not isinstance(made, Kind):
                continue
            if found.setdefault(made.name, made) != made:
                raise TypeError(f"{module.__name__}: the kind {made.name} is declared twice with different fields")
    return found
