"""What has been let go waits for the service to answer: the incident is resolved by its checks, and not by the clock. Pure."""

from __future__ import annotations

from typing import Final

from agent.incident import Incident
from agent.recovery import health
from agent.recovery.rungs import Proof
from agent.turn import Agent, Turn

WAIT: Final = 900.0
"""Seconds after the last mitigation was let go in which the checks must have said that all is well."""


def waits(agent: Agent, incident: str) -> bool:
    """Whether an incident waits for its checks."""
    return incident in agent.state.awaited.all


def begun(turn: Turn, incident: Incident) -> bool:
    """Have an incident whose last mitigation is gone wait for its checks; False where it is about none."""
    names = health.checked(turn.agent, incident)
    if not names or waits(turn.agent, incident.id):
        return bool(names)
    because = f"let go; it is resolved once {', '.join(names)} answered good {Proof().times} times in a row"
    body = {"checks": list(names), "until": turn.now + WAIT, "because": because}
    turn.note("awaited", body, incident=incident.id)
    if incident.phase != "recovering":
        turn.note("phase", {"phase": "recovering", "because": because}, incident=incident.id)
    return True


def tick(turn: Turn) -> None:
    """Resolve what answers again; what does not in time is open again."""
    state = turn.agent.state
    for name, one in list(state.awaited.all.items()):
        incident = state.incidents.get(name)
        if incident is None or incident.phase != "recovering":
            _over(turn, name, "somebody has decided otherwise")
            continue
        lacks = health.lacking(turn.agent, incident, Proof(), one.since)
        if not lacks:
            because = f"{_named(turn, incident)} good {Proof().times} times in a row after everything was let go"
            _over(turn, name, because)
            turn.note("phase", {"phase": "resolved", "because": because}, incident=name)
        elif turn.now >= one.until:
            again(turn, incident, f"everything was let go, and it is not well: {lacks}")


def again(turn: Turn, incident: Incident | None, because: str) -> None:
    """What waited is open again."""
    if incident is None or not waits(turn.agent, incident.id):
        return
    _over(turn, incident.id, because)
    if incident.phase == "recovering":
        turn.note("phase", {"phase": "open", "because": because}, incident=incident.id)


def _named(turn: Turn, incident: Incident) -> str:
    names = health.checked(turn.agent, incident)
    return f"{', '.join(names)} answered" if names else "nothing is left to ask that did not answer"


def _over(turn: Turn, incident: str, because: str) -> None:
    turn.note("awaited_over", {"because": because}, incident=incident)
