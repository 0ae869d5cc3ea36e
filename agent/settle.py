"""What happens after a mitigation is made: its outcome, its end, drift and healing, and what a crash left open. Pure.

Every question is settled by what the system answers to `verify`. An answer that could not be had (None) settles nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent.action import Change
from agent.incident import QUIET, Incident, Mitigation
from agent.messages import Asked, Heal, Held, Lift, Lifted, Outcome, Release, Reply, Verified, Verify
from agent.turn import Agent, Turn, jobs

SWEEP = 60.0
"""Seconds between two looks at everything in force, for changes that no event told of."""
LOOK = 0.25
"""Seconds between two looks because of others' changes: some programs change the ruleset a hundred times a second."""
TRY_AGAIN = 10.0
"""Seconds until a lift that failed is tried again; twice as long for each time it failed before, up to MOST_TRIES times."""
MOST_TRIES = 6
TOO_OFTEN = 5
"""Healings within a minute after which somebody is clearly working against us: stop fighting, say so, heal at sweeps only."""


def started(turn: Turn, version: str) -> None:
    """The journal is read: tell what it left open, take down what is over, and ask the systems about the rest."""
    active = [one for one in turn.agent.state.mitigations.values() if one.active]
    open_intents = [one.id for one in active if one.stage != "in_force"]
    turn.note("started", {"version": version, "in_force": len(active) - len(open_intents), "open": open_intents})
    for one in active:
        if one.stage == "in_force":
            turn.ends(one)
    turn.agent.next_sweep = turn.now + SWEEP
    _expire(turn)
    if rest := [one for one in turn.agent.state.mitigations.values() if one.active]:
        turn.do(Verify(jobs(rest)))


def outcome(turn: Turn, one: Outcome, incident: str, *, contains: bool = False) -> None:
    """Close an intent by what came of it; `contains` where that makes the incident contained."""
    state = turn.agent.state
    mitigation = state.mitigations.get(one.mitigation)
    if mitigation is None:
        return
    if one.result == "late":
        turn.agent.doubtful.add(one.mitigation)
        turn.note("late", {"error": one.error}, incident=incident, mitigation=one.mitigation)
        return
    if one.result == "in_force":
        _holds(turn, mitigation, "in_force", {"until": mitigation.until, "found": list(one.found), "contains": contains})
        return
    kind = "not_verified" if one.result == "not_verified" else "failed"
    turn.note(kind, {"error": one.error, "result": one.result}, incident=incident, mitigation=one.mitigation)


def _holds(turn: Turn, mitigation: Mitigation, kind: str, body: dict[str, Any]) -> None:
    older = turn.agent.state.holding(mitigation.key)
    if older and older.id != mitigation.id:
        if older.stage == "in_force" and _ends(older) > _ends(mitigation):
            _taken_over(turn, mitigation, by=older)
            return
        _taken_over(turn, older, by=mitigation)
    turn.note(kind, body, incident=mitigation.incident, mitigation=mitigation.id)
    turn.agent.verified[mitigation.id] = turn.now
    turn.ends(mitigation)


def _taken_over(turn: Turn, one: Mitigation, *, by: Mitigation) -> None:
    """Close one of two that are the same in the world; there the longer time has won."""
    body = {"because": f"{by.id} holds the same for longer"}
    turn.note("lifted", body, incident=one.incident, mitigation=one.id)
    turn.agent.verified.pop(one.id, None)
    turn.agent.tries.pop(one.id, None)


def _ends(one: Mitigation) -> float:
    return math.inf if one.until is None else one.until


# Time passes --------------------------------------------------------------------------------------------------------------


def tick(turn: Turn) -> None:
    """Ends that are due, doubts to clear, the sweep, incidents gone quiet, a pause that is over."""
    agent = turn.agent
    agent.ticked = turn.now
    _expire(turn)
    _look(turn)
    if doubtful := [one for name in agent.doubtful if (one := agent.state.mitigations.get(name)) and one.active]:
        turn.do(Verify(jobs(doubtful)))
    agent.doubtful.clear()
    if _comes_round(agent.next_sweep, SWEEP, turn.now):
        agent.next_sweep, agent.disturber = turn.now + SWEEP, ""  # what a sweep finds, nobody told of
        if held := agent.state.in_force():
            turn.do(Verify(jobs(held)))
    if _comes_round(agent.next_tidy, TRY_AGAIN, turn.now):
        agent.next_tidy = turn.now + TRY_AGAIN
        _tidy(turn)
    if agent.state.pause and turn.now >= agent.state.pause.until:
        turn.note("resumed", {"actor": "agent", "why": "the pause was over"})


def _comes_round(at: float, every: float, now: float) -> bool:
    """Whether its time has come; also when the host's clock was set back, so that it would stay away for as long."""
    return now >= at or at - now > every


def next_due(agent: Agent, now: float) -> float:
    """When the next tick is needed: at the latest five seconds after the last one, at once when the clock was set back."""
    if agent.ticked > now:
        return now
    times = [agent.ticked + 5.0, agent.next_sweep]
    times += [agent.due[0][0]] if agent.due else []
    times += [agent.later[0][0]] if agent.later else []
    times += [agent.ticked + 0.5] if agent.doubtful else []
    times += [agent.next_look] if agent.disturbed else []
    return max(now, min(times))


def _expire(turn: Turn) -> None:
    over = []
    while turn.agent.due and turn.agent.due[0][0] <= turn.now:
        _, name = heapq.heappop(turn.agent.due)
        mitigation = turn.agent.state.mitigations.get(name)
        if mitigation and mitigation.stage == "in_force" and mitigation.until is not None and mitigation.until <= turn.now:
            over.append(mitigation)
    putting = turn.agent.state.putting() if over else set()
    for one in over:
        if one.key in putting:  # undoing it now would undo the other one
            heapq.heappush(turn.agent.due, (turn.now + 1.0, one.id))
    lift(turn, [one for one in over if one.key not in putting], because="its time is over", actor="agent")


def _tidy(turn: Turn) -> None:
    state = turn.agent.state
    for name in [name for name, one in state.would.items() if one.left(turn.now) == 0.0]:
        del state.would[name]
    for incident in [one for one in state.incidents.values() if _gone_quiet(turn, one)]:
        turn.note("phase", {"phase": "resolved", "because": "the finding did not come again"}, incident=incident.id)
    forget = turn.now - QUIET
    for memory in (turn.agent.still, turn.agent.spared):
        for key in [key for key, at in memory.items() if at < forget]:
            del memory[key]


def _gone_quiet(turn: Turn, incident: Incident) -> bool:
    if incident.phase == "resolved" or any(True for _ in _active(turn, incident)):
        return False
    last = max(incident.last, turn.agent.still.get((incident.policy, incident.target), 0.0))
    return turn.now - last >= QUIET


def _active(turn: Turn, incident: Incident) -> Iterator[Mitigation]:
    held = turn.agent.state.mitigations
    return (one for name in incident.mitigations if (one := held.get(name)) and one.active)


# Down again ---------------------------------------------------------------------------------------------------------------


def lift(turn: Turn, mitigations: Sequence[Mitigation], *, because: str, actor: str, asked: Asked | None = None) -> None:
    """Begin to take mitigations down; the undo asks first whether they still hold."""
    for one in mitigations:
        body = {"because": because, "actor": actor, "by_hand": asked is not None}
        turn.note("lifting", body, incident=one.incident, mitigation=one.id)
    if mitigations:
        _begin(turn, Lift(jobs(mitigations), because, asked))


def _begin(turn: Turn, effect: Lift) -> None:
    turn.agent.busy.update(name for name, _ in effect.jobs)
    turn.do(effect)


def lifted(turn: Turn, message: Lifted) -> None:
    """Close what is down; what would not go is tried again."""
    turn.agent.busy.difference_update(one.mitigation for one in message.releases)
    for one in message.releases:
        _released(turn, one, message.because)
    if message.asked:
        failed = [{"mitigation": one.mitigation, "error": one.error} for one in message.releases if one.result == "failed"]
        failed += message.asked.body.get("left", ())
        down = [one.mitigation for one in message.releases if one.result != "failed"]
        result = ("failed" if not down else "partly") if failed else "lifted"
        turn.do(Reply(message.asked, {"result": result, "mitigations": down, "failed": failed}))


def _released(turn: Turn, one: Release, because: str) -> None:
    mitigation = turn.agent.state.mitigations.get(one.mitigation)
    if mitigation is None or not mitigation.active:
        return
    if one.result == "failed":
        tries = turn.agent.tries.get(mitigation.id, 0)
        turn.agent.tries[mitigation.id] = min(tries + 1, MOST_TRIES)
        until = turn.now + TRY_AGAIN * 2**tries
        turn.note("lift_failed", {"error": one.error, "until": until}, incident=mitigation.incident, mitigation=one.mitigation)
        turn.ends(mitigation._replace(until=until))
        return
    how = "the system had let go already" if one.result == "gone" else "taken down"
    turn.note("lifted", {"because": because, "how": how}, incident=mitigation.incident, mitigation=one.mitigation)
    turn.agent.verified.pop(one.mitigation, None)
    turn.agent.tries.pop(one.mitigation, None)
    incident = turn.agent.state.incidents.get(mitigation.incident)
    if incident and incident.phase != "resolved" and not any(True for _ in _active(turn, incident)):
        turn.note("phase", {"phase": "resolved", "because": "no mitigation is left"}, incident=incident.id)


# Does it hold? --------------------------------------------------------------------------------------------------------------


def disturbed(turn: Turn, system: str, who: str) -> None:
    """Somebody changed a system under us: look at what we hold there, unless this is a fight."""
    agent = turn.agent
    agent.disturber = who
    if _healed_lately(turn) < TOO_OFTEN:
        agent.disturbed.add(system)
        _look(turn)


def _look(turn: Turn) -> None:
    """Look at the systems that others changed: at once, and again after what else they do within a moment."""
    agent = turn.agent
    if not agent.disturbed or not _comes_round(agent.next_look, LOOK, turn.now):
        return
    agent.next_look = turn.now + LOOK
    if held := [one for one in agent.state.in_force() if one.change.verify.system in agent.disturbed]:
        turn.do(Verify(jobs(held)))
    agent.disturbed.clear()


def _healed_lately(turn: Turn) -> int:
    turn.agent.healed[:] = [at for at in turn.agent.healed if abs(turn.now - at) < SWEEP]
    return len(turn.agent.healed)


def verified(turn: Turn, message: Verified) -> None:
    """Settle open intents and half-done lifts by what holds; put back what vanished."""
    vanished: list[Mitigation] = []
    for one in message.held:
        mitigation = turn.agent.state.mitigations.get(one.mitigation)
        if mitigation is None or not mitigation.active or one.mitigation in turn.agent.busy:
            continue
        if one.holds is None:
            _unanswered(turn, mitigation)
        elif mitigation.stage == "in_force":
            vanished += [] if one.holds else [mitigation]
            turn.agent.verified[mitigation.id] = turn.now
        else:
            _settle(turn, mitigation, one)
    _heal(turn, vanished)
    if message.asked:
        turn.do(Reply(message.asked, {}))


def _unanswered(turn: Turn, mitigation: Mitigation) -> None:
    if mitigation.stage != "in_force":
        turn.agent.doubtful.add(mitigation.id)


def _settle(turn: Turn, mitigation: Mitigation, one: Held) -> None:
    """An intent or a lift that a crash or a late answer left open."""
    if mitigation.stage == "lifting":
        if one.holds:
            _begin(turn, Lift(jobs([mitigation]), "its lifting had been interrupted"))
        else:
            _released(turn, Release(mitigation.id, "gone"), "its lifting had been interrupted")
    elif one.holds:
        _holds(turn, mitigation, "recovered", {"holds": True, "because": "the system says it holds"})
        incident = turn.agent.state.incidents.get(mitigation.incident)
        if incident and incident.phase == "open" and all(each.stage == "in_force" for each in _active(turn, incident)):
            turn.note("phase", {"phase": "contained"}, incident=incident.id)
    else:
        body = {"holds": False, "because": "the system says it does not hold"}
        turn.note("recovered", body, incident=mitigation.incident, mitigation=mitigation.id)


def _heal(turn: Turn, vanished: Sequence[Mitigation]) -> None:
    left = [one for one in vanished if one.left(turn.now) != 0.0]
    if not left:
        return
    turn.agent.healed.append(turn.now)
    names = [one.id for one in left]
    fight = _healed_lately(turn) >= TOO_OFTEN
    body = {
        "mitigations": names,
        "who": turn.agent.disturber,
        "because": "the system says that they no longer hold",
        "fight": fight,
    }
    turn.note("drifted", body)
    turn.do(Heal(tuple((one.id, _remaining(one, turn.now)) for one in left)))


def _remaining(mitigation: Mitigation, now: float) -> Change:
    left = mitigation.left(now)
    change = mitigation.change
    return replace(change, apply=change.apply.lasting(None if left is None else timedelta(seconds=left)))


def healed(turn: Turn, outcomes: Sequence[Outcome]) -> None:
    """Write down what holds again and what does not; the next sweep tries the rest once more."""
    good = [one.mitigation for one in outcomes if one.result == "in_force"]
    bad = [{"mitigation": one.mitigation, "error": one.error} for one in outcomes if one.result != "in_force"]
    for name in good:
        turn.agent.verified[name] = turn.now
    if good:
        turn.note("healed", {"mitigations": good})
    if bad:
        turn.note("heal_failed", {"failed": bad})
