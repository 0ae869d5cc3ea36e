"""Questions at the control socket: which there are, and what each is answered with. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from agent import view
from agent.messages import Asked

if TYPE_CHECKING:
    from agent.daemon import Daemon

FRESH: Final = frozenset({"status", "mitigations", "why"})
"""Questions that are answered by what the systems say now, never by what we remember."""
ALL: Final = FRESH | {"incidents", "events", "policies", "checks", "ping"}


def answer(daemon: Daemon, asked: Asked, now: float) -> Mapping[str, Any]:
    """The answer's body; empty for orders, which bring their own."""
    agent, body = daemon.agent, asked.body
    match asked.verb:
        case "status":
            return {
                **view.status(agent, now, daemon.upkeep.counters),
                "version": daemon.parts.version,
                "up": daemon.up,
                "lines": daemon.lines,
                "records": daemon.journal.size,
                "problems": daemon.problems,
                "checks": _checks(daemon),
                "sensors": sorted(daemon.parts.sensors),
            }
        case "mitigations":
            return view.mitigations(agent, now, daemon.upkeep.counters, ended=bool(body.get("ended")))
        case "incidents":
            return view.incidents(agent, ended=bool(body.get("ended")))
        case "why":
            return view.why(agent, str(body.get("target", "")), now, daemon.upkeep.counters)
        case "policies":
            return view.policies(agent)
        case "checks":
            return {"items": _checks(daemon)}
        case "events":
            return {"items": _events(daemon, body)}
        case _:
            return {}


def _checks(daemon: Daemon) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "check": one.question.name, "asked": one.asked, "answers": [asdict(answer) for answer in one.answers]}
        for one in daemon.parts.schedule.checks.values()
    ]


def _events(daemon: Daemon, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    limit = min(int(body.get("limit", 100)), view.MOST)
    found = daemon.journal.events(since=float(body.get("since", 0.0)), limit=limit, newest_first=True)
    return [one._asdict() for one in found]
