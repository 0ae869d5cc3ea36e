"""What goes wrong with the agent itself, as incidents like any other: a bug, evidence not written or lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.incident import Incident
from agent.loss.mishaps import KINDS
from agent.policy import Class, Severity
from agent.turn import Turn

BUG: Final = "agent.bug"
EVIDENCE: Final = "agent.evidence"
MISHAP: Final = "agent.journal"
"""What stands in the place of a policy; no file can hold one of these names, for the dot."""
STAYS: Final = frozenset({EVIDENCE, MISHAP})
"""Those that do not end by being quiet, but when what they are about has ended."""
AGAIN: Final = 300.0
"""Seconds between two findings of bugs: one that comes with each line of a log is one incident."""
_TITLES: Final[Mapping[str, str]] = {
    BUG: "The agent has a bug",
    EVIDENCE: "Evidence cannot be written",
    MISHAP: "Something happened to the evidence",
}


def come_round(turn: Turn) -> None:
    """Open what has begun, and end what is over."""
    agent, state = turn.agent, turn.agent.state
    at, error = state.tellings.bug
    if at and _fresh(turn, BUG, agent.settings.host, at):
        _find(turn, BUG, agent.settings.host, f"{error}; see its log: journalctl -u containment-agent")
    if agent.evidence and ((one := state.incident_for(EVIDENCE, agent.settings.host)) is None or one.over):
        _find(turn, EVIDENCE, agent.settings.host, f"{agent.evidence}; records wait in memory, copies go to syslog")
    for mishap in state.mishaps.all:
        if _fresh(turn, MISHAP, mishap.kind, mishap.at):
            mend = f"; {mishap.mend}" if mishap.mend else ""
            end = "" if "evidence accept" in mend else "; when it is seen to: contain evidence accept --why …"
            _find(turn, MISHAP, mishap.kind, f"{mishap.say}{mend}{end}")
    _end(turn)


def _end(turn: Turn) -> None:
    state = turn.agent.state
    one = state.incident_for(EVIDENCE, turn.agent.settings.host)
    if one and not one.over and not turn.agent.evidence:
        turn.note("phase", {"phase": "resolved", "because": "evidence is written again"}, incident=one.id)
    for kind in KINDS if not state.mishaps.all else ():
        if (one := state.incident_for(MISHAP, kind)) and not one.over:
            turn.note("phase", {"phase": "resolved", "because": "somebody has seen to it"}, incident=one.id)


def _fresh(turn: Turn, policy: str, target: str, at: float) -> bool:
    """Whether something that happened then is not part of its incident yet."""
    one = turn.agent.state.incident_for(policy, target)
    return one is None or (one.last < at and (one.over or turn.now - one.last >= AGAIN))


def _find(turn: Turn, policy: str, target: str, because: str) -> Incident:
    state = turn.agent.state
    known = state.incident_for(policy, target)
    name = known.id if known and known.phase != "closed" else f"INC-{state.last_incident + 1}"
    about: Class = "security" if policy == MISHAP else "other"
    severity: Severity = "P1"
    body = {
        "policy": policy,
        "digest": "built in",
        "title": _TITLES[policy],
        "severity": severity,
        "target": target,
        "because": because,
        "mode": "enforce",
        "source": "agent",
        "event": {},
        "at": turn.now,
        "steps": 0,
        "later": 0,
        "evidence": [],
        "sources": ["agent"],
        "forgeable": False,
        "about": about,
    }
    turn.note("finding", body, incident=name)
    return state.incidents[name]
