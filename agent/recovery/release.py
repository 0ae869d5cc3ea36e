"""Letting go rung by rung: blocked, limited, only observed, watched, off; and one rung up again when it recurs. Pure.

The kernel ends a block by itself, with or without the agent, so the limit below it is put in place LEAD seconds before. Where
that cannot be done the block still ends, and the address is only observed for both rungs' time: nothing is held longer
because something else failed. Ends of rungs are points in time, so a restart goes on where they say.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from agent.action import parameters, typed
from agent.event import REPORT
from agent.incident import Incident, Mitigation
from agent.judge import left_alone
from agent.messages import Asked, Plan, Run
from agent.policy import Policy, Step
from agent.recovery import awaiting
from agent.recovery.releases import FREEZE_AT, Descent, Key
from agent.recovery.rungs import Rung
from agent.runs import begun, forged, sources
from agent.schema import Ttl, rough, spoken
from agent.settle import active
from agent.turn import Agent, Turn, aim
from agent.watching.watch import Hit

_LET: Final[Mapping[str, str]] = {
    "limited": "was eased to a limit",
    "observed": "was let go and only observed",
    "watched": "was let go",
}


class Again(NamedTuple):
    """A finding that came again while what it had caused was being let go, and the run that goes one rung up."""

    hit: Hit
    target: str
    incident: str
    body: Mapping[str, Any]
    run: Run


# An action once more --------------------------------------------------------------------------------------------------


def given(policy: Policy | None, action: Any) -> dict[str, Any]:
    """What an intent keeps of its action, so that it can be planned again: only where a ladder may need it."""
    if policy is None or policy.recover.ladder is None or not hasattr(action, "milder"):
        return {}
    kind: Any = type(action)
    adapters = _adapters(kind)
    return {"given": [(name, one.dump_python(getattr(action, name), mode="json")) for name, one in adapters.items()]}


@cache
def _adapters(kind: type[Any]) -> dict[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(hint) for name, (hint, _) in parameters(kind).items()}


def _top(policy: Policy, action: str, pairs: tuple[tuple[str, Any], ...]) -> Step | None:
    """The policy's step with the parameters it had, and the ttl it has now; None where the policy has no such step any more."""
    step = next((one for one in policy.then if one.action.name == action and hasattr(one.action, "milder")), None)
    if step is None or not pairs:
        return None
    try:
        literal = {name: typed(step.action, name, value) for name, value in pairs}
        step.action(**literal)
    except (ValueError, TypeError):  # the action is another one since an upgrade
        return None
    kept = {name: step.literal[name] for name in ("ttl",) if name in step.literal}
    return replace(step, literal=literal | kept, variable={}, after=None)


def _milder(policy: Policy, top: Step | None, ttl: timedelta) -> Any:
    """The bound action of the rung below; None where there is none."""
    ladder = policy.recover.ladder
    if top is None or ladder is None or ladder.limit is None:
        return None
    return top.action(**top.literal).milder(ladder.rps, ttl)


def _literally(action: Any) -> Step:
    return Step(type(action), {one.name: getattr(action, one.name) for one in fields(action)})


def acting(agent: Agent, name: str) -> Policy | None:
    """The policy, where it acts now: what is paused puts no rung in place, and lets go all the same."""
    policy = agent.policies.get(name)
    acts = policy is not None and agent.mode(policy) == "enforce" and not agent.state.pauses.holding(name)
    return policy if acts else None


# Down -----------------------------------------------------------------------------------------------------------------


def descend(turn: Turn, one: Mitigation) -> None:
    """Put the rung below in place while this one still holds; once, unless the policy is busy with the same target."""
    policy, incident = acting(turn.agent, one.policy), turn.agent.state.incidents.get(one.incident)
    if policy is None or incident is None or one.until is None or one.id in turn.agent.descended or not policy.recover.limit:
        return
    key = (policy.name, incident.target)
    if turn.agent.state.releases.held_whole(key, one.since):
        return
    if key in turn.agent.running:
        heapq.heappush(turn.agent.nearing, (turn.now + 1.0, one.id))
        return
    left = timedelta(seconds=one.until - turn.now)
    if milder := _milder(policy, _top(policy, one.action, one.given), left + policy.recover.limit):
        turn.agent.descended[one.id] = turn.now
        _slow_down(turn, policy, incident, milder, f"{one.id} is about to end")


def _slow_down(turn: Turn, policy: Policy, incident: Incident, milder: Any, because: str) -> None:
    """Plan a limit that takes no room in limits of the guard, and that contains nothing by itself."""
    run = begun(turn, policy, incident.id, incident.target, because)
    run = run._replace(steps=(_literally(milder),), below=True, held=False)
    turn.agent.running.add((policy.name, incident.target))
    turn.do(Plan(run, milder))


def ended(turn: Turn, one: Mitigation) -> None:
    """A mitigation is down: begin its way down the ladder, or the watch; a person's undo ends all of that."""
    agent, incident = turn.agent, turn.agent.state.incidents.get(one.incident)
    policy = agent.policies.get(one.policy)
    tried = agent.descended.pop(one.id, None) is not None
    if incident is None or policy is None:
        return
    if left_alone(turn, incident.policy, incident.target, one.target):
        _by_hand(turn, one, incident)
        return
    recover, book = policy.recover, agent.state.releases
    others = any(True for _ in active(turn, incident)) or bool(book.of(incident.id))
    if agent.mode(policy) != "enforce" or (others and not one.given) or not [*recover.rungs()]:
        return
    at = turn.now if one.until is None else min(turn.now, one.until)
    whole = book.held_whole((policy.name, incident.target), one.since)
    rung, until = recover.fallen(at, turn.now, below="observed" if whole else None if one.given else "limited")
    way = Descent(one.id, incident.id, policy.name, incident.target, one.action, one.target, one.given, rung, turn.now, until)
    if rung == "limited":
        way = _limited(turn, policy, incident, way, tried=tried or acting(agent, policy.name) is None)
    _let(turn, way, f"{one.id} has ended")


def _limited(turn: Turn, policy: Policy, incident: Incident, way: Descent, *, tried: bool) -> Descent:
    """The way with the limit that is in force; without one it is put in place now, where that was not tried before."""
    milder = _milder(policy, _top(policy, way.action, way.given), timedelta(seconds=max(1.0, way.until - turn.now)))
    if milder is None:
        return _unlimited(policy, way)
    same = [one for one in active(turn, incident) if (one.action, one.target) == (milder.name, aim(milder))]
    if same:
        return way._replace(until=max([way.until, *(one.until for one in same if one.until is not None)]))
    if tried or (policy.name, incident.target) in turn.agent.running:
        return _unlimited(policy, way)
    _slow_down(turn, policy, incident, milder, f"{way.mitigation} has ended")
    return way


def _unlimited(policy: Policy, way: Descent) -> Descent:
    """The way without its limit: observed for both rungs' time."""
    ladder = policy.recover.ladder
    observe = ladder.observe.total_seconds() if ladder and ladder.observe else 0.0
    return way._replace(rung="observed", until=way.until + observe)


def _by_hand(turn: Turn, one: Mitigation, incident: Incident) -> None:
    book = turn.agent.state.releases
    key = (incident.policy, incident.target)
    for way in book.of(incident.id):
        _let(turn, way._replace(rung="off", until=turn.now), "a person let it go", by_hand=True)
    if key in book.frozen or key in book.recurrences:
        way = Descent(one.id, incident.id, *key, one.action, one.target, (), "off", turn.now, turn.now)
        _let(turn, way, "a person let it go", by_hand=True)


def _let(turn: Turn, way: Descent, because: str, *, by_hand: bool = False) -> None:
    """Write down the rung on which it is now. An incident is recovering from the first one on, and resolved after the last."""
    book = turn.agent.state.releases
    if way.rung == "off" and way.mitigation not in book.down and not by_hand:
        return
    body = {name: getattr(way, name) for name in ("policy", "target", "action", "aim", "given", "rung", "until")}
    turn.note("released", body | {"because": because, "by_hand": by_hand}, incident=way.incident, mitigation=way.mitigation)
    incident = turn.agent.state.incidents.get(way.incident)
    if incident is None or incident.over:
        return
    if way.rung != "off":
        if incident.phase != "recovering":
            turn.note("phase", {"phase": "recovering", "because": f"{because}; {_plainly(way)}"}, incident=incident.id)
    elif not held_open(turn.agent, incident.id) and not any(True for _ in active(turn, incident)):
        if awaiting.begun(turn, incident) and not by_hand:
            return
        over = "a person let it go" if by_hand else "it was let go step by step, and did not come again"
        turn.note("phase", {"phase": "resolved", "because": over}, incident=incident.id)


def _plainly(way: Descent) -> str:
    return {"limited": "limited first", "observed": "only observed first"}.get(way.rung, "watched for a while")


def tick(turn: Turn) -> None:
    """Rungs that are over: on to the next."""
    for way in turn.agent.state.releases.over(turn.now):
        policy = turn.agent.policies.get(way.policy)
        rung: Rung = "off"
        until = way.until
        if policy is not None:
            rung, until = policy.recover.fallen(way.until, turn.now, below=way.rung)
        _let(turn, way._replace(rung=rung, until=until), "nothing came again")


def started(turn: Turn) -> None:
    """After a start: limits that the records speak of, and that a crash kept from being put in place."""
    for way in list(turn.agent.state.releases.down.values()):
        policy, incident = acting(turn.agent, way.policy), turn.agent.state.incidents.get(way.incident)
        if way.rung == "limited" and way.until > turn.now and policy and incident and not left_alone(turn, *way.key, way.aim):
            _limited(turn, policy, incident, way, tried=False)


def held_open(agent: Agent, incident: str) -> bool:
    """Whether an incident is still being let go, or waits for a person or its checks, though nothing of it may be in force."""
    state = agent.state
    return (
        incident in state.releases.by_incident or awaiting.waits(agent, incident) or bool(state.approvals.for_incident(incident))
    )


# Up -------------------------------------------------------------------------------------------------------------------


def recurrences(turn: Turn, hit: Hit, target: str) -> Iterator[Again]:
    """What goes one rung up because of this finding: of its own policy and target, and of others about the same address."""
    agent, book = turn.agent, turn.agent.state.releases
    awaiting.again(turn, agent.state.incident_for(hit.policy.name, target), f"it came again: {hit.because}")
    if not book.down or REPORT.name in hit.policy.kinds():  # what a person says waits for a yes, and moves no other policy
        return
    incident = agent.state.incident_for(hit.policy.name, target)
    ways = {one.mitigation: one for one in (book.of(incident.id) if incident else ())}
    ways |= {one.mitigation: one for name in _addresses(hit) for one in book.at(name)}
    for key in dict.fromkeys(one.key for one in ways.values()):
        policy = acting(agent, key[0])
        if policy is None or key in agent.running or left_alone(turn, *key):
            continue
        known = hit if key[0] == hit.policy.name else replace(hit, policy=policy, because=f"{hit.policy.name}: {hit.because}")
        if again := _rise(turn, known, key, [one for one in ways.values() if one.key == key]):
            yield again


def _addresses(hit: Hit) -> set[str]:
    """The addresses that the policy would act on: typed ones, never a name that somebody chose to look like one."""
    bound = (step.bind(hit.event) for step in hit.policy.then)
    values = (getattr(one, each.name) for one in bound if not isinstance(one, str) for each in fields(one))
    return {spoken(value) for value in values if isinstance(value, IPv4Network | IPv6Network)}


def _rise(turn: Turn, hit: Hit, key: Key, ways: list[Descent]) -> Again | None:
    """Write down that it recurred, and what goes up. None where the policy's own steps are the answer."""
    policy, incident = hit.policy, ways[0].incident
    because = f"recurred {rough(timedelta(seconds=turn.now - ways[0].since))} after {ways[0].mitigation} {_LET[ways[0].rung]}"
    tops = [top for one in ways if (top := _top(policy, one.action, one.given))]
    count = turn.agent.state.releases.lately(key, turn.now) + 1
    eased = count < FREEZE_AT and not any(one.rung == "limited" for one in ways)
    limits = [one for top in tops if (one := _milder(policy, top, _longer(policy, top, count)))] if eased else []
    rung = "limited" if limits else "in force"
    for one in ways:
        body = {"policy": key[0], "target": key[1], "action": one.action, "rung": rung, "because": because}
        until = turn.now + limits[0].ttl.first.total_seconds() if limits else None
        turn.note("recurred", body | {"until": until}, incident=incident, mitigation=one.mitigation)
    turn.note("phase", {"phase": "open", "because": because}, incident=incident)
    if count >= FREEZE_AT:
        _freeze(turn, policy, ways)
    if not tops:
        return None
    steps = tuple(map(_literally, limits)) or tuple(tops)
    rungs = [] if limits else [(one.action, one.given) for one in ways]
    run = begun(turn, policy, incident, key[1], f"{because}: {hit.because}")
    run = run._replace(steps=steps, below=bool(limits), event=hit.event)
    run = run._replace(sources=sources(hit.evidence, hit.event), forged=forged(hit.evidence, hit.event))
    turn.agent.still[key] = turn.now
    return Again(hit, key[1], incident, {"steps": len(rungs), "later": 0, "rungs": rungs}, run)


def _longer(policy: Policy, top: Step, count: int) -> timedelta:
    """How long a limit holds after so many recurrences: it grows as the ttl of its block does, and no longer than that may."""
    limit, ttl = policy.recover.limit or timedelta(), top.literal.get("ttl")
    if not isinstance(ttl, Ttl) or ttl.limit is None:
        return limit
    return Ttl(limit, ttl.factor, max(limit, ttl.limit)).after(count) or limit


def _freeze(turn: Turn, policy: Policy, ways: list[Descent]) -> None:
    """It comes and goes: what is made now holds its whole time, and ends without rungs."""
    state, lengths = turn.agent.state, list[float]()
    for way in ways:
        found = (one.literal.get("ttl") for one in policy.then if one.action.name == way.action)
        if ttl := next((one for one in found if isinstance(one, Ttl)), None):
            length = ttl.after(state.repeated(f"{way.action} {way.aim}", turn.now))
            lengths += [length.total_seconds()] if length else []
    if lengths:
        body = {"policy": ways[0].policy, "target": ways[0].target, "until": turn.now + max(lengths)}
        because = f"it recurred {FREEZE_AT} times within 2 h"
        turn.note("release_frozen", body | {"because": because}, incident=ways[0].incident)


def resumed(run: Run, found: Mapping[str, Any]) -> Run:
    """The run of a recurrence that a crash cut off, at the rung to which it was going."""
    if not found.get("rungs") or run.policy is None:
        return run
    tops = (_top(run.policy, action, tuple((name, value) for name, value in pairs)) for action, pairs in found["rungs"])
    return run._replace(steps=tuple(one for one in tops if one) or run.steps)


# People ---------------------------------------------------------------------------------------------------------------


def let_go(turn: Turn, message: Asked) -> dict[str, Any]:
    """A person's undo ends what is on its way down, too, and policies leave it alone for a while; the answer, empty for none."""
    what = message.body["what"]
    down = list(turn.agent.state.releases.down.values())
    ways = [one for one in down if what in ("all", one.mitigation, one.incident, one.aim, one.target)]
    for one in ways:
        _let(turn, one._replace(rung="off", until=turn.now), f"{message.actor} let it go: {message.body['why']}", by_hand=True)
    said = [{"mitigation": one.mitigation, "say": "it was being let go step by step; that is over"} for one in ways]
    return {"result": "lifted", "mitigations": [one.mitigation for one in ways], "failed": [], "said": said} if ways else {}


def plan(agent: Agent, incident: Incident, now: float) -> dict[str, Any]:
    """How an incident is let go, for people: the rungs to come with their ends, and until when release is frozen."""
    book, held = agent.state.releases, agent.state.mitigations
    rungs = list[dict[str, Any]]()
    for way in book.of(incident.id)[:1]:
        policy = agent.policies.get(way.policy)
        until = way.until
        limited = any((one := held.get(name)) and one.active for name in incident.mitigations)
        rung: Rung = way.rung if way.rung != "limited" or limited else "observed"
        while rung != "off":
            rungs.append({"rung": rung, "until": until})
            rung, until = policy.recover.fallen(until, until, below=rung) if policy else ("off", until)
    frozen = book.frozen.get((incident.policy, incident.target), 0.0)
    return {"recovering": rungs, "frozen": frozen if frozen > now else None}
