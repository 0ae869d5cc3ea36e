"""The agent between two messages, and one turn of its loop: the time, and the effects so far. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import tzinfo
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from agent.action import Change, parameters
from agent.feeds.listing import Followed
from agent.fold import fold
from agent.guard import Lifelines
from agent.incident import Mitigation
from agent.messages import Asked, Effect, Note, Release, Run, Verify
from agent.notifying.notifier import Notifier
from agent.notifying.routes import Routes
from agent.notifying.tellings import Looks
from agent.people.maintenance import Window
from agent.policy import Limits, Mode, Policy
from agent.record import Record
from agent.recovery.rungs import nearing
from agent.schema import Means, Ttl, spoken
from agent.state import State
from agent.watching.watch import Watch

_ORDER = itertools.count()
"""Two runs due at the same moment keep the order they were put off in."""


@dataclass(frozen=True, slots=True)
class Approving:
    """Who says yes to what waits for a person: within `wait` seconds, so many `people`, and only those named (empty: all)."""

    wait: float = 1800.0
    people: int = 1
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What agent.yaml says about all policies. `forced` is a mode that no policy may go beyond (`contain run --dry-run`)."""

    host: str
    mode: Mode = "dry_run"
    forced: Mode | None = None
    limits: Limits = field(default_factory=Limits)
    lists: Mapping[str, Sequence[IPv4Network | IPv6Network]] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    on_evidence_failure: Literal["act", "refuse"] | None = None
    approving: Approving = field(default_factory=Approving)
    windows: tuple[Window, ...] = ()
    zone: tzinfo | None = None
    """The time zone of maintenance windows; None is the host's own."""
    feeds: tuple[str, ...] = ()
    """The lists that others keep."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """The checks of agent.yaml by name, with their types."""
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The hooks of agent.yaml by name, with the checks that must be good after each."""
    routes: Routes = field(default_factory=Routes)
    """Who is told of what."""
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    """The channels of agent.yaml, ready to be called."""


@dataclass(frozen=True)
class Reread:
    """Policies and settings that were read without a problem; `restart` are keys of agent.yaml that need one to count."""

    policies: tuple[Policy, ...]
    settings: Settings
    restart: tuple[str, ...] = ()


@dataclass
class Gathering:
    """A person's question or order that went to several systems: how many answers are out, and what has come back."""

    out: int
    releases: list[Release] = field(default_factory=list)


@dataclass
class Agent:
    """All that flow.py reads: the durable `state`, the policies with their windows, and what is only true right now.

    `busy` are the mitigations that a lane is changing; `doubtful` those that nobody is changing and whose outcome is open;
    `under_way` is what the systems say of those they are still working on, `late` since when an apply has been given up on,
    `alone` why nothing but the living agent ends them;
    `nearing` are mitigations by when their end is to be prepared, `descended` those for which that was done, `moving` those
    whose systems are being told of another end; `stopped` are packets stopped for each, and when that was last more;
    `owed` are those to be lifted for a life-line's sake once nobody is at them, with the reason. `lifelines` are those that
    this host `learnt` and those that people `added`.
    """

    settings: Settings
    state: State
    watch: Watch
    policies: dict[str, Policy] = field(default_factory=dict)
    lifelines: Lifelines = field(default_factory=Lifelines)
    learnt: Lifelines = field(default_factory=Lifelines)
    added: tuple[IPv4Network | IPv6Network, ...] = ()
    owed: dict[str, str] = field(default_factory=dict)
    feeds: dict[str, Followed] = field(default_factory=dict)
    """The lists that others keep, by name, as they are now."""
    running: set[tuple[str, str]] = field(default_factory=set)
    still: dict[tuple[str, str], float] = field(default_factory=dict)
    due: list[tuple[float, str]] = field(default_factory=list)
    nearing: list[tuple[float, str]] = field(default_factory=list)
    descended: dict[str, float] = field(default_factory=dict)
    moving: set[str] = field(default_factory=set)
    stopped: dict[str, tuple[int, float]] = field(default_factory=dict)
    later: list[tuple[float, int, Run]] = field(default_factory=list)
    spared: dict[tuple[str, str], float] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    disturbed: set[str] = field(default_factory=set)
    verified: dict[str, float] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    tried: dict[str, float] = field(default_factory=dict)
    healed: list[float] = field(default_factory=list)
    gathering: dict[int, Gathering] = field(default_factory=dict)
    under_way: dict[str, str] = field(default_factory=dict)
    evidence: str = ""
    """Why evidence cannot be written; empty while it can."""
    no_copy: str = ""
    """Why not even a copy of a record can be kept."""
    late: dict[str, float] = field(default_factory=dict)
    alone: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    """What each check has said of each target since the start (recovery/health.py)."""
    reading: int = 0
    crowds: dict[str, Any] = field(default_factory=dict)
    clients: dict[Any, float] = field(default_factory=dict)
    cut: dict[Any, float] = field(default_factory=dict)
    muted: dict[tuple[str, str], float] = field(default_factory=dict)
    told_of: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often a firing alert was told of since the start, and when last."""
    disturber: str = ""
    looks: Looks = field(default_factory=Looks)
    """When to look again at which incident, whether there is something to tell."""
    sending: set[str] = field(default_factory=set)
    """Channels to which a call is out."""
    trials: dict[str, Any] = field(default_factory=dict)
    """Tests of channels whose outcome a person waits for, by their notice."""
    stopping: bool = False
    """Whether the agent is about to end: then nobody is called any more."""
    started: float = 0.0
    ticked: float = 0.0
    next_look: float = 0.0
    next_sweep: float = 0.0
    next_tidy: float = 0.0
    next_pause: float = 0.0
    next_hearing: float = 0.0

    def mode(self, policy: Policy) -> Mode:
        """The mode that counts now: set at run time, else by the policy, else by agent.yaml; never beyond what is forced."""
        mode = self.state.modes.get(policy.name) or policy.mode or self.settings.mode
        return "dry_run" if mode == "enforce" and self.settings.forced == "dry_run" else mode


def watching(agent: Agent) -> Watch:
    """A watch for the policies that are not off now; it keeps what the one before it has seen."""
    live = [replace(one, mode=agent.mode(one)) for one in agent.policies.values() if agent.mode(one) != "off"]
    fed = {name: agent.feeds.setdefault(name, Followed()) for name in agent.settings.feeds}
    fresh = Watch(live, {**agent.state.lists.beside(agent.settings.lists), **fed})
    fresh.adopt(agent.watch)
    return fresh


class Turn:
    """One message being worked on: effects gather here, records change the state at once."""

    def __init__(self, agent: Agent, now: float) -> None:
        """Start with no effects."""
        self.agent, self.now, self.effects = agent, now, list[Effect]()

    def note(self, kind: str, body: Mapping[str, Any], *, incident: str = "", mitigation: str = "") -> None:
        """Write down, and let it be true from here on."""
        record = Record(kind, body, incident, mitigation)
        self.effects.append(Note(record))
        fold(self.agent.state, record, self.now)
        self.agent.looks.heard(record)

    def do(self, effect: Effect) -> None:
        """Have it done after the notes of this turn are safe."""
        self.effects.append(effect)

    def later(self, due: float, run: Run) -> None:
        """Take the run up again at its time."""
        heapq.heappush(self.agent.later, (due, next(_ORDER), run))

    def ends(self, mitigation: Mitigation) -> None:
        """Remember when to take the mitigation down."""
        if mitigation.until is not None:
            heapq.heappush(self.agent.due, (mitigation.until, mitigation.id))
            policy = self.agent.policies.get(mitigation.policy)
            if policy and (near := nearing(policy.recover, mitigation.since, mitigation.until)) is not None:
                heapq.heappush(self.agent.nearing, (near, mitigation.id))


def aim(action: Any) -> str:
    """What an action is about, in people's words: its class's `target`, or the value of its first telling parameter."""
    kind: Any = type(action)
    if isinstance(named := getattr(kind, "target", None), str):
        return named
    for name in _parameters(kind):
        value = getattr(action, name)
        if isinstance(value, IPv4Network | IPv6Network):
            return spoken(value)
        if isinstance(value, tuple) and value:
            return ",".join(map(str, value))
        if (isinstance(value, str) and value) or (isinstance(value, int) and name in _meaningful(kind)):
            return str(value)
    return str(action.name)


@cache
def _parameters(kind: type[Any]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


@cache
def _meaningful(kind: type[Any]) -> frozenset[str]:
    """Parameters that stand for something (a port), and are more than an amount."""
    meant = {name: getattr(hint, "__metadata__", ()) for name, (hint, _) in parameters(kind).items()}
    return frozenset(name for name, marks in meant.items() if any(isinstance(mark, Means) for mark in marks))


def lasting(action: Any, state: State, now: float) -> Any:
    """The action with its ttl settled for this offence, so that its plan sees one length and not a rule."""
    ttl = getattr(action, "ttl", None)
    if not isinstance(ttl, Ttl) or not ttl.limit:
        return action
    return replace(action, ttl=Ttl(ttl.after(state.repeated(f"{action.name} {aim(action)}", now))))


def looks(agent: Agent, mitigations: Iterable[Mitigation], asked: Asked | None = None) -> list[Verify]:
    """Questions whether these hold, one for each system: a system that hangs holds up nobody else's answer."""
    parts = [Verify(jobs(group), asked) for group in by_system(mitigations)]
    if asked:
        agent.gathering[asked.ticket] = Gathering(len(parts))
    return parts


def by_system(mitigations: Iterable[Mitigation]) -> list[list[Mitigation]]:
    """Mitigations in groups that one lane can take."""
    groups: dict[str, list[Mitigation]] = {}
    for one in mitigations:
        groups.setdefault(one.change.verify.system, []).append(one)
    return list(groups.values())


def jobs(mitigations: Sequence[Mitigation]) -> tuple[tuple[str, Change], ...]:
    """Mitigations as the lanes take them."""
    return tuple((one.id, one.change) for one in mitigations)


def comes_round(at: float, every: float, now: float) -> bool:
    """Whether its time has come; also when the host's clock was set back, so that it would stay away for as long."""
    return now >= at or at - now > every
