"""Incidents and mitigations: what is wrong, what was done about it, and how far each has come. Pure.

Both are tuples: ten thousand offenders at once change them forty thousand times, and a frozen dataclass costs four times as much.

An incident is one policy's findings about one target. Its phases are `open` → `contained` → `recovering` (what contained it is
let go step by step) → `resolved`, and back to `open` when the finding comes again; `closed` when a person is done with it, or, at
P2 and P3, by itself. Who is on it is another matter: acknowledged, assigned. People see those that belong together as one: the
first is the `lead` of the others (gathering.py).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from agent.action import Change
from agent.policy import Class, Severity

Phase = Literal["open", "contained", "recovering", "resolved", "closed"]
Stage = Literal["applying", "in_force", "would", "lifting", "lifted", "failed", "done"]

TOLD = 8
"""Sentences that an incident keeps."""
QUIET = 1800.0
"""Seconds without a finding after which an incident that holds no mitigation counts as resolved."""


class Incident(NamedTuple):
    """One policy's findings about one target, with a life. Times are Unix seconds."""

    id: str
    policy: str
    target: str
    severity: Severity
    title: str
    opened: float
    last: float
    because: str
    phase: Phase = "open"
    findings: int = 1
    contained: float | None = None
    resolved: float | None = None
    mitigations: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    """What came of steps that made nothing, the latest last: refused, cannot be planned, failed."""
    about: Class = "other"
    began: float | None = None
    """When the first event that led to it happened, as its source says."""
    group: str = ""
    """What others must have in common with it to be told with it; empty for one that stays alone."""
    lead: str = ""
    """The incident that it is told with; empty for one that is told itself."""
    joined: int = 0
    """How many others were ever told with it."""
    joined_at: float | None = None
    acked: float | None = None
    acked_by: str = ""
    assigned: str = ""
    closed: float | None = None
    false: bool = False
    """Whether a person has said that it was none."""
    before: str = ""
    """The incident about the same that was over when this one began."""
    anew: float | None = None
    """Since when it goes on again, after it was over; None for one that never was."""
    graded: str = ""
    """How bad it was before a person said how bad it is; empty where nobody has."""

    @property
    def since(self) -> float:
        """Since when it goes on: what was contained in how long is counted from here."""
        return self.opened if self.anew is None else self.anew

    @property
    def over(self) -> bool:
        """Whether nothing of it goes on."""
        return self.phase in ("resolved", "closed")

    def found_again(self, now: float, because: str) -> Incident:
        """The finding came true once more; a resolved incident is open again."""
        again = self._replace(last=now, because=because, findings=self.findings + 1)
        return again.reopened(now) if self.over else again

    def reopened(self, now: float) -> Incident:
        """It goes on; whoever had acknowledged it may be asleep by now."""
        fresh = self._replace(phase="open", resolved=None, contained=None, closed=None, false=False)
        return fresh._replace(acked=None, acked_by="", anew=now)

    def hears(self, sentence: str) -> Incident:
        """The incident with one more sentence about its steps; the same one again is not repeated."""
        return self._replace(told=(*(one for one in self.told if one != sentence), sentence)[-TOLD:])

    def moved(self, phase: Phase, now: float) -> Incident:
        """The incident in another phase."""
        match phase:
            case "contained":
                return self._replace(phase=phase, contained=now)
            case "resolved":
                return self._replace(phase=phase, resolved=now)
            case "closed":
                return self._replace(phase=phase, closed=now, resolved=now if self.resolved is None else self.resolved)
            case _:
                return self._replace(phase=phase)


class Mitigation(NamedTuple):
    """A change, from its intent to its end.

    `until` is None where only a person ends it. `key` names what it is about: two mitigations with the same undo are the same
    thing in the world. Stage `would` is a dry run's: it holds nothing. Stage `done` is the end of what cannot be taken back.

    `short` says what a mitigation in force still lacks; empty for a whole one. Until `confirm` (Unix seconds) a person must
    have said yes, or it takes itself back; `ttl` are the seconds it stays from then on, None for ever. `part` is its place
    in its plan: limits count plans, and so the first parts alone. `pauses` are those that kept it from being done. `given` are
    the action's parameters as pairs of JSON values, where a ladder may have it planned again; `moved`: its end was moved.
    """

    id: str
    incident: str
    policy: str
    action: str
    target: str
    change: Change
    key: str
    since: float
    until: float | None
    stage: Stage = "applying"
    actor: str = ""
    because: str = ""
    short: str = ""
    confirm: float | None = None
    ttl: float | None = None
    part: int = 0
    mutes: tuple[str, ...] = ()
    order: str = ""
    pauses: tuple[str, ...] = ()
    given: tuple[tuple[str, Any], ...] = ()
    moved: bool = False

    @property
    def number(self) -> int:
        """Its place among all that were ever made."""
        return int(self.id.rpartition("-")[2])

    @property
    def aim(self) -> str:
        """The action and its target: what repeat offences are counted by."""
        return f"{self.action} {self.target}"

    @property
    def active(self) -> bool:
        """Whether it holds, or may hold, something in the world."""
        return self.stage in ("applying", "in_force", "lifting")

    def left(self, now: float) -> float | None:
        """Seconds until its end; None where it has none."""
        return None if self.until is None else max(0.0, self.until - now)
