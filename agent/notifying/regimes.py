"""Begins the clocks of laws, reminds people of them, and lets people begin and end them. Pure.

A person decides whether an incident is reportable; a policy may begin a clock, and nothing but a person ends one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agent import gathering
from agent.gathering import Picture
from agent.messages import Asked, Reply
from agent.notifying.clocks import STAGES, Clock, Due
from agent.notifying.compose import clock, took
from agent.notifying.recipients import dry, way
from agent.policy import Regime
from agent.state import State
from agent.turn import Turn

_SHARES: Final = ((1.0, "due"), (0.8, "80 %"), (0.5, "50 %"))
"""When people are reminded: parts of the time that there is. The last one that has come is told, and not those before it."""


def clocks(state: State, incident: str) -> list[tuple[Regime, str, float, float | None]]:
    """All that an authority is owed about what people see as one: the law, what, when it is due, and when it was given."""
    return [(one.regime, due.what, due.due, due.done) for one in _of(state, incident) if not one.over for due in one.stages]


def _of(state: State, incident: str) -> list[Clock]:
    seen = gathering.picture(state, incident) if state.clocks.all else None
    if seen is None or seen.lead.false:
        return []
    return [clock for one in seen.all for clock in state.clocks.of(one.id)]


def begin(turn: Turn, seen: Picture) -> None:
    """Have those clocks run that the policies of an incident name."""
    state, policies = turn.agent.state, turn.agent.policies
    for name in dict.fromkeys(one.policy for one in seen.all):
        policy = policies.get(name)
        for regime in policy.gathering.regimes if policy else ():
            if not any((one.id, regime) in state.clocks.all for one in seen.all) and seen.phase != "closed":
                _begin(turn, seen, regime, "agent", f"the policy {name} says so; a person decides whether it is reportable")


def _begin(turn: Turn, seen: Picture, regime: Regime, actor: str, because: str) -> None:
    body = {"regime": regime, "known": seen.lead.opened, "actor": actor, "because": because}
    turn.note("regime", body, incident=seen.lead.id)


def remind(turn: Turn, seen: Picture) -> float:
    """Remind people of what is half over, nearly over and due; when the next reminder is."""
    soonest = float("inf")
    for one in _of(turn.agent.state, seen.lead.id):
        if (due := one.next) is None:
            continue
        begun = _begun(one, due)
        for share, name in _SHARES:
            at, step = begun + share * (due.due - begun), f"{due.what} {name}"
            if step in one.reminded:
                break
            if at <= turn.now:
                _remind(turn, one, due, step)
                break
            soonest = min(soonest, at)
    return soonest


def _begun(one: Clock, due: Due) -> float:
    """From when the time for a stage counts."""
    before = [each for each in one.stages if each.due < due.due]
    return (before[-1].done or before[-1].due) if before else min(one.known, due.due)


def _remind(turn: Turn, one: Clock, due: Due, step: str) -> None:
    left = due.due - turn.now
    when = f"is due {clock(due.due)}, in {took(left)}" if left > 0 else f"was due {clock(due.due)}, {took(-left)} ago"
    mend = f"contain incidents notified {one.incident} {one.regime} --why …"
    because = f"{one.regime.upper()} {due.what} {when}; when it is given: {mend}"
    urgent = due.due - turn.now <= 0.2 * (due.due - _begun(one, due)) + 1
    turn.note("reminded", {"regime": one.regime, "step": step, "because": because, "urgent": urgent}, incident=one.incident)


# Orders -------------------------------------------------------------------------------------------------------------------


def regime(turn: Turn, message: Asked) -> None:
    """A person says that an incident is reportable under a law."""
    if (seen := _seen(turn, message)) is None:
        return
    law: Regime = message.body["regime"]
    running = [one for one in _of(turn.agent.state, seen.lead.id) if one.regime == law and one.next]
    if running:
        _reply(turn, message, "nothing", because=f"the clock of {law.upper()} runs already for {seen.lead.id}")
        return
    _begin(turn, seen, law, message.actor, message.body["why"])
    _done(turn, message, seen, "begun")


def notified(turn: Turn, message: Asked) -> None:
    """A person has told an authority, or says that there is nothing to tell: the next stage is done, or with `all` every one."""
    if (seen := _seen(turn, message)) is None:
        return
    state, law = turn.agent.state, message.body["regime"]
    one = next((one for one in _of(state, seen.lead.id) if one.regime == law and one.next), None)
    if one is None or (due := one.next) is None:
        _reply(turn, message, "nothing", because=f"no clock of {law.upper()} runs for {seen.lead.id}")
        return
    body = {"regime": law, "what": due.what, "all": message.body.get("all", False), "actor": message.actor}
    turn.note("notified", body | {"because": message.body["why"]}, incident=one.incident)
    _done(turn, message, seen, "notified")


def publish(turn: Turn, message: Asked) -> None:
    """A person has an incident told on channels that strangers read."""
    if (seen := _seen(turn, message)) is None:
        return
    told = turn.agent.state.tellings.of(seen.lead.id)
    public = way(turn.agent, seen, told._replace(published=True)).public
    if not any(one.public for one in turn.agent.settings.routes.channels.values()):
        _reply(turn, message, "failed", error="cannot publish: agent.yaml has no channel that strangers read, as statuspage is")
    elif told.published:
        _reply(turn, message, "nothing", because=f"{seen.lead.id} is told in public already")
    elif seen.severity not in ("P0", "P1"):
        mend = f"contain incidents severity {seen.lead.id} P1 --why …"
        because = f"{seen.lead.id} is {seen.severity}, and only P0 and P1 are told in public; first: {mend}"
        _reply(turn, message, "refused", because=because)
    elif not public:
        kept = "its policies are in dry run" if dry(turn.agent, seen) else "its policy says `notify: off`"
        _reply(turn, message, "refused", because=f"{seen.lead.id} is told to nobody outside: {kept}")
    else:
        turn.note("published", {"actor": message.actor, "because": message.body["why"]}, incident=seen.lead.id)
        _done(turn, message, seen, "published", to=public)


def rows(state: State, incident: str) -> list[dict[str, Any]]:
    """The clocks of an incident as plain values, for the control socket."""
    return [
        {"regime": law, "what": what, "until": due, "since": done, "done": done is not None}
        for law, what, due, done in clocks(state, incident)
    ]


def _seen(turn: Turn, message: Asked) -> Picture | None:
    name = message.body["what"]
    if (seen := gathering.picture(turn.agent.state, name)) is None:
        error = f"cannot {message.verb} {name}: no such incident; see: contain incidents --all"
        turn.do(Reply(message, {"result": "failed", "error": error}))
    return seen


def _done(turn: Turn, message: Asked, seen: Picture, result: str, **more: Any) -> None:
    clocks = rows(turn.agent.state, seen.lead.id)
    _reply(turn, message, result, incident=seen.lead.id, clocks=clocks, **{"with": len(seen.members)}, **more)


def _reply(turn: Turn, message: Asked, result: str, **more: Any) -> None:
    turn.do(Reply(message, {"result": result, **more}))


ORDERS: Final[Mapping[str, Callable[[Turn, Asked], None]]] = {"regime": regime, "notified": notified, "publish": publish}
LAWS: Final = tuple(STAGES)
