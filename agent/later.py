"""What is begun later: steps that were put off, and what a crash or a stop left to be done. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from agent.alerts import hearing
from agent.messages import Run
from agent.recovery import release
from agent.runs import again, key_of
from agent.turn import Turn

SEEN_AGAIN = 5.0
"""Seconds after a start in which a finding can come again, before steps that it had put off are decided on."""
TAKEN_UP = 0.5
"""Seconds after a start in which the systems say what holds, before unanswered findings are taken up."""


def take_up(turn: Turn) -> None:
    """What a crash or a stop left to be done: findings without an answer, and steps that were put off.

    What already holds plans as nothing to do, and what cannot be taken back is not begun again, so nothing is done twice.
    """
    state = turn.agent.state
    for incident, found in list(state.unanswered.items()):
        if run := again(turn, incident, found):
            run = release.resumed(run, found)
            turn.agent.still[key_of(run)] = turn.now
            turn.later(turn.now + TAKEN_UP, run._replace(since=min(found["at"], turn.now - TAKEN_UP)))
    for incident, found in list(state.put_off.items()):
        if run := again(turn, incident, found):
            for one in run.policy.then if run.policy else ():
                if one.after is not None:
                    due = max(found["at"] + one.after.total_seconds(), turn.now + SEEN_AGAIN)
                    turn.later(due, run._replace(steps=(one,), since=found["at"]))


def due(turn: Turn) -> Iterator[Run]:
    """Steps put off by `after` whose time has come, whose policy still has them, and whose incident still fires."""
    later = turn.agent.later
    while later and later[0][0] <= turn.now:
        run = heapq.heappop(later)[2]
        if because := _overtaken(turn, run):
            what = run.steps[0].action.name if run.steps else "its steps"
            turn.note("skipped", {"action": what, "because": because}, incident=run.incident)
        else:
            yield run


def _overtaken(turn: Turn, run: Run) -> str:
    """Why a run that was put off begins no more; empty where it does."""
    live = turn.agent.policies.get(run.policy.name) if run.policy else None
    if any(one.after is not None and (live is None or one not in live.then) for one in run.steps):
        return "its policy has changed, or is gone"
    last = turn.agent.still.get(key_of(run), 0.0)
    again = last >= turn.now - hearing.FRESH if live is not None and hearing.standing_only(live) else last > run.since
    return "" if again else "the finding did not come again"
