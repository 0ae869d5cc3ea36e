"""What people and the clock do with silences, and the one question whoever would tell of an incident asks first. Pure."""

from __future__ import annotations

import math
from typing import Any, Final, Protocol

from agent.incident import Incident
from agent.messages import Asked, Reply
from agent.people.silences import Silence
from agent.policy import BUILT_IN, Severity
from agent.record import Record
from agent.state import State
from agent.turn import Agent, Turn

MOST: Final = 50
"""Silences that may last at once."""
LONGEST_P0: Final = 3600.0
"""Seconds for which a P0 can be silenced."""
SLACK: Final = 60.0
"""Seconds by which a clock may be set back without a silence being measured anew."""


def silenced(state: State, incident: Incident, now: float) -> str:
    """Why nobody is to be told of an incident now; empty when people are to be told. Notifiers ask this."""
    one = state.silences.about(incident, now)
    return f"{one.actor} has silenced it ({one.id}): {one.why}" if one else ""


def is_quiet(state: State, record: Record, now: float) -> bool:
    """Whether a record is about an incident of which nobody is to be told."""
    incident = state.incidents.get(record.incident) if state.silences.all and record.incident else None
    return incident is not None and bool(silenced(state, incident, now))


class Teller(Protocol):
    """Where records are told; a quiet one is about what people do not want to be told of."""

    def __call__(self, ts: float, record: Record, /, *, quiet: bool = False) -> None:
        """A record was committed."""


def telling(agent: Agent, told: Teller) -> Teller:
    """The same, where records about what is silenced are quiet."""

    def heard(ts: float, record: Record, *, quiet: bool = False) -> None:
        told(ts, record, quiet=quiet or is_quiet(agent.state, record, ts))

    return heard


def silence(turn: Turn, message: Asked) -> None:
    """Have nobody told of what fits, for a while. What is P0 can be silent for an hour at most."""
    state, body = turn.agent.state, message.body
    name = f"S-{state.silences.last + 1}"
    given = {key: body.get(key, "") for key in ("policy", "target")}
    made = Silence(
        name, turn.now, turn.now + body["seconds"], message.actor, body["why"], "P1", **given, incident=body.get("incident", "")
    )
    if error := _wrong(turn, made):
        turn.do(Reply(message, {"result": "failed", "error": f"cannot silence: {error}"}))
        return
    fitting = [one for one in state.incidents.values() if not one.over and made.fits(one)]
    worst = _worst(turn, made, fitting)
    if worst == "P0" and body["seconds"] > LONGEST_P0:
        names = ", ".join(one.id for one in fitting if one.severity == "P0") or f"the policy {made.policy}"
        because = f"{names} is P0, and that can be silenced for 1 h at most; use --for 1h"
        turn.do(Reply(message, {"result": "refused", "because": because}))
        return
    turn.note("silenced", _body(made._replace(worst=worst)), incident=made.incident)
    now_silent = [one.id for one in fitting if one.severity >= worst]
    turn.do(Reply(message, {"result": "silenced", **view(state.silences.all[name]), "incidents": now_silent[:MOST]}))


def _wrong(turn: Turn, made: Silence) -> str:
    agent = turn.agent
    if not (made.policy or made.target or made.incident):
        return "this would silence everything; name a policy, a target or an incident"
    if made.policy and made.policy not in agent.policies:
        known = ", ".join(sorted(agent.policies.keys() - BUILT_IN))
        return f"no policy is called {made.policy}; known: {known or 'none'}"
    if made.incident and made.incident not in agent.state.incidents:
        return f"no incident {made.incident}; see: contain incidents"
    if len(agent.state.silences.all) >= MOST:
        return f"{MOST} silences last already; end some: contain silence end"
    return ""


def _worst(turn: Turn, made: Silence, fitting: list[Incident]) -> Severity:
    """The severity that is silenced, and all below it: what is there now; where nothing is, the policy's, else P1."""
    there: list[Severity] = [one.severity for one in fitting]
    if made.incident:
        there.append(turn.agent.state.incidents[made.incident].severity)
    if made.policy and not there:
        there.append(turn.agent.policies[made.policy].severity)
    return min(there, default="P1")


def _body(one: Silence) -> dict[str, Any]:
    plain = one._asdict()
    return {"silence": one.id} | {key: plain[key] for key in ("since", "until", "actor", "why", "worst", "policy", "target")}


def end(turn: Turn, message: Asked) -> None:
    """End one by its name, or all."""
    what = message.body["what"]
    found = [one for one in turn.agent.state.silences.all.values() if what in (one.id, "all")]
    for one in found:
        _end(turn, one, message.actor, "asked for")
    turn.do(Reply(message, {"result": "ended" if found else "nothing", "ended": [one.id for one in found]}))


def _end(turn: Turn, one: Silence, actor: str, why: str) -> None:
    turn.note("silence_ended", {"silence": one.id, "actor": actor, "why": why}, incident=one.incident)


def come_round(turn: Turn) -> None:
    """End what is over, and what has become more severe than what was silenced."""
    book, known = turn.agent.state.silences, turn.agent.state.incidents.values()
    least = max((one.worst for one in book.all.values()), default="P0")
    severe = [one for one in known if one.severity < least and not one.over] if book.all else []
    for one in list(book.all.values()):
        if turn.now >= one.until:
            _end(turn, one, "agent", "its time was over")
        elif turn.now < one.since - SLACK:  # the clock was set back: it lasts no longer for that
            moved = one._replace(since=turn.now, until=turn.now + one.until - one.since)
            turn.note("silenced", _body(moved), incident=one.incident)
        elif worse := next((each for each in severe if each.severity < one.worst and one.fits(each)), None):
            _end(turn, one, "agent", f"{worse.id} is {worse.severity}, and {one.worst} was the worst that was silenced")


def next_due(agent: Agent) -> float:
    """When the next one is over."""
    return min((one.until for one in agent.state.silences.all.values()), default=math.inf)


def view(one: Silence) -> dict[str, Any]:
    """One silence as plain values, for the control socket."""
    return one._asdict()


def shown(agent: Agent, *, ended: bool = False) -> dict[str, Any]:
    """Those that last; with `ended` also the latest that are over."""
    book = agent.state.silences
    rows = [*sorted(book.all.values(), key=lambda one: one.until), *(reversed(book.over) if ended else ())]
    return {"total": len(book.all), "items": [view(one) for one in rows]}


def of(agent: Agent, incident: Incident, now: float) -> dict[str, Any] | None:
    """The silence that an incident is under, for whoever looks at it."""
    one = agent.state.silences.about(incident, now)
    return {"id": one.id, "until": one.until, "actor": one.actor, "why": one.why} if one else None
