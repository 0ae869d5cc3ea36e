"""What a backtest cannot know, said in sentences: what was never stored, what is gone, what only a system knew. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from agent.event import Kind
from agent.policy import Policy
from agent.say import clock
from agent.schema import rough
from agent.turn import Settings

SLACK = 3600.0
"""Seconds after the beginning in which the first stored event is no sign of missing ones."""


@dataclass
class Stored:
    """What the journal had of the time: each kind's first and last event, how many there were, and what happened to it."""

    since: float
    until: float
    kinds: dict[str, tuple[float, float]] = field(default_factory=dict)
    events: int = 0
    clock_set: int = 0
    reloads: int = 0

    def saw(self, kind: str, at: float) -> None:
        """An event was read."""
        self.events += 1
        first, last = self.kinds.get(kind, (at, at))
        self.kinds[kind] = (min(first, at), max(last, at))


def notes(
    policies: Sequence[Policy], known: Mapping[str, Kind], stored: Stored, running: frozenset[str] | None, settings: Settings
) -> Iterator[str]:
    """Every sentence; `running` are the kinds that the running set names, None where that is not known."""
    yield from _time(stored)
    yield from _states(policies, known)
    yield from _kinds(policies, known, stored, running)
    yield from _history(stored)
    acting = [one for one in policies if one.then]
    if acting and (settings.limits.share is not None or any(one.guard.share is not None for one in acting)):
        yield "max_share: how many clients were connected, and which containers ran, is not known; it refused nothing here"
    if quiet := [one.name for one in acting if one.recover.quiet]:
        yield f"recover: quiet: what the kernel would have stopped is not known; by findings alone: {_named(quiet)}"
    if settings.feeds:
        yield f"lists that others keep are taken as empty: {_named(settings.feeds)}"
    yield "life-lines and lists are those of now; nobody says yes to what waits; no system is asked"
    yield "it begins with nothing in force and no repeats; what a block would have kept away was seen, and counts"


def _time(stored: Stored) -> Iterator[str]:
    firsts = [first for first, _ in stored.kinds.values()]
    if not firsts:
        yield f"no event is stored from {clock(stored.since)} to {clock(stored.until)}"
    elif (missing := min(firsts) - stored.since) > SLACK:
        span = rough(timedelta(seconds=missing))
        yield f"the oldest stored event is of {clock(min(firsts))}; of the {span} before it nothing is stored, or no longer"


def _states(policies: Sequence[Policy], known: Mapping[str, Kind]) -> Iterator[str]:
    """Policies on checks, rates and the like, of which no event is ever stored."""
    for whole in (True, False):
        found = dict[str, list[str]]()
        for policy in policies:
            parts = [[part.event for part in clause.parts] for clause in policy.when]
            deaf = [[kind for kind in one if kind in known and known[kind].state] for one in parts]
            if any(deaf) and all(deaf) == whole:
                found.setdefault(", ".join(sorted({kind for one in deaf for kind in one})), []).append(policy.name)
        for kinds, names in found.items():
            said = "what they would do is not known" if whole else "their other clauses alone were looked at"
            yield f"{kinds}: never stored, because it is told again and again; {said}: {_named(names)}"


def _kinds(
    policies: Sequence[Policy], known: Mapping[str, Kind], stored: Stored, running: frozenset[str] | None
) -> Iterator[str]:
    """Kinds that were not stored because nobody wanted them; an event is kept only where a live policy names its kind."""
    for kind in sorted({kind for one in policies for kind in one.kinds() if not (kind in known and known[kind].state)}):
        names = _named([one.name for one in policies if kind in one.kinds()])
        if running is not None and kind in running:
            continue
        if kind in stored.kinds:
            if running is not None:
                first, last = stored.kinds[kind]
                yield f"{kind}: no live policy names it now; it is stored from {clock(first)} to {clock(last)} only: {names}"
        elif running is None:
            yield f"{kind}: none is stored; none came, or no policy named it then: {names}"
        else:
            yield f"{kind}: not stored, because no live policy names it; what came of that kind is not known: {names}"


def _history(stored: Stored) -> Iterator[str]:
    if stored.reloads:
        times = "once" if stored.reloads == 1 else f"{stored.reloads} times"
        yield f"policies were read again {times} in that time: kinds that were named from then on are stored from then on"
    if stored.clock_set:
        times = "once" if stored.clock_set == 1 else f"{stored.clock_set} times"
        yield f"the host's clock was set {times} in that time: windows and ends across it are not exact"


def _named(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
