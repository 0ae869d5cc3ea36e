"""Ends that come near, and ends that are moved: earlier because it is quiet, later because only a share may go at once. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

from agent.drift import for_the_rest
from agent.incident import QUIET, Mitigation
from agent.messages import Heal
from agent.policy import Policy
from agent.recovery import release
from agent.recovery.rungs import LEAD, Shares
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


# Quiet ------------------------------------------------------------------------------------------------------------------


def quiet(turn: Turn) -> None:
    """End what has been quiet for as long as its policy says: no finding, and where the kernel counts, no packet stopped."""
    agent = turn.agent
    waits = {name: one.recover.quiet for name, one in agent.policies.items() if one.recover.quiet and release.acting(agent, name)}
    for one in agent.state.in_force() if waits else ():
        span = waits.get(one.policy)
        if span is None or one.confirm is not None or release.held_open(agent, one.incident) or _whole(agent, one):
            continue
        end = turn.now + (LEAD if one.given and agent.policies[one.policy].recover.limit else 0.0)
        if turn.now - _last(agent, one) >= span.total_seconds() and (one.until is None or one.until > end + LEAD):
            _move(turn, [(one, end)], f"nothing came for {rough(span)}")


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
