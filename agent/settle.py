"""What came of a change: in force, in part, done, under way, failed; and whether that contains the incident. Pure.

Every question is settled by what the system answers to `verify`. An answer that could not be had (None) settles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from agent import crowd
from agent.incident import Incident, Mitigation
from agent.messages import Held, Outcome
from agent.turn import Turn


def outcome(turn: Turn, one: Outcome, incident: str, *, contains: bool = False) -> None:
    """Close an intent by what came of it; `contains` where that makes the incident contained."""
    state = turn.agent.state
    mitigation = state.mitigations.get(one.mitigation)
    if mitigation is None:
        return
    if one.found:
        turn.note("captured", {"files": list(one.found)}, incident=incident, mitigation=one.mitigation)
    if one.result in ("late", "under_way"):
        turn.agent.doubtful.add(one.mitigation)
        turn.agent.under_way[one.mitigation] = one.error
        if one.result == "late":
            turn.agent.late[one.mitigation] = turn.now
        turn.note(one.result, {"error": one.error}, incident=incident, mitigation=one.mitigation)
        turn.ends(mitigation)
        return
    if one.result == "partly":
        holds(turn, mitigation, "partly", {"until": mitigation.until, "error": one.error})
        return
    if one.result == "in_force":
        kind = "in_force" if mitigation.change.undo else "done"
        said = {"say": one.error} if kind == "done" and one.error else {}
        holds(turn, mitigation, kind, {"until": mitigation.until, "contains": contains, **said})
        return
    crowd.let_in(turn.agent, mitigation.change)
    kind = "not_verified" if one.result == "not_verified" else "failed"
    turn.note(kind, {"error": one.error, "result": one.result}, incident=incident, mitigation=one.mitigation)


def holds(turn: Turn, mitigation: Mitigation, kind: str, body: dict[str, Any]) -> None:
    """Write down that it holds; of two that are the same in the world, the one that lasts longer goes on."""
    older = turn.agent.state.holding(mitigation.key)
    if older and older.id != mitigation.id:
        if older.stage == "in_force" and _ends(older) > _ends(mitigation):
            _taken_over(turn, mitigation, by=older)
            return
        _taken_over(turn, older, by=mitigation)
    turn.note(kind, body, incident=mitigation.incident, mitigation=mitigation.id)
    turn.agent.under_way.pop(mitigation.id, None)
    turn.agent.late.pop(mitigation.id, None)
    if mitigation.change.undo is not None:
        turn.agent.verified[mitigation.id] = turn.now
        turn.ends(mitigation)


def _taken_over(turn: Turn, one: Mitigation, *, by: Mitigation) -> None:
    """Close one of two that are the same in the world; there the longer time has won."""
    body = {"because": f"{by.id} holds the same for longer"}
    turn.note("lifted", body, incident=one.incident, mitigation=one.id)
    forget(turn, one.id)


def _ends(one: Mitigation) -> float:
    return math.inf if one.until is None else one.until


def in_part(turn: Turn, mitigation: Mitigation, one: Held) -> None:
    """Write down what it lacks."""
    body = {"until": mitigation.until, "error": one.say}
    turn.note("partly", body, incident=mitigation.incident, mitigation=mitigation.id)


def contained(turn: Turn, mitigation: Mitigation) -> None:
    """An open incident is contained once all that its last plans made holds whole, and no step is to come."""
    incident = turn.agent.state.incidents.get(mitigation.incident)
    if incident is None or incident.phase != "open" or (incident.policy, incident.target) in turn.agent.running:
        return
    waits = turn.agent.state.approvals.for_incident(incident.id)
    if not waits and not any(lacks(one) or one.stage == "failed" for one in _counting(turn, incident)):
        turn.note("phase", {"phase": "contained"}, incident=incident.id)


def lacks(one: Mitigation) -> bool:
    """Whether something of it is not there, or not there yet."""
    return one.stage in ("applying", "lifting") or bool(one.short)


def _counting(turn: Turn, incident: Incident) -> list[Mitigation]:
    """What stands, and of each action on each target what its last plan for the incident made."""
    held = turn.agent.state.mitigations
    made = [one for name in incident.mitigations if (one := held.get(name))]
    last = {one.aim: one.since for one in made}
    return [one for one in made if one.active or one.since == last[one.aim]]


def active(turn: Turn, incident: Incident) -> Iterator[Mitigation]:
    """What was made for an incident and holds, or may hold, something in the world."""
    held = turn.agent.state.mitigations
    return (one for name in incident.mitigations if (one := held.get(name)) and one.active)


def forget(turn: Turn, name: str) -> None:
    """Drop what is only remembered about one that has ended."""
    agent = turn.agent
    for memory in (agent.verified, agent.tries, agent.tried, agent.under_way, agent.late, agent.descended, agent.stopped):
        memory.pop(name, None)
