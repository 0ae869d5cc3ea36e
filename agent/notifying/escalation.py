"""What happens when nobody answers: steps at fixed times after an incident was opened, and the time in which we promise to. Pure.

A step is due at an absolute time, so a restart forgets none; what came due while nobody ran is done once, in order, and says
that it is late. A higher severity is only ever proposed: people say how bad something is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from agent import gathering
from agent.gathering import Picture
from agent.notifying.compose import took
from agent.notifying.recipients import URGENT, private, way
from agent.notifying.tellings import Told
from agent.people.approvals import Approval
from agent.policy import Severity
from agent.turn import Agent, Turn

PROMISED: Final[Mapping[Severity, float]] = {"P0": 300.0, "P1": 3600.0, "P2": 4 * 3600.0, "P3": 24 * 3600.0}
"""Seconds within which somebody is on it. P0 is at once; that nobody is, is said after five minutes."""
PROPOSED: Final[Mapping[Severity, Severity]] = {"P1": "P0", "P2": "P1"}
"""What is proposed where nobody was."""
LATE: Final = 90.0
"""Seconds after its time from which a step says that it is late."""
PROMISE: Final = "promise"
_OVER: Final = ("resolved", "closed")


class Step(NamedTuple):
    """One step: its name, when it is due, while what, who is told, and the sentence."""

    name: str
    at: float
    while_: Literal["unacknowledged", "open"]
    to: tuple[str, ...]
    say: str
    propose: Severity | None = None


def steps(agent: Agent, seen: Picture, told: Told) -> list[Step]:
    """All steps of an incident in order of their time, those that were taken among them."""
    made = [*_ordered(agent, seen, told), _promised(agent, seen, told), *_unanswered(agent, seen, told)]
    return sorted(made, key=lambda one: one.at)


def _ordered(agent: Agent, seen: Picture, told: Told) -> Iterator[Step]:
    routes, found = agent.settings.routes, dict[tuple[float, str], Step]()
    for name in dict.fromkeys(one.policy for one in seen.all):
        policy = agent.policies.get(name)
        own = policy.escalate if policy else None
        for one in own if own is not None else routes.escalation.get(seen.severity, ()):
            after = one.after.total_seconds()
            words = "nobody has acknowledged it" if one.while_ == "unacknowledged" else "it still goes on"
            before = found.get((after, one.while_))  # of another policy that is told as one with it
            to = tuple(dict.fromkeys((*(before.to if before else ()), *(one.to or private(agent)))))
            step = Step(f"{after:g} {one.while_}", told.since + after, one.while_, to, f"{words} after {took(after)}")
            found[after, one.while_] = step
    yield from found.values()


def _promised(agent: Agent, seen: Picture, told: Told) -> Step:
    promised = PROMISED[seen.severity]
    higher = PROPOSED.get(seen.severity)
    say = f"nobody has acknowledged it within {took(promised)}, as is promised for {seen.severity}"
    if higher:
        say += f"; {higher} is proposed: contain incidents severity {seen.lead.id} {higher} --why …"
    to = private(agent) if seen.severity in URGENT else ()
    return Step(f"{PROMISE} {seen.severity}", told.since + promised, "unacknowledged", to, say, higher)


def _unanswered(agent: Agent, seen: Picture, told: Told) -> Iterator[Step]:
    """Questions to people, half of whose time is over."""
    for one in waiting(agent, seen):
        half = one.asked + (one.until - one.asked) / 2
        say = f"{one.id} still waits for a yes to {one.action} {one.target}: contain approve {one.id}"
        yield Step(one.id, half, "open", told.to, say)


def waiting(agent: Agent, seen: Picture) -> list[Approval]:
    """What waits for a person's yes about what people see as one."""
    book, state = agent.state.approvals, agent.state
    asked = [one for one in book.waiting if one.incident] if book.all else []
    return [one for one in asked if (lead := gathering.lead_of(state, one.incident)) and lead.id == seen.lead.id]


def fire(turn: Turn, seen: Picture, told: Told) -> float:
    """Take the steps whose time has come, each once, and say when the next one is due."""
    if not told.number or told.once or seen.phase in _OVER or not way(turn.agent, seen, told).any:
        return float("inf")
    if told.phase in _OVER or seen.severity < told.severity:  # it is told first, and its steps count from then
        return float("inf")
    soonest = float("inf")
    for one in steps(turn.agent, seen, told):
        if one.name in told.fired or (one.while_ == "unacknowledged" and seen.lead.acked is not None):
            continue
        if one.at > turn.now:
            soonest = min(soonest, one.at)
        else:
            _take(turn, seen, one)
    return soonest


def _take(turn: Turn, seen: Picture, one: Step) -> None:
    late = turn.now - one.at
    say = f"{one.say} (this comes {took(late)} late)" if late > LATE else one.say
    body = {"step": one.name, "to": list(one.to), "due": one.at, "late": late > LATE, "because": say}
    turn.note("escalated", body, incident=seen.lead.id)
    if one.propose:
        turn.note("proposed", {"severity": one.propose, "was": seen.severity, "because": say}, incident=seen.lead.id)
