"""More targets than a policy may act on: one incident for all of them, one rung up, and what the policy does then. Pure.

A stranger chooses how many targets there are. So a policy opens at most as many incidents as it may act on, and what comes
beyond that is told in one incident, never one by one, and never not at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from typing import Any, Final

from agent import gathering
from agent.action import Change
from agent.event import Event
from agent.guard import ALLOWED, Network, Tally, Verdict, addresses, within
from agent.messages import Run
from agent.policy import ROUND, Limits, Policy, Severity
from agent.runs import begun, finding, forged, sources
from agent.state import would_be
from agent.turn import Agent, Turn
from agent.watching.watch import Hit

MANY: Final = "many targets"
"""The target of the one incident."""
TELL_EVERY: Final = 60.0
"""Seconds between two records about it."""
NAMED: Final = 10
"""Targets that it names, the latest."""
DONE_AGAIN: Final = 600.0
"""Seconds for which an overflow step that is done once is not done again: a restart, say."""
SEEN: Final = 600.0
"""Seconds for which somebody who was connected counts as a client."""
MOST_CLIENTS: Final = 100_000
FLOOR: Final[Mapping[str, int]] = {"client": 20, "container": 1}
"""A share of them counts only beyond so many: the half of three is no measure."""
URGENT: Final = ("P0", "P1")
SHARED: Final = 0.8
"""The part of agent.yaml's limits that policies of a lower severity may use up."""
WHOSE: Final = {
    **dict.fromkeys(URGENT, "agent.yaml"),
    **dict.fromkeys(("P2", "P3"), "agent.yaml, which keeps a fifth for P0 and P1,"),
}
_NOBODY: Final = Event("", 0.0, {})
"""What a run is about that is about all of them: no single event."""
_UP: Final[Mapping[Severity, Severity]] = {"P3": "P2", "P2": "P1", "P1": "P0", "P0": "P0"}


@dataclass
class Crowd:
    """What came beyond the limit of one policy since the last record about it."""

    more: int = 0
    latest: deque[str] = field(default_factory=lambda: deque(maxlen=NAMED))
    told: float = float("-inf")


# One incident for all ---------------------------------------------------------------------------------------------------


def crowded(turn: Turn, policy: Policy, *, dry: bool) -> str:
    """Why another target of this policy opens no incident of its own; empty while it may. Those of a dry run count apart."""
    if policy.then and policy.name != ROUND and not (verdict := _everybody(turn, policy, dry=dry)).allowed:
        return verdict.because
    limit, whose = policy.guard.max, "this policy"
    if limit is None:
        limit, whose = turn.agent.settings.limits.max, "agent.yaml"
    opened = turn.agent.state.opened.get(would_be(policy.name) if dry else policy.name)
    if limit is None or not opened or len(opened) < limit.most:
        return ""
    recent = len(opened) - bisect_right(opened, turn.now - limit.span.total_seconds())
    return f"{recent} targets were found, and {whose} allows {limit}" if recent >= limit.most else ""


def _everybody(turn: Turn, policy: Policy, *, dry: bool, over: bool = False) -> Verdict:
    """Whether agent.yaml lets this policy do anything new just now; a fifth is kept for what is most severe."""
    limits = turn.agent.settings.limits
    limits = limits if policy.severity in URGENT else _four_fifths(limits)
    return _within(turn, replace(limits, max=None) if over else limits, "", WHOSE[policy.severity], dry=dry)


@cache
def _four_fifths(limits: Limits) -> Limits:
    rate = limits.max and replace(limits.max, most=ceil(limits.max.most * SHARED))
    return replace(limits, max=rate, max_active=limits.max_active and ceil(limits.max_active * SHARED))


def _within(turn: Turn, limits: Limits, whose: str, named: str, *, dry: bool) -> Verdict:
    state = turn.agent.state
    tally = Tally(state.active.get(whose, 0), state.done.get(would_be(whose) if dry else whose, ()))
    return within(limits, tally, turn.now, named)


def gather(turn: Turn, hit: Hit, target: str, because: str) -> Run | None:
    """Count a target that is too many; about once a minute it is told, with the run of the policy's overflow steps."""
    policy, agent = hit.policy, turn.agent
    crowd = agent.crowds.setdefault(policy.name, Crowd())
    crowd.more += 1
    if target not in crowd.latest:
        crowd.latest.append(target)
    agent.still[policy.name, MANY] = turn.now
    if turn.now - crowd.told < TELL_EVERY:
        return None
    incident, opening = gathering.named(turn, hit, MANY)
    said = f"{because}; {crowd.more} more findings, the latest about {', '.join(crowd.latest)}"
    turn.note("finding", _many(hit, said, agent) | opening, incident=incident)
    agent.crowds[policy.name] = Crowd(latest=crowd.latest, told=turn.now)
    heard = hit.evidence, hit.event
    return _overflow(turn, policy, incident, said, sources(*heard), forged=forged(*heard))


def refused(turn: Turn, run: Run, because: str) -> Run | None:
    """The same for a target that has an incident of its own and for which a limit left no room, where there is an overflow."""
    policy = run.policy
    if policy is None or not policy.guard.overflow or run.event is None:
        return None
    made = gather(turn, Hit(policy, 0, (), because, run.event), run.target, because)
    return made._replace(sources=run.sources, forged=run.forged) if made else None


def _many(hit: Hit, because: str, agent: Agent) -> dict[str, Any]:
    """The finding about all of them: one rung up, about no single event, and with no steps but those for too many."""
    policy = hit.policy
    told = {"title": f"{policy.title or policy.name}: more than it may act on", "severity": _UP[policy.severity]}
    return finding(hit, MANY, agent.mode(policy)) | told | {"because": because, "event": {}, "steps": 0, "later": 0}


def _overflow(turn: Turn, policy: Policy, incident: str, because: str, sources: tuple[str, ...], *, forged: bool) -> Run | None:
    """The run of what the policy does when it has too many targets: a limit for a whole service, say. None while that stands."""
    state = turn.agent.state
    if not policy.guard.overflow or (policy.name, MANY) in turn.agent.running:
        return None
    known = state.incidents.get(incident)
    made = [one for name in known.mitigations if (one := state.mitigations.get(name))] if known else []
    if any(one.active or (one.stage == "done" and turn.now - one.since < DONE_AGAIN) for one in made):
        return None
    run = begun(turn, policy, incident, MANY, because)
    return run._replace(steps=policy.guard.overflow, over=True, event=_NOBODY, sources=sources, forged=forged)


# A share of what there is -----------------------------------------------------------------------------------------------


def learn(agent: Agent, population: Mapping[str, Sequence[Any]], now: float) -> None:
    """Remember who was connected a moment ago: whoever is cut off then is no longer there to be counted."""
    if "client" not in population:
        return
    clients = agent.clients
    for one in population["client"]:
        clients.pop(one, None)
        clients[one] = now
    while clients and (len(clients) > MOST_CLIENTS or now - next(iter(clients.values())) > SEEN):
        oldest = next(iter(clients))
        del clients[oldest]
        agent.cut.pop(oldest, None)


def share(turn: Turn, limits: Limits, changes: Sequence[Change], population: Mapping[str, Sequence[Any]], whose: str) -> Verdict:
    """Whether so much of what there is may be touched: of the clients that are connected, of the containers that run."""
    if limits.share is None:
        return ALLOWED
    if containers := population.get("container"):
        verdict = _containers(turn, limits.share, changes, len(containers), whose)
        if not verdict.allowed:
            return verdict
    return _clients(turn, limits.share, changes, whose) if turn.agent.clients else ALLOWED


def _containers(turn: Turn, most: float, changes: Sequence[Change], running: int, whose: str) -> Verdict:
    held = turn.agent.state.mitigations.values()
    touched = {name for one in held if one.active for name in one.change.touches if name.startswith("container ")}
    touched |= {name for change in changes for name in change.touches if name.startswith("container ")}
    return _verdict(len(touched), running, most, "container", f"containers, and {whose} allows")


def _clients(turn: Turn, most: float, changes: Sequence[Change], whose: str) -> Verdict:
    clients, cut = turn.agent.clients, turn.agent.cut
    hit = {one for change in changes for network in addresses(change.apply) for one in _of(network, clients)}
    if not hit:
        return ALLOWED
    while cut and next(iter(cut.values())) <= turn.now:
        del cut[next(iter(cut))]
    touched = len(cut) + sum(one not in cut for one in hit)
    return _verdict(touched, len(clients), most, "client", f"clients, and {whose} allows")


def cut_off(turn: Turn, changes: Sequence[Change]) -> None:
    """Remember which clients these changes cut off, and that they were there: nobody sees them any more. Both oldest first."""
    agent = turn.agent
    for network in (one for change in changes for one in addresses(change.apply)) if agent.clients else ():
        for one in _of(network, agent.clients):
            agent.clients.pop(one)
            agent.cut.pop(one, None)
            agent.clients[one], agent.cut[one] = turn.now, turn.now + SEEN


def let_in(agent: Agent, change: Change) -> None:
    """Forget that of those a change had cut off: it has ended, or came to nothing."""
    for network in addresses(change.apply) if agent.cut else ():
        for one in _of(network, agent.cut):
            del agent.cut[one]


def _of(network: Network, clients: Mapping[Any, float]) -> list[Any]:
    if network.num_addresses == 1:
        alone = network.network_address
        return [alone] if alone in clients else []
    return [one for one in clients if one.version == network.version and one in network]


def _verdict(touched: int, all_there: int, most: float, kind: str, words: str) -> Verdict:
    if touched <= max(FLOOR[kind], most * all_there):
        return ALLOWED
    return Verdict(False, f"that would make {touched} of {all_there} {words} {most:.0%}", over=True, reason="share")


# Rates --------------------------------------------------------------------------------------------------------------------


def allowed(turn: Turn, run: Run) -> Verdict:
    """Whether one more plan stays inside the limits of its policy and of agent.yaml, and needs nobody's yes for their number.

    What a person orders counts for all of them, and is never held back by it: an attacker must not use up people's hands.
    """
    policy = run.policy
    if policy is None:
        return ALLOWED
    ours = ALLOWED if run.over else _within(turn, policy.guard, policy.name, "this policy", dry=run.dry)
    for verdict in (ours, _everybody(turn, policy, dry=run.dry, over=run.over)):
        if not verdict.allowed:
            return replace(verdict, over=True)
    return _above(turn, run)


def _above(turn: Turn, run: Run) -> Verdict:
    """`approve: above 50 per 10m`: one yes is for all that comes within that time, up to the policy's `max`."""
    above = run.policy.guard.above if run.policy else None
    if run.policy is None or above is None or run.approval or run.over:
        return ALLOWED
    book, name, span = turn.agent.state.approvals, run.policy.name, above.span.total_seconds()
    if turn.now - book.raised.get(name, float("-inf")) < span:
        return ALLOWED
    declined = turn.now - book.declined.get(name, float("-inf")) < span
    verdict = _within(turn, Limits(max=above), name, "this policy without a person's yes", dry=run.dry)
    if verdict.allowed:
        return ALLOWED
    if declined:
        return replace(verdict, because=f"{verdict.because}; a person said no to more")
    if one := next((one for one in book.waiting if one.raises and one.policy == name), None):
        return replace(verdict, because=f"{verdict.because}; {one.id} asks a person, and its yes is for all that follow")
    return replace(verdict, ask=True, over=True)
