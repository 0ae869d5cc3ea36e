"""Taking mitigations down, because somebody says so or their time is over. Pure.

The last made goes first, and what would not go is tried again.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from agent import crowd
from agent.incident import Mitigation
from agent.messages import Asked, Lift, Lifted, Release, Reply
from agent.recovery import awaiting, release
from agent.settle import active, forget
from agent.turn import Gathering, Turn, by_system, jobs

TRY_AGAIN = 10.0
"""Seconds until a lift that failed is tried again; twice as long for each time it failed before, up to MOST_TRIES times."""
MOST_TRIES = 6


def lift(turn: Turn, mitigations: Sequence[Mitigation], *, because: str, actor: str, asked: Asked | None = None) -> None:
    """Begin to take mitigations down, the last made first; the undo asks first whether they still hold."""
    for one in mitigations:
        body = {"because": because, "actor": actor, "by_hand": asked is not None}
        turn.note("lifting", body, incident=one.incident, mitigation=one.id)
    begin(turn, mitigations, because, asked)


def begin(turn: Turn, mitigations: Sequence[Mitigation], because: str, asked: Asked | None = None) -> None:
    """Have the lanes take them down, the last made first; until they answer, nobody else touches them."""
    groups = by_system(sorted(mitigations, key=lambda one: one.number, reverse=True))
    if asked:
        turn.agent.gathering[asked.ticket] = Gathering(len(groups))
    for group in groups:
        turn.agent.busy.update(one.id for one in group)
        turn.do(Lift(jobs(group), because, asked))


def free(turn: Turn, wanted: Sequence[Mitigation]) -> tuple[list[Mitigation], list[Mitigation]]:
    """Those that can be taken down now, and the others: a lane is at them, or another order puts the same into force.

    What is under way or in doubt can be taken down too, unless it cannot be taken back at all.
    """
    busy, names = turn.agent.busy, {one.id for one in wanted}
    applying = (one for one in turn.agent.state.mitigations.values() if one.stage == "applying")
    putting = {one.key for one in applying if one.id in busy or one.id not in names}
    ready, others = list[Mitigation](), list[Mitigation]()
    for one in wanted:
        can = one.stage in ("in_force", "applying") and one.change.undo is not None
        (ready if can and one.id not in busy and one.key not in putting else others).append(one)
    return ready, others


def lifted(turn: Turn, message: Lifted) -> None:
    """Close what is down; what would not go is tried again."""
    turn.agent.busy.difference_update(one.mitigation for one in message.releases)
    for one in message.releases:
        released(turn, one, message.because)
    if message.asked and (releases := gathered(turn, message.asked, message.releases)) is not None:
        failed = [{"mitigation": one.mitigation, "error": one.say} for one in releases if one.result == "failed"]
        failed += message.asked.body.get("left", ())
        down = [one.mitigation for one in releases if one.result != "failed"]
        said = [{"mitigation": one.mitigation, "say": one.say} for one in releases if one.result != "failed" and one.say]
        result = ("failed" if not down else "partly") if failed else "lifted"
        turn.do(Reply(message.asked, {"result": result, "mitigations": down, "failed": failed, "said": said}))


def gathered(turn: Turn, asked: Asked, releases: Sequence[Release] = ()) -> list[Release] | None:
    """All that came back, once every system that was asked has answered; None before."""
    gathering = turn.agent.gathering.get(asked.ticket)
    if gathering is None:
        return list(releases)
    gathering.out -= 1
    gathering.releases += releases
    if gathering.out > 0:
        return None
    del turn.agent.gathering[asked.ticket]
    return gathering.releases


def released(turn: Turn, one: Release, because: str) -> None:
    """Close one that is down, or put off one that would not go."""
    mitigation = turn.agent.state.mitigations.get(one.mitigation)
    if mitigation is None or not mitigation.active:
        return
    if one.result == "failed":
        tries = turn.agent.tries.get(mitigation.id, 0)
        turn.agent.tries[mitigation.id] = min(tries + 1, MOST_TRIES)
        turn.agent.under_way.pop(mitigation.id, None)
        until = turn.now + TRY_AGAIN * 2**tries
        turn.note("lift_failed", {"error": one.say, "until": until}, incident=mitigation.incident, mitigation=one.mitigation)
        turn.ends(mitigation._replace(until=until))
        return
    how = one.say or ("the system had let go already" if one.result == "gone" else "taken down")
    turn.note("lifted", {"because": because, "how": how}, incident=mitigation.incident, mitigation=one.mitigation)
    crowd.let_in(turn.agent, mitigation.change)
    release.ended(turn, mitigation)
    forget(turn, one.mitigation)
    incident = turn.agent.state.incidents.get(mitigation.incident)
    if incident and not incident.over and not any(True for _ in active(turn, incident)):
        if release.held_open(turn.agent, incident.id) or awaiting.begun(turn, incident):
            return
        turn.note("phase", {"phase": "resolved", "because": "no mitigation is left"}, incident=incident.id)


def expire(turn: Turn) -> None:
    """Take down what has reached its end."""
    over = []
    while turn.agent.due and turn.agent.due[0][0] <= turn.now:
        _, name = heapq.heappop(turn.agent.due)
        mitigation = turn.agent.state.mitigations.get(name)
        waits = mitigation is not None and mitigation.stage in ("in_force", "applying")
        if mitigation and waits and mitigation.until is not None and mitigation.until <= turn.now:
            over.append(mitigation)
    ready, busy = free(turn, over) if over else ([], [])
    for one in busy:  # undoing it now would undo the other one, or cross what heals it
        heapq.heappush(turn.agent.due, (turn.now + 1.0, one.id))
    lift(turn, [one for one in ready if one.confirm is None], because="its time is over", actor="agent")
    lift(turn, [one for one in ready if one.confirm is not None], because="nobody confirmed it", actor="agent")
