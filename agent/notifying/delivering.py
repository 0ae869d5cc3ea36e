"""How the outbox is worked off: one call at a time for each channel, again after a while where it did not get through. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from agent.messages import Send, Sent
from agent.notifying import falling_back, trying
from agent.notifying.notice import Notice
from agent.notifying.notifier import Notifier
from agent.notifying.outbox import Line, Row
from agent.notifying.picking import GIVE_UP, pick
from agent.turn import Agent, Turn

FIRST: Final = 1.0
"""Seconds until the second try; each further one waits twice as long as the one before."""
LONGEST: Final = 300.0
URGENT: Final = 30.0
"""The longest wait while something urgent is to be told, for its first day."""
LATE: Final = 3600.0
"""The longest wait for what must get through and has not for a day."""
LONGEST_HELD: Final = 3600.0
"""The longest that a channel's own wish to be left alone is followed."""


def come_round(turn: Turn) -> None:
    """Begin every call that is due, and see to what nobody got."""
    outbox, settings = turn.agent.state.outbox, turn.agent.settings
    for name in [name for name, line in outbox.lines.items() if line.rows and name not in settings.routes.channels]:
        _gone(turn, name)
    if not settings.notifiers:
        return
    for name in settings.notifiers:
        call(turn, name)
    falling_back.come_round(turn)
    trying.come_round(turn)


def reread(turn: Turn) -> None:
    """agent.yaml was read again: what was wrong with a channel may be mended."""
    channels = turn.agent.settings.routes.channels.values()
    if channels or turn.agent.state.outbox.lines:
        turn.note("channels", {"channels": [{"name": one.name, "type": one.type, "whom": one.whom} for one in channels]})


def next_due(agent: Agent) -> float:
    """When the next call is due, or the next look at what nobody got."""
    outbox, notifiers = agent.state.outbox, agent.settings.notifiers
    if agent.stopping or not notifiers:
        return math.inf
    times = [falling_back.next_due(agent), trying.next_due(agent)]
    for name, line in outbox.lines.items():
        if line.rows and name not in agent.sending and name in notifiers:
            times.append(due(line, notifiers[name]))
    return min(times)


def due(line: Line, notifier: Notifier) -> float:
    """When a channel may be called again."""
    return max(line.again, line.sent + notifier.gap if line.sent else 0.0)


def call(turn: Turn, name: str) -> None:
    """Begin the next call to a channel, where it is free and something waits."""
    agent = turn.agent
    line, notifier = agent.state.outbox.lines.get(name), agent.settings.notifiers[name]
    if line is None or not line.rows or name in agent.sending or agent.stopping or turn.now < due(line, notifier):
        return
    picked = pick(line, notifier, turn.now)
    if picked.over:
        _give_up(turn, name, picked.over, f"it could not be told for {GIVE_UP / 3600:.0f} h: {line.error or 'no answer'}")
    if picked.needless:
        turn.note("not_needed", {"channel": name, "notices": list(picked.needless)})
        trying.settled(turn, name, picked.needless, "nothing", "this channel has nothing to say about it")
    if picked.row:
        _send(turn, name, picked.row, picked.left)


def _send(turn: Turn, name: str, row: Row, left: tuple[str, ...]) -> None:
    agent, notifier, part = turn.agent, turn.agent.settings.notifiers[name], left[0]
    doubtful = row.doubtful and (row.parts is None or row.parts[:1] == left[:1])
    body = {"channel": name, "notice": row.notice.key, "part": part, "left": list(left), "doubtful": doubtful}
    turn.note("sending", body, incident=_incident(row.notice))
    agent.sending.add(name)
    thread = agent.state.outbox.thread(name, kind(agent, name), row.notice.incident)
    turn.do(Send(name, notifier, _with_gap(row), part, thread, doubtful))


def _with_gap(row: Row) -> Notice:
    """The notice; its news says how many before it were left out."""
    if not row.left_out:
        return row.notice
    many = f"{row.left_out} earlier words were" if row.left_out > 1 else "one earlier word was"
    return row.notice._replace(news=f"{row.notice.news} ({many} left out: they could not be told)")


def kind(agent: Agent, name: str) -> str:
    """A channel's type."""
    return str(type(agent.settings.notifiers[name]).name)


def sent(turn: Turn, message: Sent) -> None:
    """A call has ended: write down what came of it, and begin the next one."""
    agent, outbox = turn.agent, turn.agent.state.outbox
    agent.sending.discard(message.channel)
    line = outbox.lines.get(message.channel)
    row = line.find(message.key) if line else None
    if line and row and row.sending == message.part:
        if message.result == "told":
            _told(turn, message, line, row)
        else:
            _not_told(turn, message, line, row)
    falling_back.come_round(turn)
    if message.channel in agent.settings.notifiers:
        call(turn, message.channel)


def _told(turn: Turn, message: Sent, line: Line, row: Row) -> None:
    head = {"channel": message.channel, "notice": message.key, "part": message.part}
    body = {**head, "type": message.type, "thread": dict(message.thread)}
    turn.note("told", body, incident=_incident(row.notice))
    if row.notice.what in ("resolved", "closed"):  # nobody is to be called for what is over
        older = [
            one for one in line.rows.get(row.notice.incident, ()) if one.notice.number < row.notice.number and not one.sending
        ]
        if older:
            because = f"{row.notice.key} got through before, and says that it is over"
            _give_up(turn, message.channel, [one.notice.key for one in older], because)
    if not turn.agent.state.outbox.lines[message.channel].find(message.key):
        trying.settled(turn, message.channel, (message.key,), "told", "")


def _not_told(turn: Turn, message: Sent, line: Line, row: Row) -> None:
    held = message.after is not None
    wait = _backoff(turn, message, line) if message.after is None else min(max(FIRST, message.after), LONGEST_HELD)
    head = {"channel": message.channel, "notice": message.key, "part": message.part, "result": message.result}
    body = {**head, "why": message.why, "again": turn.now + wait, "held": held}
    turn.note("not_told", body, incident=_incident(row.notice))
    if row.notice.what == "test":
        _give_up(turn, message.channel, (message.key,), "a test is tried once")
        trying.settled(turn, message.channel, (message.key,), message.result, message.why)


def _backoff(turn: Turn, message: Sent, line: Line) -> float:
    """1 s, 2 s, 4 s …, up to five minutes, a part of it left to chance: all hosts that lost a server do not come back at once."""
    longest, urgent = LONGEST, [one.since for one in line.all() if one.notice.urgent]
    if urgent:
        longest = URGENT if turn.now - max(urgent) < GIVE_UP else LATE
    whole = min(longest, FIRST * 2.0 ** min(line.tries, 20))
    chance = sha256(f"{turn.agent.settings.host} {message.channel} {message.key} {line.tries}".encode()).digest()[0] / 255
    return whole * (0.5 + 0.5 * chance)


def _gone(turn: Turn, name: str) -> None:
    """A channel that agent.yaml does not have any more."""
    line = turn.agent.state.outbox.lines[name]
    if name not in turn.agent.sending:
        _give_up(turn, name, [row.notice.key for row in line.all()], "agent.yaml has no such channel any more", gone=True)


def _give_up(turn: Turn, name: str, keys: Iterable[str], because: str, *, gone: bool = False, actor: str = "") -> None:
    body = {"channel": name, "notices": list(keys), "because": because, **({"gone": True} if gone else {})}
    turn.note("given_up", {**body, **({"actor": actor} if actor else {})})


def _incident(notice: Notice) -> str:
    return "" if notice.what == "test" else notice.incident
