"""Does it still hold? What vanished is put back, what holds in part is tried again, what a crash left open is settled. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from agent.action import Change
from agent.incident import Mitigation
from agent.lifting import begin, gathered, released
from agent.messages import Heal, Healed, Held, Release, Reply, Verified
from agent.settle import contained, forget, holds, in_part
from agent.turn import Turn, by_system, comes_round, looks

SWEEP = 60.0
"""Seconds between two looks at everything in force, for changes that no event told of."""
LOOK = 0.25
"""Seconds between two looks because of others' changes: some programs change the ruleset a hundred times a second."""
LATE = 60.0
"""Seconds in which a call that was given up on may still take effect: no system waits longer for its server than that."""
TOO_OFTEN = 5
"""Healings within a minute after which somebody is clearly working against us: stop fighting, say so, heal at sweeps only."""


def disturbed(turn: Turn, system: str, who: str) -> None:
    """Somebody changed a system under us: look at what we hold there, unless this is a fight."""
    agent = turn.agent
    agent.disturber = who
    if _healed_lately(turn) < TOO_OFTEN:
        agent.disturbed.add(system)
        look(turn)


def look(turn: Turn) -> None:
    """Look at the systems that others changed: at once, and again after what else they do within a moment."""
    agent = turn.agent
    if not agent.disturbed or not comes_round(agent.next_look, LOOK, turn.now):
        return
    agent.next_look = turn.now + LOOK
    ask(turn, [one for one in agent.state.in_force() if one.change.verify.system in agent.disturbed])
    agent.disturbed.clear()


def ask(turn: Turn, mitigations: Sequence[Mitigation]) -> None:
    """Have the systems say whether these hold."""
    for one in looks(turn.agent, mitigations):
        turn.do(one)


def verified(turn: Turn, message: Verified) -> None:
    """Settle open intents and half-done lifts by what holds; put back what vanished."""
    vanished, halfway = list[Mitigation](), list[Mitigation]()
    for one in message.held:
        mitigation = turn.agent.state.mitigations.get(one.mitigation)
        if mitigation is None or not mitigation.active or one.mitigation in turn.agent.busy:
            continue
        if one.holds is None:
            _unanswered(turn, mitigation, one.say)
        elif mitigation.stage == "in_force":
            turn.agent.verified[mitigation.id] = turn.now
            if mitigation.id in turn.agent.tries:
                _going(turn, mitigation, one)
            elif one.holds is False and one.say:
                _taken_back(turn, mitigation, one.say)
            else:
                vanished += [] if _still_holds(turn, mitigation, one) else [mitigation]
        elif mitigation.stage == "lifting" and one.holds:
            halfway.append(mitigation)
        else:
            _settle(turn, mitigation, one)
    _heal(turn, vanished)
    begin(turn, halfway, "its lifting had been interrupted")
    if message.asked and gathered(turn, message.asked) is not None:
        turn.do(Reply(message.asked, {}))


def _unanswered(turn: Turn, mitigation: Mitigation, say: str) -> None:
    if mitigation.stage != "in_force":
        turn.agent.doubtful.add(mitigation.id)
        turn.agent.under_way[mitigation.id] = say


def _going(turn: Turn, mitigation: Mitigation, one: Held) -> None:
    """One that would not go, and is tried again soon: it is not put back meanwhile, and may be gone by now."""
    if one.holds is False:
        released(turn, Release(mitigation.id, "gone", one.say), "it was being taken down")


def _still_holds(turn: Turn, mitigation: Mitigation, one: Held) -> bool:
    """Whether it holds as it did. Of one in part, what is missing is told when that changes, and healing tries it again."""
    if one.holds == "partly":
        if one.say != mitigation.short:
            in_part(turn, mitigation, one)
        return False
    if one.holds and mitigation.short:
        turn.note("healed", {"mitigations": [mitigation.id]}, incident=mitigation.incident)
        contained(turn, mitigation)
    return bool(one.holds)


def _taken_back(turn: Turn, mitigation: Mitigation, say: str) -> None:
    """Somebody else decided about it: that is told, never overwritten, and what it contained is open again."""
    incident = turn.agent.state.incidents.get(mitigation.incident)
    if incident and incident.phase == "contained":
        turn.note("phase", {"phase": "open", "because": say}, incident=incident.id)
    body = {"because": "somebody else took it back", "how": say, "by_hand": True}
    turn.note("lifted", body, incident=mitigation.incident, mitigation=mitigation.id)
    forget(turn, mitigation.id)


def _settle(turn: Turn, mitigation: Mitigation, one: Held) -> None:
    """An intent or a lift that a crash or a late answer left open."""
    if mitigation.stage == "lifting":
        released(turn, Release(mitigation.id, "gone", one.say), "its lifting had been interrupted")
    elif one.holds == "partly":
        holds(turn, mitigation, "partly", {"until": mitigation.until, "error": one.say})
    elif one.holds:
        holds(turn, mitigation, "recovered", {"holds": True, "because": one.say or "the system says it holds"})
        contained(turn, mitigation)
    elif turn.now - turn.agent.late.get(mitigation.id, -LATE) < LATE:
        turn.agent.doubtful.add(mitigation.id)  # whoever was given up on may still be at it, and nobody else would undo that
    else:
        turn.agent.under_way.pop(mitigation.id, None)
        turn.agent.late.pop(mitigation.id, None)
        body = {"holds": False, "because": one.say or "the system says it does not hold"}
        turn.note("recovered", body, incident=mitigation.incident, mitigation=mitigation.id)


def _heal(turn: Turn, vanished: Sequence[Mitigation]) -> None:
    seen = [turn.agent.state.mitigations[one.id] for one in vanished]  # another that means the same may have taken over meanwhile
    here = [one for one in seen if one.active and one.left(turn.now) != 0.0 and one.id not in turn.agent.busy]
    left = [one for one in here if _worth_a_try(turn, one)]
    names = [one.id for one in left if not one.short]
    if names:
        turn.agent.healed.append(turn.now)
        body = {
            "mitigations": names,
            "who": turn.agent.disturber,
            "because": "the system says that they no longer hold",
            "fight": _healed_lately(turn) >= TOO_OFTEN,
        }
        turn.note("drifted", body)
    for group in by_system(left):
        turn.agent.busy.update(one.id for one in group)
        turn.do(Heal(tuple((one.id, for_the_rest(one, turn.now)) for one in group)))


def _worth_a_try(turn: Turn, mitigation: Mitigation) -> bool:
    """What holds in part is tried again once in a sweep, however often people and events have us look."""
    if not mitigation.short or turn.now - turn.agent.tried.get(mitigation.id, 0.0) >= 0.9 * SWEEP:
        turn.agent.tried[mitigation.id] = turn.now
        return True
    return False


def _healed_lately(turn: Turn) -> int:
    turn.agent.healed[:] = [at for at in turn.agent.healed if abs(turn.now - at) < SWEEP]
    return len(turn.agent.healed)


def for_the_rest(mitigation: Mitigation, now: float) -> Change:
    """Its change for the time that is left, without taking evidence again."""
    left, change = mitigation.left(now), mitigation.change
    apply = change.apply.lasting(None if left is None else timedelta(seconds=left))
    return Change(change.describe, apply, change.undo, change.verify, (), change.touches)  # replace() takes four times as long


def healed(turn: Turn, message: Healed) -> None:
    """Write down what holds again and what does not; the next sweep tries the rest once more."""
    good, bad = [], []
    for one in message.outcomes:
        turn.agent.busy.discard(one.mitigation)
        mitigation = turn.agent.state.mitigations.get(one.mitigation)
        if mitigation is None or not mitigation.active:
            continue
        if one.result == "in_force":
            good.append(one.mitigation)
            turn.agent.verified[one.mitigation] = turn.now
        elif one.result != "partly":
            bad.append({"mitigation": one.mitigation, "error": one.error})
        elif one.error != mitigation.short:
            in_part(turn, mitigation, Held(one.mitigation, "partly", one.error))
    good = [one for one in good if one not in turn.agent.moving]  # those were never gone, but told of another end
    turn.agent.moving.difference_update(one.mitigation for one in message.outcomes)
    if good and not message.asked:
        turn.note("healed", {"mitigations": good})
        for name in good:
            contained(turn, turn.agent.state.mitigations[name])
    if bad and not message.asked:
        turn.note("heal_failed", {"failed": bad})
