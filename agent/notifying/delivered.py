"""How the channels do, for `contain status` and `contain notify`. Pure."""

from __future__ import annotations

from typing import Any, Final

from agent.notifying.outbox import Line
from agent.notifying.picking import GIVE_UP
from agent.policy import Severity
from agent.turn import Agent

MOST: Final = 100
_SEVERITIES: Final[tuple[Severity, ...]] = ("P0", "P1", "P2", "P3")


def shown(agent: Agent, now: float) -> dict[str, Any]:
    """The channels, the routes to them, and incidents of which nobody could be told."""
    routes, outbox = agent.settings.routes, agent.state.outbox
    names = [*routes.channels, *(name for name in outbox.lines if name not in routes.channels and outbox.lines[name].rows)]
    return {
        "channels": [_channel(agent, name, now) for name in names[:MOST]],
        "routes": [{"severity": one, "channels": list(routes.by.get(one, ()))} for one in _SEVERITIES],
        "fallback": list(routes.fallback),
        "untold": [{"incident": name, "since": at} for name, at in list(outbox.untold.items())[-MOST:]],
    }


def _channel(agent: Agent, name: str, now: float) -> dict[str, Any]:
    """One of them: what waits for it since when, what went wrong last, when it was told of something last."""
    known, line = agent.settings.routes.channels.get(name), agent.state.outbox.lines.get(name, Line())
    notifier = agent.settings.notifiers.get(name)
    rows = list(line.all())
    return {
        "name": name,
        "type": known.type if known else "",
        "whom": notifier.whom() if notifier else (known.whom if known else ""),
        "public": known.public if known else False,
        "unsent": len(rows),
        "urgent": sum(row.notice.urgent for row in rows),
        "doubtful": sum(row.doubtful for row in rows),
        "since": min((row.since for row in rows), default=None),
        "error": line.error,
        "last": line.told,
        "until": line.again if rows and line.again > now else None,
        "left_out": line.lost + sum(row.left_out for row in rows),
        "late": any(now - row.since > GIVE_UP for row in rows),
    }
