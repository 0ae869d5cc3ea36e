"""What people ask of a running agent: do, undo, pause, resume, mode. The same guard judges them as judges policies. Pure."""

from __future__ import annotations

from dataclasses import replace

from agent.incident import Mitigation
from agent.messages import Asked, Plan, Reply, Run
from agent.settle import lift
from agent.turn import Agent, Turn, aim, lasting, watching

_BUSY = "it is being changed at this moment; try again in a few seconds"


def asked(turn: Turn, message: Asked) -> None:
    """Carry out an order, or say why not. Whoever asks always gets an answer."""
    match message.verb:
        case "do":
            _do(turn, message)
        case "undo":
            _undo(turn, message)
        case "pause":
            body = {"until": turn.now + message.body["seconds"], "actor": message.actor, "why": message.body["why"]}
            turn.note("paused", body)
            turn.do(Reply(message, {"result": "paused", "until": body["until"]}))
        case "resume":
            was = turn.agent.state.pause is not None
            if was:
                turn.note("resumed", {"actor": message.actor, "why": "asked for"})
            turn.do(Reply(message, {"result": "resumed" if was else "nothing"}))
        case "mode":
            _mode(turn, message)
        case _:
            turn.do(Reply(message, {"result": "failed", "error": f"cannot {message.verb}: this agent knows no such order"}))


def _do(turn: Turn, message: Asked) -> None:
    action = message.body["action"]
    timed = lasting(action, turn.agent.state.repeated(f"{action.name} {aim(action)}", turn.now))
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
    putting = turn.agent.state.putting()
    busy = [one for one in found if one.stage != "in_force" or one.key in putting]
    if busy and len(busy) == len(found):
        names = ", ".join(one.id for one in busy)
        turn.do(Reply(message, {"result": "failed", "error": f"cannot undo {names}: {_BUSY}", "mitigations": []}))
    elif not found:
        turn.do(
            Reply(
                message, {"result": "nothing", "because": f"nothing in force matches {message.body['what']}", "mitigations": []}
            )
        )
    else:
        left = [{"mitigation": one.id, "error": _BUSY} for one in busy]
        ready = [one for one in found if one.stage == "in_force" and one.key not in putting]
        known = replace(message, body={**message.body, "left": left})
        lift(turn, ready, because=message.body["why"], actor=message.actor, asked=known)


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
