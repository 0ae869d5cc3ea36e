"""Ends that come near, and ends that are moved: earlier because it is over, later because only a share may go at once. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Final

from agent.alerts import hearing
from agent.drift import for_the_rest
from agent.event import ALERT, RESOLVED, Event
from agent.incident import QUIET, Mitigation
from agent.messages import Heal
from agent.policy import Policy
from agent.recovery import health, release
from agent.recovery.rungs import LEAD, Proof, Recover, Shares
from agent.schema import rough, spell
from agent.turn import Agent, Turn, by_system

LONGEST = 2.0
"""What waits for its share never holds longer than so many times its own ttl."""
PIECE = 1000
"""Mitigations in one record."""


def tick(turn: Turn) -> None:
    """Prepare what follows mitigations whose end is near."""
    agent = turn.agent
    while agent.nearing and agent.nearing[0][0] <= turn.now:
        _, name = heapq.heappop(agent.nearing)
        one = agent.state.mitigations.get(name)
        policy = agent.policies.get(one.policy) if one else None
        if one is None or policy is None or one.stage != "in_force" or one.until is None or one.until <= turn.now:
            continue
        if (shares := policy.recover.shares) and not one.moved:
            _spread(turn, policy, shares, one)
        elif one.given and one.until - turn.now <= LEAD:  # its end was not moved away meanwhile
            release.descend(turn, one)


def _spread(turn: Turn, policy: Policy, shares: Shares, first: Mitigation) -> None:
    """Of those that are due together with the first one, let a share end with it, and move the others' ends."""
    if first.until is None or release.acting(turn.agent, policy.name) is None:
        return
    every = shares.every.total_seconds()
    groups: dict[str, list[Mitigation]] = {}
    for one in turn.agent.state.in_force():
        due = one.until is not None and one.until < first.until + every
        if one.policy == policy.name and due and not one.moved and not one.confirm and one.change.undo is not None:
            groups.setdefault(one.incident, []).append(one)
    most = math.ceil(len(groups) * shares.percent / 100)
    oldest = sorted(groups.values(), key=lambda group: group[0].number)
    ends = [(one, _later(one, first.until + at // most * every)) for at, group in enumerate(oldest) for one in group]
    if len(groups) > most:
        _move(turn, ends, f"{len(groups)} are due together, and {shares.percent}% of them end every {spell(shares.every)}")


def _later(one: Mitigation, end: float) -> float:
    """The end of its share, never before its own, nor beyond LONGEST times its ttl."""
    own = one.until or end
    return max(own, min(end, one.since + LONGEST * (own - one.since)))


def _move(turn: Turn, ends: list[tuple[Mitigation, float]], because: str) -> None:
    """Write down other ends; where the system holds the time, it is told of a later one."""
    for at in range(0, len(ends), PIECE):
        piece = [(one.id, until) for one, until in ends[at : at + PIECE]]
        turn.note("end_moved", {"ends": piece, "because": because})
    for one, _ in ends:
        turn.ends(turn.agent.state.mitigations[one.id])
    hold_on(turn, [one for one, until in ends if one.until is not None and until > one.until])


def hold_on(turn: Turn, mitigations: list[Mitigation]) -> None:
    """Have the systems hold these until their ends as they are written down now."""
    fresh = [turn.agent.state.mitigations[one.id] for one in mitigations if one.id not in turn.agent.busy]
    for group in by_system([one for one in fresh if "ttl" in one.change.apply.args]):
        turn.agent.busy.update(one.id for one in group)
        turn.agent.moving.update(one.id for one in group)
        turn.do(Heal(tuple((one.id, for_the_rest(one, turn.now)) for one in group)))


def started(turn: Turn) -> None:
    """After a start: a crash may have kept the systems from hearing of later ends."""
    hold_on(turn, [one for one in turn.agent.state.in_force() if one.moved and one.until and one.until > turn.now])


# Before its time --------------------------------------------------------------------------------------------------------


def heard(turn: Turn, event: Event) -> None:
    """A sender says that an alert is over: end what waits for that now, while it is known which alert it was."""
    if event.kind == ALERT.name and event.fields.get("status") == RESOLVED:
        early(turn, ("resolved",))


def early(turn: Turn, which: Collection[str] = ("quiet", "ok", "resolved")) -> None:
    """End what its policy lets go before its time: it has been quiet, its checks are good again, or its alerts are resolved."""
    agent = turn.agent
    able = ((name, one.recover) for name, one in agent.policies.items() if one.recover.after in which)
    waits = {name: recover for name, recover in able if release.acting(agent, name)}
    for one in agent.state.in_force() if waits else ():
        recover = waits.get(one.policy)
        if recover is None or one.confirm is not None or release.held_open(agent, one.incident) or _whole(agent, one):
            continue
        end = turn.now + (LEAD if one.given and recover.limit else 0.0)
        if (one.until is None or one.until > end + LEAD) and (because := _EARLY[recover.after](turn, recover, one)):
            _move(turn, [(one, end)], because)


def _quiet(turn: Turn, recover: Recover, one: Mitigation) -> str:
    """No finding, and where the kernel counts, no packet stopped."""
    span = recover.quiet or timedelta.max
    return f"nothing came for {rough(span)}" if turn.now - _last(turn.agent, one) >= span.total_seconds() else ""


def _ok(turn: Turn, recover: Recover, one: Mitigation) -> str:
    """Its checks are good again: as often, or as long, as its policy says, since it is in force."""
    agent, incident = turn.agent, turn.agent.state.incidents.get(one.incident)
    names = health.checked(agent, incident) if incident else ()
    if incident is None or not names or health.lacking(agent, incident, recover.ok or Proof(), one.since):
        return ""
    return f"{', '.join(names)} good again"


def _resolved(turn: Turn, _: Recover, one: Mitigation) -> str:
    """Whoever sent the alerts that it is about says that they are over; what is only not heard of any more is not."""
    agent, incident = turn.agent, turn.agent.state.incidents.get(one.incident)
    policy = agent.policies.get(one.policy)
    if incident is None or policy is None:
        return ""
    standing, over = agent.state.alerts.all.values(), agent.state.alerts.over
    if any(hearing.tells_of(agent, policy, incident.target, each) for each in standing):
        return ""
    ended = [each for each in over if each.because == hearing.SENDER and (each.ended or 0.0) >= one.since]
    told = next((each for each in ended if hearing.tells_of(agent, policy, incident.target, each)), None)
    return f"{told.source} says that it is over" if told else ""


_EARLY: Final[Mapping[str, Callable[[Turn, Recover, Mitigation], str]]] = {"quiet": _quiet, "ok": _ok, "resolved": _resolved}


def _whole(agent: Agent, one: Mitigation) -> bool:
    incident = agent.state.incidents.get(one.incident)
    return incident is not None and agent.state.releases.held_whole((incident.policy, incident.target), one.since)


def _last(agent: Agent, one: Mitigation) -> float:
    """When something last came of what a mitigation is about (Unix seconds); nothing is known of the time before the start."""
    incident = agent.state.incidents.get(one.incident)
    found = max(incident.last, agent.still.get((incident.policy, incident.target), 0.0)) if incident else 0.0
    _, stopped = agent.stopped.get(one.id, (0, 0.0))
    return max(found, stopped, one.since, agent.started)


def counted(turn: Turn, counters: Mapping[str, tuple[int, int]]) -> None:
    """The kernel said how many packets it has stopped, by what they are about: those that grew are not quiet."""
    agent = turn.agent
    for one in agent.state.in_force():
        if (counter := counters.get(one.key)) is not None:
            packets, stopped = agent.stopped.get(one.id, (0, one.since))
            agent.stopped[one.id] = (counter[0], turn.now if counter[0] != packets else stopped)


def patience(agent: Agent) -> float:
    """Seconds for which it must be remembered when a finding last came."""
    return max([QUIET, *(one.recover.quiet.total_seconds() for one in agent.policies.values() if one.recover.quiet)])
