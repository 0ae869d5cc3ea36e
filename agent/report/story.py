"""An incident told: who, what, when, how long, what was done, with the evidence of each. Pure values, for any kind of page."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from agent.report.downtime import Down
from agent.report.notes import Item

Lane = Literal["signal", "detect", "action", "notify", "human", "recover"]
LANES: Final[tuple[Lane, ...]] = ("signal", "detect", "action", "notify", "human", "recover")


class Moment(NamedTuple):
    """Something that happened: when (Unix seconds), in which lane, in one sentence; the record that has it, -1 for none."""

    at: float
    lane: Lane
    kind: str
    say: str
    seq: int = -1


class Proof(NamedTuple):
    """A record: its number, what it tells, and its hash in the journal's tree."""

    seq: int
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Deed:
    """One change that was made, would have been or could not be, from its intent to its end. Times are Unix seconds."""

    id: str
    action: str
    target: str
    does: str
    actor: str
    because: str
    at: float
    state: str
    call: str = ""
    undo: str = ""
    began: float | None = None
    """Since when it held."""
    until: float | None = None
    ended: float | None = None
    how: str = ""
    by_hand: str = ""
    proofs: tuple[Proof, ...] = ()
    incident: str = ""


class Kept(NamedTuple):
    """A file of evidence: where it stands, its hash and bytes, the call that it is the answer to; or why it could not be had."""

    file: str
    sha256: str
    bytes: int
    call: str
    mitigation: str
    seq: int
    error: str = ""


class Text(NamedTuple):
    """A policy as it was when it found this."""

    policy: str
    digest: str
    text: str
    seq: int


class Target(NamedTuple):
    """One of those that it was about."""

    incident: str
    target: str
    policy: str
    phase: str
    opened: float
    contained: float | None
    resolved: float | None
    findings: int


class Clock(NamedTuple):
    """A time by which somebody outside must be told."""

    law: str
    what: str
    due: float
    done: float | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """Seconds, None for what has not come; and counts."""

    detect: float | None = None
    acknowledge: float | None = None
    contain: float | None = None
    slowest: float | None = None
    """The longest that any one target stood open."""
    resolve: float | None = None
    downtime: float | None = None
    """None where no check counts as its impact."""
    unsure: float = 0.0
    targets: int = 1
    findings: int = 0
    applied: int = 0
    failed: int = 0
    refused: int = 0
    undone: int = 0
    in_force: int = 0
    would: int = 0
    told: int = 0
    untold: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """All of it. `written` is when it was told (Unix seconds); `notes` are people's parts by name."""

    id: str
    title: str
    policy: str
    severity: str
    severities: tuple[str, ...]
    about: str
    phase: str
    host: str
    written: float
    began: float
    opened: float
    acked: float | None
    acked_by: str
    assigned: str
    contained: float | None
    resolved: float | None
    closed: float | None
    closed_by: str
    false: bool
    because: str
    before: str
    first: str
    """The sentence that stands alone."""
    numbers: Numbers
    targets: tuple[Target, ...] = ()
    moments: tuple[Moment, ...] = ()
    deeds: tuple[Deed, ...] = ()
    downs: tuple[Down, ...] = ()
    impact: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    texts: tuple[Text, ...] = ()
    untexted: tuple[str, ...] = ()
    """Policies whose text the journal does not have."""
    clocks: tuple[Clock, ...] = ()
    regimes: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    further: str = ""
    version: int = 0
    written_by: str = ""
    missing: tuple[str, ...] = ()
    records: int = 0
    covered: int = 0
    left: int = 0

    @property
    def end(self) -> float:
        """When its story ends, so far."""
        ends = [one for one in (self.resolved, self.closed) if one is not None]
        return max([self.opened, *ends, *(one.at for one in self.moments)]) if ends else self.written

    @property
    def writer(self) -> str:
        """Who is to write what is still missing."""
        return self.assigned or self.acked_by or "whoever takes the incident"


def long(seconds: float | None, none: str = "not yet") -> str:
    """A length of time in its two largest units: 0.4 s, 37 s, 2 min 30 s, 1 h 5 min, 3 d 2 h."""
    if seconds is None:
        return none
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.1 else "under 0.1 s"
    whole = round(seconds)
    for (unit, size), (less, part) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {less}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def spelled(call: Any) -> str:
    """A written-down call as text."""
    if not isinstance(call, dict):
        return ""
    args = ", ".join(f"{name}={value}" for name, value in (call.get("args") or {}).items())
    return f"{call.get('system')}.{call.get('verb')}({args})"
