"""What people ask of a running agent: do, undo, confirm, pause, resume, mode. One guard judges them and policies. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from agent.drift import for_the_rest
from agent.incident import Mitigation
from agent.lifting import free, lift
from agent.loss import adopting
from agent.messages import Asked, Heal, Healed, Plan, Reply, Run
from agent.notifying import regimes, trying
from agent.people import acting, consent, lists, pausing, silencing, writing
from agent.recovery import release
from agent.turn import Agent, Turn, aim, lasting, watching

ORDERS: Final[Mapping[str, Callable[[Turn, Asked], None]]] = {
    "approve": consent.approve,
    "deny": consent.deny,
    "pause": pausing.pause,
    "resume": pausing.resume,
    "silence": silencing.silence,
    "end_silence": silencing.end,
    **lists.ORDERS,
    "accept": adopting.accept,
    **acting.ORDERS,
    **writing.ORDERS,
    **trying.ORDERS,
    **regimes.ORDERS,
}
"""What else people can order, by verb: each book's module brings its own."""

_BUSY = "it is being changed at this moment; try again in a few seconds"


def asked(turn: Turn, message: Asked) -> None:
    """Carry out an order, or say why not. Whoever asks always gets an answer."""
    match message.verb:
        case "do":
            _do(turn, message)
        case "undo":
            _undo(turn, message)
        case "confirm":
            _confirm(turn, message)
        case "mode":
            _mode(turn, message)
        case verb if verb in ORDERS:
            ORDERS[verb](turn, message)
        case _:
            turn.do(Reply(message, {"result": "failed", "error": f"cannot {message.verb}: this agent knows no such order"}))


def _do(turn: Turn, message: Asked) -> None:
    action = message.body["action"]
    timed = lasting(action, turn.agent.state, turn.now)
    run = Run(
        actor=message.actor,
        because=message.body["why"],
        target=aim(action),
        since=turn.now,
        dry=message.body.get("dry", False) or turn.agent.settings.forced == "dry_run",
        asked=message,
    )
    turn.do(Plan(run, timed))


def _undo(turn: Turn, message: Asked) -> None:
    found = matching(turn.agent, message.body["what"])
    ready, busy = free(turn, found)
    if busy and len(busy) == len(found):
        names = ", ".join(one.id for one in busy)
        turn.do(Reply(message, {"result": "failed", "error": f"cannot undo {names}: {_BUSY}", "mitigations": []}))
    elif (gone := release.let_go(turn, message)) and not found:
        turn.do(Reply(message, gone))
    elif not found:
        turn.do(
            Reply(
                message, {"result": "nothing", "because": f"nothing in force matches {message.body['what']}", "mitigations": []}
            )
        )
    else:
        left = [{"mitigation": one.id, "error": _BUSY} for one in busy]
        known = replace(message, body={**message.body, "left": left})
        lift(turn, ready, because=message.body["why"], actor=message.actor, asked=known)


def _confirm(turn: Turn, message: Asked) -> None:
    """Have what waits for a confirmation stay: the system is told first, and only what it took is written down."""
    found = [one for one in matching(turn.agent, message.body["what"]) if one.confirm is not None and one.stage == "in_force"]
    free = [one for one in found if one.id not in turn.agent.busy]
    if not free:
        because = _BUSY if found else f"nothing that matches {message.body['what']} waits for a confirmation"
        turn.do(Reply(message, {"result": "failed" if found else "nothing", "because": because, "error": because}))
        return
    one = free[0]
    turn.agent.busy.add(one.id)
    lasting_on = one._replace(until=None if one.ttl is None else turn.now + one.ttl)
    turn.do(Heal(((one.id, for_the_rest(lasting_on, turn.now)),), message))


def confirmed(turn: Turn, message: Healed) -> None:
    """The system has answered to a confirmation."""
    asked = message.asked
    if asked is None:
        return
    (outcome,) = message.outcomes
    one = turn.agent.state.mitigations.get(outcome.mitigation)
    if one is None or not one.active:
        turn.do(Reply(asked, {"result": "failed", "error": "it has ended meanwhile"}))
        return
    if outcome.result not in ("in_force", "partly"):
        error = f"{outcome.error or 'it does not hold'}; unless it is confirmed in time, it takes itself back"
        turn.do(Reply(asked, {"result": "failed", "error": error}))
        return
    until = None if one.ttl is None else turn.now + one.ttl
    body = {"until": until, "actor": asked.actor, "because": asked.body.get("why", "")}
    turn.note("confirmed", body, incident=one.incident, mitigation=one.id)
    turn.agent.tries.pop(one.id, None)
    turn.ends(turn.agent.state.mitigations[one.id])
    turn.do(Reply(asked, {"result": "confirmed", "mitigations": [one.id], "until": until}))


def matching(agent: Agent, what: str) -> list[Mitigation]:
    """Active mitigations by id (`M-41`), incident (`INC-7`), target (`203.0.113.7`), or `all`."""
    active = [one for one in agent.state.mitigations.values() if one.active]
    return active if what == "all" else [one for one in active if what in (one.id, one.incident, one.target)]


def _mode(turn: Turn, message: Asked) -> None:
    name = message.body["policy"]
    if name not in turn.agent.policies:
        known = ", ".join(sorted(turn.agent.policies))
        turn.do(Reply(message, {"result": "failed", "error": f"cannot set the mode of `{name}`: no such policy; known: {known}"}))
        return
    turn.note("mode", {"policy": name, "mode": message.body["mode"], "actor": message.actor})
    turn.agent.watch = watching(turn.agent)
    turn.do(Reply(message, {"result": "set"}))
