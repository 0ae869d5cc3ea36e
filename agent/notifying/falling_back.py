"""Where a P0 or P1 gets through to nobody: the channels of last choice are told, and then the terminals of this host. Pure."""

from __future__ import annotations

import math
from typing import Final

from agent.messages import Cry
from agent.notifying.notice import Notice
from agent.notifying.outbox import Alarm
from agent.turn import Agent, Turn

PATIENCE: Final = 30.0
"""Seconds that the channels of one stage have."""
AGAIN: Final = 1800.0
"""Seconds between two words to the terminals about one incident."""


def come_round(turn: Turn) -> None:
    """Go on to the next stage with whatever nobody got in time, or nobody would have."""
    for alarm in list(turn.agent.state.outbox.alarms.values()):
        if turn.now >= _due(turn.agent, alarm) or _refused(turn.agent, alarm):
            _fall(turn, alarm)


def next_due(agent: Agent) -> float:
    """When the next stage begins."""
    return min((_due(agent, one) for one in agent.state.outbox.alarms.values()), default=math.inf)


def _due(agent: Agent, alarm: Alarm) -> float:
    """Not before this agent had the time to try."""
    return max(alarm.since, agent.started) + PATIENCE


def _refused(agent: Agent, alarm: Alarm) -> bool:
    """Whether every channel of its stage has said that it will not have it, or is gone."""
    for name in alarm.to:
        line = agent.state.outbox.lines.get(name)
        row = line.find(alarm.notice.key) if line else None
        if row is not None and not row.refused:
            return False
    return True


def _fall(turn: Turn, alarm: Alarm) -> None:
    agent, key, because = turn.agent, alarm.notice.key, _why(turn.agent, alarm)
    fallback = [name for name in agent.settings.routes.fallback if name in agent.settings.notifiers and name not in alarm.to]
    if alarm.stage == "route" and fallback:
        turn.note("fell_back", {"notice": key, "to": fallback, "because": because}, incident=alarm.notice.incident)
        return
    last = agent.state.outbox.cried.get(alarm.notice.incident, -math.inf)
    loud = not 0 <= turn.now - last < AGAIN
    turn.note("cried", {"notice": key, "loud": loud, "because": because}, incident=alarm.notice.incident)
    if loud:
        turn.do(Cry(words(alarm.notice, because)))


def _why(agent: Agent, alarm: Alarm) -> str:
    said = []
    for name in alarm.to:
        line = agent.state.outbox.lines.get(name)
        said.append(f"{name}: {line.error if line and line.error else 'no answer yet'}")
    return "; ".join(said)[:1000]


def words(notice: Notice, because: str) -> str:
    """What the terminals say: the headline, what to do, and that nobody else knows of it."""
    need = f" {notice.need[-1]}" if notice.need else f" contain why {notice.incident}"
    return f"{notice.headline} Nobody else could be told ({because}). Next:{need}"
