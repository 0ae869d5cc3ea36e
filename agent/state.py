"""Everything the agent knows between two events. Only fold.py changes it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent.action import System
from agent.alerts.standing import Alerts
from agent.book import Book
from agent.incident import Incident, Mitigation
from agent.loss.mishaps import Mishaps
from agent.notifying.clocks import Clocks
from agent.notifying.outbox import Outbox
from agent.notifying.tellings import Tellings
from agent.people.approvals import Approvals
from agent.people.listed import Lists
from agent.people.pauses import Pauses
from agent.people.silences import Silences
from agent.policy import Mode
from agent.recovery.awaited import Awaited
from agent.recovery.releases import Releases
from agent.report.books import Texts, WriteUps
from agent.scans.known import Scans
from agent.shadow import Shadows

KEPT: Final = 500
"""Ended incidents and mitigations kept at hand for listings; older ones stand in the journal alone."""
REMEMBERED: Final = 100_000
"""Targets whose repeats and last findings are remembered."""
REPEAT_WITHIN: Final = 30 * 86400.0


@dataclass
class State:
    """Mutable, owned by the daemon's owner thread, changed only by `fold`. `systems` types the calls of the journal."""

    systems: Mapping[str, type[System]]
    incidents: dict[str, Incident] = field(default_factory=dict)
    mitigations: dict[str, Mitigation] = field(default_factory=dict)
    would: dict[str, Mitigation] = field(default_factory=dict)
    incident_of: dict[tuple[str, str], str] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)
    """The latest lead of each group of incidents."""
    gathered: dict[str, list[str]] = field(default_factory=dict)
    """Those that are told with a lead and still at hand, the oldest first."""
    holder: dict[str, str] = field(default_factory=dict)
    aimed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ended: deque[str] = field(default_factory=deque)
    unanswered: dict[str, dict[str, Any]] = field(default_factory=dict)
    put_off: dict[str, dict[str, Any]] = field(default_factory=dict)
    modes: dict[str, Mode] = field(default_factory=dict)
    done: dict[str, list[float]] = field(default_factory=dict)
    repeats: dict[str, tuple[int, float]] = field(default_factory=dict)
    undone: dict[str, float] = field(default_factory=dict)
    opened: dict[str, list[float]] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)
    shadows: Shadows = field(default_factory=Shadows)
    approvals: Approvals = field(default_factory=Approvals)
    mishaps: Mishaps = field(default_factory=Mishaps)
    lists: Lists = field(default_factory=Lists)
    pauses: Pauses = field(default_factory=Pauses)
    silences: Silences = field(default_factory=Silences)
    releases: Releases = field(default_factory=Releases)
    awaited: Awaited = field(default_factory=Awaited)
    alerts: Alerts = field(default_factory=Alerts)
    scans: Scans = field(default_factory=Scans)
    texts: Texts = field(default_factory=Texts)
    writeups: WriteUps = field(default_factory=WriteUps)
    tellings: Tellings = field(default_factory=Tellings)
    clocks: Clocks = field(default_factory=Clocks)
    outbox: Outbox = field(default_factory=Outbox)
    last_incident: int = 0
    last_mitigation: int = 0
    evictions: dict[str, int] = field(default_factory=dict)
    """What each table had no room for, since the start."""

    @property
    def books(self) -> Mapping[str, Book]:
        """What has records of its own, by name."""
        return {name: getattr(self, name) for name in BOOKS}

    def evict(self, table: str, count: int = 1) -> None:
        """Count what a table had no room for."""
        self.evictions[table] = self.evictions.get(table, 0) + count

    def holding(self, key: str) -> Mitigation | None:
        """The mitigation that holds this now, or None."""
        found = self.holder.get(key)
        return self.mitigations.get(found) if found else None

    def in_force(self) -> list[Mitigation]:
        """Every mitigation that the system should be holding now."""
        return [one for one in self.mitigations.values() if one.stage == "in_force"]

    def in_force_at(self, aim: str) -> list[Mitigation]:
        """Those of one action and target that the system should be holding now; found without a look at all others."""
        held = (self.mitigations[name] for name in self.aimed.get(aim, ()))
        return [one for one in held if one.stage == "in_force"]

    def incident_for(self, policy: str, target: str) -> Incident | None:
        """The latest incident of a policy and target, resolved ones included while they are at hand."""
        found = self.incident_of.get((policy, target))
        return self.incidents.get(found) if found else None

    def repeated(self, key: str, now: float) -> int:
        """How often this was in force before, within 30 days."""
        count, last = self.repeats.get(key, (0, 0.0))
        return count if now - last < REPEAT_WITHIN else 0


BOOKS: Final[Mapping[str, type[Book]]] = {
    "approvals": Approvals,
    "mishaps": Mishaps,
    "pauses": Pauses,
    "silences": Silences,
    "releases": Releases,
    "awaited": Awaited,
    "lists": Lists,
    "alerts": Alerts,
    "scans": Scans,
    "outbox": Outbox,
    "tellings": Tellings,
    "clocks": Clocks,
    "texts": Texts,
    "writeups": WriteUps,
}
"""The state's books: its fields of these names."""
_KINDS: Final = frozenset(kind for book in BOOKS.values() for kind in book.kinds)
BOOKS_OF: Final = {kind: tuple(name for name, book in BOOKS.items() if kind in book.kinds) for kind in _KINDS}
"""The books that change with a kind of record."""


def finding_of(policy: str, target: str) -> str:
    """The name under which it is known that a person wants nothing done about a policy's target: of many it is the host."""
    return f"{policy} about {target}"


def would_be(whose: str) -> str:
    """The name under which a dry run counts what it would have done: it takes no room from what is done."""
    return f"{whose} (dry run)"
