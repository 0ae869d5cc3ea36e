"""Whether a finding needs anything new just now, and who is left alone. Pure."""

from __future__ import annotations

from agent.incident import Incident
from agent.judge import left_alone
from agent.policy import Mode, Policy
from agent.state import State
from agent.turn import Turn

SPARED = 1_000
"""Targets that are named in half an hour as left alone: strangers choose how many of a listed network there are."""
REFUSED_AGAIN = 30.0
"""Seconds after which what was refused is looked at again, when it goes on: the reason may be gone by then."""
RECORDED_AGAIN = 300.0
"""Seconds between two records of a finding about which nothing is to be done."""


def _acted(state: State, incident: Incident) -> bool:
    """Whether the last finding made anything, or would have: what was refused or failed is no reason to look away for long."""
    made = (state.mitigations.get(name) or state.would.get(name) for name in incident.mitigations[-3:])
    return any(one and one.stage != "failed" and one.since >= incident.last for one in made)


def _only_would(state: State, incident: Incident) -> bool:
    """Whether the last finding was one of a dry run, so that nothing was done about it yet."""
    made = (state.would.get(name) for name in incident.mitigations[-3:])
    return any(one and one.since >= incident.last for one in made)


def spared(turn: Turn, key: tuple[str, str], because: str) -> None:
    """An `unless` line held: say so, but not for every line of a log."""
    if turn.now - turn.agent.spared.get(key, -RECORDED_AGAIN) >= RECORDED_AGAIN:
        if len(turn.agent.spared) >= SPARED and key not in turn.agent.spared:
            turn.agent.state.evict("spared")
            return
        turn.agent.spared[key] = turn.now
        turn.note("left_alone", {"policy": key[0], "target": key[1], "because": because})


def settled(turn: Turn, policy: Policy, target: str, mode: Mode) -> str:
    """Why this finding needs nothing new just now; empty when it does."""
    state = turn.agent.state
    incident = state.incident_for(policy.name, target)
    if incident is None:
        return ""
    if policy.then and (because := left_alone(turn, policy.name, target)):
        return because
    if waiting := state.approvals.for_incident(incident.id):
        return f"{waiting[0].id} waits for a person"
    seldom = False
    for name in incident.mitigations:
        if (held := state.mitigations.get(name)) and held.active:
            return f"{name} holds"
        would = state.would.get(name) if mode == "dry_run" else None
        if would and would.change.undo is not None and would.left(turn.now) != 0.0:
            return f"{name} would hold"
        seldom = seldom or would is not None  # what is done once would not stop the findings: in a dry run they go on
    cooldown = policy.guard.cooldown or turn.agent.settings.limits.cooldown
    quiet = max(cooldown.total_seconds() if cooldown else 0.0, 0.0 if policy.then else RECORDED_AGAIN)
    quiet = RECORDED_AGAIN if seldom and not cooldown else quiet
    if policy.then and not _acted(state, incident):
        quiet = min(quiet, REFUSED_AGAIN)
    if policy.then and mode == "enforce" and (_only_would(state, incident) or state.pauses.held(policy.name, incident.last)):
        return ""  # what was found in a dry run or a pause was not acted on
    return "it was found a moment ago" if not incident.over and turn.now - incident.last < quiet else ""
