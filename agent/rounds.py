"""What comes round by itself: a start, ends that are due, the sweep, doubts, incidents gone quiet, the end of a pause. Pure."""

from __future__ import annotations

from typing import Final

from agent.drift import SWEEP, ask, look
from agent.event import REPORTED
from agent.incident import QUIET, Incident
from agent.lifting import TRY_AGAIN, expire
from agent.notifying import delivering, own
from agent.people import acting, consent, lists, pausing, silencing
from agent.recovery import awaiting, ends, health, release
from agent.recovery.rungs import Proof
from agent.settle import active
from agent.turn import Agent, Turn, comes_round

HEARING: Final = 1.0
"""Seconds after a start in which other tools' alerts are first looked at."""


def started(turn: Turn, version: str) -> None:
    """The journal is read: tell what it left open, take down what is over, and ask the systems about the rest."""
    active = [one for one in turn.agent.state.mitigations.values() if one.active]
    open_intents = [one.id for one in active if one.stage != "in_force"]
    turn.note("started", {"version": version, "in_force": len(active) - len(open_intents), "open": open_intents})
    for one in active:
        turn.ends(one)
    turn.agent.started = turn.now
    turn.agent.next_sweep = turn.now + SWEEP
    turn.agent.next_hearing = turn.now + HEARING  # behind what a crash left to be done (later.py)
    pausing.come_round(turn)
    expire(turn)
    ask(turn, [one for one in turn.agent.state.mitigations.values() if one.active])
    ends.started(turn)
    release.started(turn)


def tick(turn: Turn) -> None:
    """Ends that are due, doubts to clear, the sweep, incidents gone quiet, a pause that is over."""
    agent = turn.agent
    agent.ticked = turn.now
    pausing.come_round(turn)
    silencing.come_round(turn)
    ends.tick(turn)
    release.tick(turn)
    awaiting.tick(turn)
    expire(turn)
    consent.expire(turn)
    lists.tick(turn)
    look(turn)
    ask(turn, [one for name in sorted(agent.doubtful) if (one := agent.state.mitigations.get(name)) and one.active])
    agent.doubtful.clear()
    if comes_round(agent.next_sweep, SWEEP, turn.now):
        agent.next_sweep, agent.disturber = turn.now + SWEEP, ""  # what a sweep finds, nobody told of
        ask(turn, agent.state.in_force())
    if comes_round(agent.next_tidy, TRY_AGAIN, turn.now):
        agent.next_tidy = turn.now + TRY_AGAIN
        _tidy(turn)
    delivering.come_round(turn)


def next_due(agent: Agent, now: float) -> float:
    """When the next tick is needed: at the latest five seconds after the last one, at once when the clock was set back."""
    if agent.ticked > now:
        return now
    times = [agent.ticked + 5.0, agent.next_sweep, consent.next_due(agent), agent.next_pause, silencing.next_due(agent)]
    times += [agent.looks.next, delivering.next_due(agent)]
    times += [agent.due[0][0]] if agent.due else []
    times += [agent.nearing[0][0]] if agent.nearing else []
    times += [agent.state.releases.due[0][0]] if agent.state.releases.due else []
    times += [agent.later[0][0]] if agent.later else []
    times += [agent.ticked + 0.5] if agent.doubtful or agent.owed else []
    times += [agent.next_look] if agent.disturbed else []
    times += [agent.next_hearing] if agent.state.alerts.all else []
    return max(now, min(times))


def _tidy(turn: Turn) -> None:
    state = turn.agent.state
    for name in [name for name, one in state.would.items() if one.left(turn.now) == 0.0]:
        del state.would[name]
    for incident in [one for one in state.incidents.values() if _gone_quiet(turn, one)]:
        turn.note("phase", {"phase": "resolved", "because": "the finding did not come again"}, incident=incident.id)
    acting.by_itself(turn)
    ends.early(turn)
    forget = turn.now - ends.patience(turn.agent)
    state.shadows.fade(turn.now)
    for memory in (turn.agent.still, turn.agent.spared, turn.agent.muted):
        for key in [key for key, at in memory.items() if at < forget]:
            del memory[key]


def _gone_quiet(turn: Turn, incident: Incident) -> bool:
    if incident.policy == REPORTED or incident.policy in own.STAYS:  # a person says when it is over
        return False
    if incident.over or turn.now - incident.last < QUIET:
        return False
    if any(True for _ in active(turn, incident)) or release.held_open(turn.agent, incident.id):
        return False
    last = max(incident.last, turn.agent.still.get((incident.policy, incident.target), 0.0))
    return turn.now - last >= QUIET and not health.lacking(turn.agent, incident, Proof(), incident.last)
