"""Questions at the control socket: which there are, and what each is answered with. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from agent import view
from agent.event import Event
from agent.feeds import followed
from agent.messages import Asked
from agent.notifying import delivered
from agent.people import lists_view, pausing, silencing
from agent.scans.sift import unkept
from agent.schedule import Schedule
from agent.turn import Agent

FRESH: Final = frozenset({"status", "mitigations", "why", "list_check"})
"""Questions that are answered by what the systems say now, never by what we remember."""
ALL: Final = FRESH | {
    "incidents", "events", "approvals", "alerts", "pauses", "silences", "lists", "list_entries", "policies", "checks", "ping",
    "notify",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What questions are answered from. `newest` gives stored events seen since a time, at most so many, the newest first."""

    agent: Agent
    schedule: Schedule
    counters: view.Counters
    newest: Callable[[float, int], Sequence[Event]]
    about: Mapping[str, Any]
    evictions: Callable[[], Mapping[str, int]] = dict


def answer(facts: Facts, asked: Asked, now: float) -> Mapping[str, Any]:  # noqa: C901, PLR0912 - a table, one line a question
    """The answer's body; empty for orders, which bring their own."""
    agent, body, counters = facts.agent, asked.body, facts.counters
    match asked.verb:
        case "status":
            shown = view.status(agent, now, counters)
            evictions = {**shown["evictions"], **facts.evictions()}
            return {**shown, **facts.about, "evictions": evictions, "checks": _checks(facts.schedule)}
        case "mitigations":
            return view.mitigations(agent, now, counters, ended=bool(body.get("ended")))
        case "incidents":
            return view.incidents(agent, now, ended=bool(body.get("ended")))
        case "why":
            return view.why(agent, body["target"], now, counters)
        case "policies":
            return view.policies(agent)
        case "pauses":
            return pausing.shown(agent, now, ended=bool(body.get("ended")))
        case "silences":
            return silencing.shown(agent, ended=bool(body.get("ended")))
        case "notify":
            return delivered.shown(agent, now)
        case "approvals":
            return view.approvals(agent)
        case "alerts":
            return view.alerts(agent)
        case "lists":
            return lists_view.show(agent)
        case "list_entries":
            return followed.entries(agent, body["list"], body.get("first", 0), body.get("limit", followed.MOST))
        case "list_check":
            return lists_view.check(agent, body["address"], now, counters)
        case "import":
            return unkept(facts.about["evidence"]["failing"])
        case "checks":
            return {"items": _checks(facts.schedule)}
        case "events":
            found = facts.newest(body.get("since", 0.0), body.get("limit", 100))
            return {"items": [{**one._asdict(), "skewed": one.skewed} for one in found]}
        case _:
            return {}


def _checks(schedule: Schedule) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "check": one.question.name, "asked": one.asked, "answers": [asdict(said) for said in one.answers]}
        for one in schedule.checks.values()
    ]
