"""Questions at the control socket: which there are, and what each is answered with. Reads, and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from agent import view
from agent.event import Event
from agent.feeds import followed
from agent.messages import Asked
from agent.metrics.meters import Meters
from agent.metrics.standing import standing
from agent.notifying import delivered
from agent.people import lists_view, pausing, silencing
from agent.scans.sift import unkept
from agent.schedule import Schedule
from agent.turn import Agent

FRESH: Final = frozenset({"status", "mitigations", "why", "list_check", "metrics"})
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
    meters: Meters = field(default_factory=Meters)


def answer(facts: Facts, asked: Asked, now: float) -> Mapping[str, Any]:  # noqa: C901, PLR0912 - a table, one line a question
    """The answer's body; empty for orders, which bring their own."""
    agent, body, counters = facts.agent, asked.body, facts.counters
    match asked.verb:
        case "status":
            shown = view.status(agent, now, counters)
            evictions = {**shown["evictions"], **facts.evictions()}
            return {**shown, **facts.about, "evictions": evictions, "checks": _checks(facts.schedule)}
        case "metrics":
            return _metrics(facts, now)
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


def _metrics(facts: Facts, now: float) -> Mapping[str, Any]:
    agent, schedule = facts.agent, facts.schedule.checks.values()
    evictions = {"windows": agent.watch.evictions, **agent.state.evictions, **facts.evictions()}
    checks = Counter(said.state for one in schedule for said in one.answers)
    about = {**facts.about, "counters": facts.counters, "evictions": evictions, "checks": checks}
    return {"families": standing(agent, facts.meters, about, now), "pid": facts.about["pid"]}


def _checks(schedule: Schedule) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "check": one.question.name, "asked": one.asked, "answers": [asdict(said) for said in one.answers]}
        for one in schedule.checks.values()
    ]
