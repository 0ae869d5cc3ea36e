"""People try a channel, or throw away what waits for one. A test goes the same way as everything else. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from agent.messages import Asked, Reply
from agent.notifying.notice import Notice
from agent.policy import Severity
from agent.turn import Agent, Turn
from agent.visible import visible

PATIENCE: Final = 25.0
"""Seconds that a person waits for what came of a test; the control socket gives up after 30."""
MOST: Final = 10
"""Tests at once."""
SEVERITIES: Final = frozenset(get_args(Severity))


@dataclass
class Trial:
    """A test that somebody waits for: what came of it in each channel so far, as a word and a sentence."""

    asked: Asked
    notice: Notice
    to: tuple[str, ...]
    came: dict[str, tuple[str, str]] = field(default_factory=dict)


def test_(turn: Turn, message: Asked) -> None:
    """Tell a channel, or all of a severity, that this is a test; or, dry, say what would be sent."""
    agent, what = turn.agent, message.body["what"]
    to = _named(agent, what)
    if isinstance(to, str):
        turn.do(Reply(message, {"result": "failed", "error": f"cannot test {visible(what, 100)}: {to}"}))
        return
    if len(agent.trials) >= MOST:
        turn.do(Reply(message, {"result": "failed", "error": f"cannot test {what}: {MOST} tests are under way; wait a moment"}))
        return
    notice = _notice(turn, message, cast("Severity", what) if what in SEVERITIES else "P3", to)
    if message.body.get("dry"):
        rows = [_would(agent, name, notice) for name in to]
        turn.do(Reply(message, {"result": "would", "notice": notice._asdict(), "channels": rows}))
        return
    turn.note("notice", {"notice": notice._asdict(), "to": list(to), "actor": message.actor})
    agent.trials[notice.key] = Trial(message, notice, to)


def _named(agent: Agent, what: str) -> tuple[str, ...] | str:
    """The channels that are meant; a sentence where there are none."""
    routes = agent.settings.routes
    if not agent.settings.notifiers:
        return "agent.yaml has no channels; write notify: {channels: {…}}"
    if what in agent.settings.notifiers:
        return (what,)
    known = ", ".join(agent.settings.notifiers)
    if what not in SEVERITIES:
        return f"no channel is called `{visible(what, 100)}`; known: {known}, or a severity"
    return routes.by.get(cast("Severity", what), ()) or f"{what} has no route of its own; channels: {known}"


def _notice(turn: Turn, message: Asked, severity: Severity, to: tuple[str, ...]) -> Notice:
    agent, number = turn.agent, turn.agent.state.outbox.last_test + 1
    who, host = visible(message.actor, 100), agent.settings.host
    return Notice(
        key=f"TEST-{number}/1",
        incident=f"TEST-{number}",
        what="test",
        severity=severity,
        phase="open",
        headline=f"{severity} test: this is a test of the agent on {host}. Nothing is wrong.",
        news=f"{who} tests whether this channel works",
        at=turn.now,
        opened=turn.now,
        host=host,
        title="Test",
        need=("nothing: who reads this knows that it works",),
        targets=to,
        many=len(to),
    )


def _would(agent: Agent, name: str, notice: Notice) -> dict[str, Any]:
    parts = list(agent.settings.notifiers[name].parts(notice))
    return {**_head(agent, name), "result": "would", "parts": parts, "say": "" if parts else "it has nothing to say about a test"}


def _head(agent: Agent, name: str) -> dict[str, Any]:
    one = agent.settings.notifiers.get(name)
    return {"channel": name, "type": type(one).name if one else "", "whom": one.whom() if one else ""}


# What came of it ----------------------------------------------------------------------------------------------------------


def settled(turn: Turn, channel: str, keys: Iterable[str], result: str, say: str) -> None:
    """This is what came of notices in a channel; whoever waits for the last of it is answered."""
    for key in keys:
        if trial := turn.agent.trials.get(key):
            trial.came.setdefault(channel, (result, say))
            if len(trial.came) == len(trial.to):
                _answer(turn, trial)


def come_round(turn: Turn) -> None:
    """Nobody waits for ever: what is still to be sent of a test is thrown away when its time is over."""
    outbox = turn.agent.state.outbox
    for trial in [one for one in turn.agent.trials.values() if turn.now >= one.notice.at + PATIENCE]:
        for name in [name for name in trial.to if name not in trial.came]:
            line = outbox.lines.get(name)
            row = line.find(trial.notice.key) if line else None
            if row and not row.sending:
                turn.note("given_up", {"channel": name, "notices": [trial.notice.key], "because": "nobody waits for it any more"})
            why = line.error if line and line.error else "its turn has not come yet"
            trial.came[name] = ("unsent", f"not within {PATIENCE:.0f} s: {why}")
        _answer(turn, trial)


def next_due(agent: Agent) -> float:
    """When the next one has waited for too long."""
    return min((one.notice.at + PATIENCE for one in agent.trials.values()), default=math.inf)


def _answer(turn: Turn, trial: Trial) -> None:
    del turn.agent.trials[trial.notice.key]
    rows = [{**_head(turn.agent, name), "result": trial.came[name][0], "say": trial.came[name][1]} for name in trial.to]
    good = sum(one["result"] in ("told", "nothing") for one in rows)
    result = "told" if good == len(rows) else ("partly" if good else "failed")
    body: Mapping[str, Any] = {"result": result, "notice": trial.notice._asdict(), "channels": rows}
    turn.do(Reply(trial.asked, body if result != "failed" else {**body, "error": f"cannot tell: {rows[0]['say']}"}))


# Thrown away --------------------------------------------------------------------------------------------------------------


def drop(turn: Turn, message: Asked) -> None:
    """Throw away what waits for a channel: it is told nowhere else for that."""
    name = message.body["what"]
    line = turn.agent.state.outbox.lines.get(name)
    if line is None and name not in turn.agent.settings.notifiers:
        known = ", ".join(turn.agent.settings.notifiers) or "none"
        error = f"cannot throw that away: no channel is called `{visible(name, 100)}`; known: {known}"
        turn.do(Reply(message, {"result": "failed", "error": error}))
        return
    waiting = [row for row in line.all() if not row.sending] if line else []
    if waiting:
        body = {"channel": name, "notices": [row.notice.key for row in waiting], "because": message.body["why"]}
        turn.note("given_up", {**body, "actor": message.actor})
        settled(turn, name, body["notices"], "dropped", f"{message.actor} has thrown it away")
    urgent = [row.notice.key for row in waiting if row.must]
    turn.do(Reply(message, {"result": "dropped" if waiting else "nothing", "count": len(waiting), "urgent": urgent[:100]}))


ORDERS: Final = {"notify_test": test_, "notify_drop": drop}
