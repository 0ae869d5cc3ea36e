"""Who may act while evidence cannot be written, and how the state is told to a journal that begins anew. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent.fold import fold
from agent.messages import Applied, Apply, Effect, Outcome
from agent.policy import Policy
from agent.record import Record
from agent.snapshot import snapshot
from agent.state import State
from agent.turn import Agent

ACTS: Final = ("P0", "P1")
"""Severities for which containment counts for more than its record, where nobody says otherwise."""


def refusal(agent: Agent, policy: Policy | None) -> str:
    """Why this may not be done while evidence cannot be written; empty where it may, and while it can.

    Records are kept in memory then, and copies sent off. A person's order (`policy` None) is always worth that. A policy says
    by `on_evidence_failure` whether it is; else agent.yaml does; else P0 and P1 act, and the others do not. Where not even a
    copy can be kept, nobody acts: nothing is done without a record.
    """
    if not agent.evidence:
        return ""
    why = f"evidence cannot be written: {agent.evidence}"
    if agent.no_copy:
        return f"{why}; {agent.no_copy}"
    if policy is None:
        return ""
    wish = policy.on_evidence_failure or agent.settings.on_evidence_failure
    if wish == "act" or (wish is None and policy.severity in ACTS):
        return ""
    return f"{why} (`on_evidence_failure: act` would have this policy act all the same)"


def withheld(agent: Agent, effects: Sequence[Effect]) -> tuple[list[Effect], list[Applied]]:
    """What may still be begun of a turn whose records could not be written, and the answers to what may not.

    Only what puts something new into force is held back: what ends or heals a mitigation has its record already.
    """
    if not agent.evidence:
        return list(effects), []
    going, answers = list[Effect](), list[Applied]()
    for one in effects:
        if isinstance(one, Apply) and (because := refusal(agent, one.run.policy)):
            answers.append(Applied(one.run, tuple(Outcome(name, "not_tried", because) for name, _ in one.jobs)))
        else:
            going.append(one)
    return going, answers


class Memory:
    """The state, as evidence is told of it."""

    def __init__(self, state: State) -> None:
        """`state` is the daemon's own."""
        self._state = state

    def learn(self, record: Record, ts: float) -> None:
        """Let a record be true that no turn has made."""
        fold(self._state, record, ts)

    def plain(self) -> Mapping[str, Any]:
        """The state for a snapshot."""
        return snapshot(self._state)
