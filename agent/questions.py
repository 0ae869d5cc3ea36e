"""Questions at the control socket: which there are, and what each is answered with. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from agent import view
from agent.event import Event
from agent.messages import Asked
from agent.schedule import Schedule
from agent.turn import Agent

FRESH: Final = frozenset({"status", "mitigations", "why"})
"""Questions that are answered by what the systems say now, never by what we remember."""
ALL: Final = FRESH | {"incidents", "events", "approvals", "policies", "checks", "ping"}


@dataclass(frozen=True)
class Facts:
    """What questions are answered from. `newest` gives stored events seen since a time, at most so many, the newest first."""

    agent: Agent
    schedule: Schedule
    counters: view.Counters
    newest: Callable[[float, int], Sequence[Event]]
    about: Mapping[str, Any]


def answer(facts: Facts, asked: Asked, now: float) -> Mapping[str, Any]:
    """The answer's body; empty for orders, which bring their own."""
    agent, body, counters = facts.agent, asked.body, facts.counters
    match asked.verb:
        case "status":
            return {**view.status(agent, now, counters), **facts.about, "checks": _checks(facts.schedule)}
        case "mitigations":
            return view.mitigations(agent, now, counters, ended=bool(body.get("ended")))
        case "incidents":
            return view.incidents(agent, ended=bool(body.get("ended")))
        case "why":
            return view.why(agent, body["target"], now, counters)
        case "policies":
            return view.policies(agent)
        case "approvals":
            return view.approvals(agent)
        case "checks":
            return {"items": _checks(facts.schedule)}
        case "events":
            return {"items": [one._asdict() for one in facts.newest(body.get("since", 0.0), body.get("limit", 100))]}
        case _:
            return {}


def _checks(schedule: Schedule) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "check": one.question.name, "asked": one.asked, "answers": [asdict(said) for said in one.answers]}
        for one in schedule.checks.values()
    ]
