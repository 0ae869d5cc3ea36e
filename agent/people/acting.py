"""What people do with an incident: acknowledge, assign, note, merge, another severity, open again, close, none after all. Pure.

An order about one of several that are told as one is about all of them. Nothing here touches what is in force: people lift that
by `contain undo`, and whoever says that an incident was none is asked to do so first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agent import gathering
from agent.fold_incident import URGENT
from agent.gathering import Picture
from agent.messages import Asked, Reply
from agent.notifying.recipients import strangers
from agent.people import reporting
from agent.turn import Turn


def _found(turn: Turn, message: Asked, name: str = "what") -> Picture | None:
    """What people see as one with the incident that is named; else the answer is given."""
    seen = gathering.picture(turn.agent.state, message.body[name])
    if seen is None:
        error = f"cannot {message.verb.replace('_', ' ')} {message.body[name]}: no such incident; see: contain incidents --all"
        turn.do(Reply(message, {"result": "failed", "error": error}))
    return seen


def _done(turn: Turn, message: Asked, seen: Picture, result: str, **more: Any) -> None:
    turn.do(Reply(message, {"result": result, "incident": seen.lead.id, "with": len(seen.members), **more}))


def _nothing(turn: Turn, message: Asked, because: str) -> None:
    turn.do(Reply(message, {"result": "nothing", "because": because}))


def _refused(turn: Turn, message: Asked, because: str) -> None:
    turn.do(Reply(message, {"result": "refused", "because": because}))


# Who is on it -------------------------------------------------------------------------------------------------------------


def acknowledge(turn: Turn, message: Asked) -> None:
    """Somebody is on it: escalation ends. The first to say so stays the one, until it is assigned."""
    if (seen := _found(turn, message)) is None:
        return
    if seen.lead.acked is not None:
        _nothing(turn, message, f"{seen.lead.acked_by} has acknowledged {seen.lead.id} already")
    elif seen.phase == "closed":
        _nothing(turn, message, f"{seen.lead.id} is closed")
    else:
        turn.note("acknowledged", {"actor": message.actor, "because": message.body.get("why", "")}, incident=seen.lead.id)
        _done(turn, message, seen, "acknowledged")


def assign(turn: Turn, message: Asked) -> None:
    """Whose it is from here on. Whoever assigns it knows of it, so it is acknowledged."""
    if (seen := _found(turn, message)) is None:
        return
    to = message.body["to"].strip()
    if seen.lead.assigned == to:
        _nothing(turn, message, f"{seen.lead.id} is {to}'s already")
        return
    turn.note("assigned", {"actor": message.actor, "to": to, "because": message.body.get("why", "")}, incident=seen.lead.id)
    _done(turn, message, seen, "assigned", to=to)


def note(turn: Turn, message: Asked) -> None:
    """A sentence for the timeline and the report."""
    if (seen := _found(turn, message)) is None:
        return
    text = message.body["text"].strip()
    if not text:
        turn.do(Reply(message, {"result": "usage", "problem": "`text`: there is nothing in it"}))
        return
    turn.note("noted", {"actor": message.actor, "text": text, "source": reporting.PEOPLE}, incident=seen.lead.id)
    _done(turn, message, seen, "noted")


# What it is ---------------------------------------------------------------------------------------------------------------


def severity(turn: Turn, message: Asked) -> None:
    """How bad it really is, with all that is told with it; policies keep their own for the next time."""
    if (seen := _found(turn, message)) is None:
        return
    now = message.body["severity"]
    if seen.severity == now:
        _nothing(turn, message, f"{seen.lead.id} is {now} already")
        return
    body = {"actor": message.actor, "severity": now, "was": seen.severity, "because": message.body["why"]}
    turn.note("severity", body, incident=seen.lead.id)
    _done(turn, message, seen, "changed", severity=now)


def merge(turn: Turn, message: Asked) -> None:
    """It is the same as another one: told with that from here on. What holds for it stays its own."""
    if (seen := _found(turn, message)) is None or (into := _found(turn, message, "into")) is None:
        return
    if seen.lead.id == into.lead.id:
        _nothing(turn, message, f"{message.body['what']} and {message.body['into']} are one already")
    elif into.lead.phase == "closed":
        _refused(turn, message, f"{into.lead.id} is closed; first: contain incidents reopen {into.lead.id} --why …")
    elif _public(turn, seen) and not _public(turn, into):  # its end on that page would say that the outage is over
        other = f"contain incidents merge {into.lead.id} {seen.lead.id} --why …"
        _refused(turn, message, f"strangers read of {seen.lead.id}, and not of {into.lead.id}; the other way round: {other}")
    else:
        body = {"actor": message.actor, "into": into.lead.id, "because": message.body["why"]}
        turn.note("merged", body, incident=seen.lead.id)
        _done(turn, message, into, "merged")


def _public(turn: Turn, seen: Picture) -> bool:
    """Whether channels that strangers read have told of it."""
    return bool(strangers(turn.agent, turn.agent.state.tellings.of(seen.lead.id)))


# Its end ------------------------------------------------------------------------------------------------------------------


def reopen(turn: Turn, message: Asked) -> None:
    """It is not over after all."""
    if (seen := _found(turn, message)) is None:
        return
    if seen.phase not in ("resolved", "closed"):
        _nothing(turn, message, f"{seen.lead.id} is {seen.phase}")
        return
    body = {"phase": "open", "because": f"{message.actor}: {message.body['why']}", "actor": message.actor}
    turn.note("phase", body, incident=seen.lead.id)
    turn.agent.still[seen.lead.policy, seen.lead.target] = turn.now  # quiet is counted from here on
    _done(turn, message, seen, "reopened")


def close(turn: Turn, message: Asked) -> None:
    """It is over, and all is written down. `missing` is what its report still lacks, as the desk has found."""
    if (seen := _found(turn, message)) is None:
        return
    name, missing = seen.lead.id, message.body.get("missing", ())
    if seen.lead.phase == "closed":
        _nothing(turn, message, f"{name} is closed already")
    elif seen.phase != "resolved":
        _refused(turn, message, f"{name} is {seen.phase}; first: contain incidents resolve {name} --why …")
    elif seen.severity in URGENT and missing:
        because = f"{name} is {seen.severity}, and its report lacks {', '.join(missing)}; first: contain postmortem {name} --edit"
        _refused(turn, message, because)
    else:
        _close(turn, seen, message)
        _done(turn, message, seen, "closed")


def false_positive(turn: Turn, message: Asked) -> None:
    """It was none: closed at once, and counted apart, so that whoever tends the policy sees how often it errs."""
    if (seen := _found(turn, message)) is None:
        return
    if seen.lead.phase == "closed":
        _nothing(turn, message, f"{seen.lead.id} is closed already")
    elif because := _unfinished(turn, seen):
        _refused(turn, message, because)
    else:
        _close(turn, seen, message, false=True)
        _done(turn, message, seen, "closed")


def resolve(turn: Turn, message: Asked) -> None:
    """A person says that it is over, with all that is told with it. What still holds is lifted first, by `contain undo`."""
    if (seen := _found(turn, message)) is None:
        return
    going = [one for one in seen.all if not one.over]
    if not going:
        _nothing(turn, message, f"{seen.lead.id} is {seen.phase} already")
    elif because := _unfinished(turn, seen):
        _refused(turn, message, because)
    else:
        body = {"phase": "resolved", "because": f"{message.actor}: {message.body['why']}", "actor": message.actor}
        for one in going:
            turn.note("phase", body, incident=one.id)
        _done(turn, message, seen, "resolved")


def _unfinished(turn: Turn, seen: Picture) -> str:
    """What is still to be done about it or what is told with it; empty where nothing is."""
    return next((because for one in seen.all if not one.over and (because := reporting.unfinished(turn, one))), "")


def _close(turn: Turn, seen: Picture, message: Asked, *, false: bool = False) -> None:
    because = f"{message.actor}: {message.body['why']}"
    body = {"because": because, "actor": message.actor, "false": false}
    for one in seen.all:
        if not one.over:
            turn.note("phase", {"phase": "resolved", **body}, incident=one.id)
    turn.note("phase", {"phase": "closed", **body}, incident=seen.lead.id)


def by_itself(turn: Turn) -> None:
    """P2 and P3 close themselves, once they have been over for so long that they would not go on any more."""
    state, policies = turn.agent.state, turn.agent.policies
    for one in [one for one in state.incidents.values() if one.phase == "resolved" and not one.lead]:
        long = one.resolved is not None and turn.now - one.resolved > gathering.patience(policies.get(one.policy))
        if not long or (seen := gathering.picture(state, one.id)) is None:
            continue
        if seen.phase == "resolved" and seen.severity not in URGENT:
            turn.note("phase", {"phase": "closed", "because": "it was over, and did not come again"}, incident=one.id)


ORDERS: Final[Mapping[str, Callable[[Turn, Asked], None]]] = {
    "acknowledge": acknowledge,
    "assign": assign,
    "note": note,
    "severity": severity,
    "merge": merge,
    "reopen": reopen,
    "close": close,
    "false_positive": false_positive,
    "resolve": resolve,
}
