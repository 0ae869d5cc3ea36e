"""The whole story in order: seen, found, planned, judged, applied. Start reading here. Pure.

`step` takes one message and the time and answers what to do about it. It never waits, reads a clock or touches the host, so
every story the agent can live through is a table in a test. What happens after a mitigation holds (its end, drift, recovery)
stands in settle.py, drift.py, lifting.py and rounds.py, what people ask for in orders.py.

    Seen → finding → Plan → Planned → guard → intent, Apply → Applied → in_force → … → Lift → Lifted
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import count
from typing import Any

from agent import clock, crowd, drift, findings, gathering, later, lifting, orders, rounds, settle, shadow
from agent.action import Change, spelled
from agent.alerts import hearing
from agent.event import ALERT, CHECK, Event
from agent.feeds import followed
from agent.guard import Verdict
from agent.judge import done_before, judge, lengthens
from agent.loss import adopting
from agent.messages import (
    Adoptable,
    Applied,
    Apply,
    Asked,
    ClockSet,
    Counted,
    Disturbed,
    Effect,
    Fed,
    Healed,
    Learnt,
    Lifted,
    Message,
    Outcome,
    Plan,
    Planned,
    Reply,
    Run,
    Seen,
    Sent,
    Started,
    Tick,
    Verified,
)
from agent.notifying import delivering, telling
from agent.people import consent, lists, reporting
from agent.recovery import ends, health, release
from agent.runs import begun, finding, key_of, told
from agent.turn import Agent, Turn, aim, lasting
from agent.watching.watch import Hit

_SOME = ("in_force", "partly", "under_way")
"""Outcomes that contain something, and so do not stop the steps behind."""
_TAKEN_IN = frozenset({CHECK.name, ALERT.name, *reporting.AT_ONCE})
"""Kinds of which the agent itself remembers something. Lines of logs are none of them, and come by the thousand."""


def step(agent: Agent, message: Message, now: float) -> list[Effect]:
    """Work one message into the agent's state, and answer with what must be done. Notes come before what they announce."""
    turn = Turn(agent, now)
    work(turn, message)
    return turn.effects


def work(turn: Turn, message: Message) -> None:  # noqa: C901, PLR0912 - a table of contents
    """The same, into a turn: what it decided before a bug stopped it is true already, and must be written down."""
    agent = turn.agent
    match message:
        case Seen(events):
            for event in events:
                counts = _taken_in(turn, event) if event.kind in _TAKEN_IN else not shadow.muted(turn, event)
                for hit in agent.watch.feed(event, turn.now) if counts else ():
                    _found(turn, hit)
        case Planned():
            _planned(turn, message)
        case Applied(run, outcomes):
            _applied(turn, run, outcomes)
        case Lifted():
            lifting.lifted(turn, message)
        case Verified():
            drift.verified(turn, message)
        case Healed():
            drift.healed(turn, message)
            orders.confirmed(turn, message)
        case Disturbed(system, who):
            drift.disturbed(turn, system, who)
        case Started(version):
            rounds.started(turn, version)
            lists.reprieve(turn)
            later.take_up(turn)
        case Learnt(lifelines, reading) if reading >= agent.reading:  # not one that was begun before a reload
            if reading > agent.reading:
                delivering.reread(turn)
            lists.learnt(turn, lifelines, reading)
            agent.next_pause = 0.0  # agent.yaml may have other maintenance windows now
        case Fed():
            followed.fed(turn, message)
        case Adoptable():
            adopting.adopted(turn, message)
        case Sent():
            delivering.sent(turn, message)
        case ClockSet(by):
            clock.jumped(turn, by)
        case Counted(counters):
            ends.counted(turn, counters)
        case Tick():
            rounds.tick(turn)
            for hit in hearing.still(turn):
                _found(turn, hit)
            for run in later.due(turn):
                _advance(turn, run)
        case Asked(verb="report"):
            work(turn, Seen(reporting.asked(turn, message)))
        case Asked():
            orders.asked(turn, message)
    telling.come_round(turn, message)


def _taken_in(turn: Turn, event: Event) -> bool:
    """What is not only for policies: a check's answer, an alert of others, what a person says. Whether policies see it, too."""
    if at_once := reporting.AT_ONCE.get(event.kind):
        at_once(turn, event)
    health.answered(turn, event)
    if shadow.muted(turn, event) or not hearing.heard(turn, event):
        return False
    ends.heard(turn, event)
    return True


# Found ------------------------------------------------------------------------------------------------------------------


def _found(turn: Turn, hit: Hit) -> None:
    agent, policy = turn.agent, hit.policy
    target = hit.target(agent.settings.host)
    key, mode = (policy.name, target), agent.mode(policy)
    if mode == "off":
        return
    if hit.unless:
        findings.spared(turn, key, hit.unless)
        return
    agent.still[key] = turn.now
    for back in release.recurrences(turn, hit, target):
        turn.note("finding", {**finding(back.hit, back.target, "enforce"), **back.body}, incident=back.incident)
        _advance(turn, back.run)
    pauses = () if mode == "dry_run" else agent.state.pauses.holding(policy.name)
    dry = mode == "dry_run" or bool(pauses)
    if key in agent.running or findings.settled(turn, policy, target, "dry_run" if dry else mode):
        return
    known = agent.state.incident_for(*key)
    if (known is None or known.over) and (because := crowd.crowded(turn, policy, dry=dry)):
        del agent.still[key]  # it has no incident of its own, and there may be a million of them
        _overflow(turn, crowd.gather(turn, hit, target, because))
        return
    incident, opening = gathering.named(turn, hit, target)
    found = finding(hit, target, mode) | opening
    turn.note("finding", found | {"pauses": list(pauses)} if pauses else found, incident=incident)
    run = begun(turn, policy, incident, target, hit.because)
    run = run._replace(event=hit.event, sources=tuple(found["sources"]), forged=found["forgeable"])
    for one in policy.then:
        if one.after is not None:
            turn.later(turn.now + one.after.total_seconds(), run._replace(steps=(one,)))
    _advance(turn, run)


def _overflow(turn: Turn, run: Run | None) -> None:
    if run:
        _advance(turn, run)


# Planned and judged -------------------------------------------------------------------------------------------------------


def _advance(turn: Turn, run: Run) -> None:
    """Begin the run's step, passing over steps whose fields are empty; after the last one, end the run."""
    turn.agent.running.add(key_of(run))
    while (todo := run.step) and run.event:
        bound = todo.bind(run.event)
        if not isinstance(bound, str) and done_before(turn, run, bound):
            because = "it was done before the agent stopped"
            turn.note("nothing_to_do", told(run, bound) | {"because": because}, incident=run.incident)
            run = run.next()
            continue
        if not isinstance(bound, str):
            turn.do(Plan(run, lasting(bound, turn.agent.state, turn.now)))
            return
        if not todo.optional:
            _refuse(turn, run, todo.action.name, Verdict(False, bound, reason="fields"))
        if not todo.optional and todo.on_error == "stop":
            run = run._replace(held=False)
            break
        run = run.next(held=todo.optional)
    _finish(turn, run)


def _planned(turn: Turn, message: Planned) -> None:
    run, action, changes = _as_of_now(turn, message.run), message.action, message.changes
    if run.approval and (message.refused or not (message.error or changes)):
        run = consent.spent(turn, run, message.refused or "nothing was left to do when it was said yes to")
    if message.refused:
        _refuse(turn, run, action.name, Verdict(False, message.refused, reason="protected"))
        _stepped(turn, run, ok=False, reply={"result": "refused", "because": message.refused})
        return
    if message.error:
        turn.note("plan_failed", told(run, action) | {"error": message.error}, incident=run.incident)
        _stepped(turn, run, ok=False, reply={"result": "failed", "error": message.error})
        return
    if not changes and lengthens(turn, run, action).allowed and (longer := _extended(turn, run, action)):
        _stepped(turn, run._replace(made=run.made + longer), ok=True, reply={"result": "in_force"})
        return
    if not changes:
        because = getattr(action, "nothing", "already in force")
        turn.note("nothing_to_do", told(run, action) | {"because": because}, incident=run.incident)
        _stepped(turn, run, ok=True, reply={"result": "nothing", "because": because})
        return
    run = _as_of_now(turn, consent.used(turn, run, changes)) if run.approval else run
    crowd.learn(turn.agent, message.population, turn.now)
    verdict = judge(turn, run, action, changes, message.population)
    if verdict.ask and not run.dry:
        _wait(turn, run, consent.ask(turn, run, action, changes, verdict))
        return
    if not verdict.allowed:
        _refuse(turn, run, action.name, verdict)
        _stepped(turn, run, ok=False, reply={"result": "refused", "because": verdict.because})
        if verdict.over and not run.over:
            _overflow(turn, crowd.refused(turn, run, verdict.because))
        return
    by_hand = message.by_hand or ("",) * len(changes)
    made = tuple((_intend(turn, run, action, one), one[1]) for one in zip(count(int(run.below)), changes, by_hand, strict=False))
    if run.dry:
        _stepped(turn, run, ok=True, reply={"result": "would"})
    else:
        turn.agent.busy.update(name for name, _ in made)
        turn.do(Apply(run._replace(made=run.made + tuple(name for name, _ in made)), made))


def _extended(turn: Turn, run: Run, action: Any) -> tuple[str, ...]:
    """Those in force that this asks for a longer time, where only the agent holds the time; the others plan something.

    What still waits for a confirmation is not made longer by asking again.
    """
    ttl = getattr(action, "ttl", None)
    if run.dry or ttl is None:
        return ()
    until = turn.now + ttl.first.total_seconds() if ttl.first is not None else None
    held = turn.agent.state.in_force_at(f"{action.name} {aim(action)}")
    order = _order(action) if held else ""
    same = [one for one in held if one.order in ("", order)]  # the kernel's own ends need no words
    short = [one for one in same if one.until is not None and one.confirm is None and (until is None or one.until + 1 < until)]
    for one in short:
        body = {"until": until, "actor": run.actor, "because": run.because}
        turn.note("extended", body, incident=one.incident, mitigation=one.id)
        turn.agent.tries.pop(one.id, None)
        turn.ends(turn.agent.state.mitigations[one.id])
    return tuple(one.id for one in short)


def _order(action: Any) -> str:
    """The order in words, whatever its time: soft and hard are two, however much they are about the same server."""
    return " ".join(word for word in spelled(action).split(" ") if not word.startswith("ttl="))


def _as_of_now(turn: Turn, run: Run) -> Run:
    """The run as a dry one where its policy was switched to dry run, or paused, since it began; a person's yes lifts a pause."""
    live = turn.agent.policies.get(run.policy.name) if run.policy else None
    if live is None:
        return run
    if run.approval and run.pauses:
        run = run._replace(dry=False, pauses=())
    if turn.agent.mode(live) == "dry_run":
        return run._replace(dry=True)
    pauses = () if run.dry or run.approval else turn.agent.state.pauses.holding(live.name)
    return run._replace(dry=True, pauses=pauses) if pauses else run


def _intend(turn: Turn, run: Run, action: Any, numbered: tuple[int, Change, str]) -> str:
    """Write down what is about to be done, with its undo, and give it a name."""
    name = f"M-{turn.agent.state.last_mitigation + 1}"
    part, change, by_hand = numbered
    body = told(run, action) | {
        "because": run.because,
        "digest": run.policy.digest if run.policy else "",
        "change": change,
        "part": part,
        **({"mutes": list(action.mutes)} if action.mutes else {}),
        **({"order": _order(action)} if change.undo and "ttl" not in change.apply.args else {}),
        **({"by_hand": by_hand} if by_hand else {}),
        **({"pauses": list(run.pauses)} if run.pauses else {}),
        **_length(action, change, turn.now),
        **(release.given(run.policy, action) if part == 0 else {}),
    }
    turn.note("would" if run.dry else "intent", body, incident=run.incident, mitigation=name)
    return name


def _length(action: Any, change: Change, now: float) -> dict[str, Any]:
    """When it ends; an action with `confirm` takes itself back then, unless a person has had it stay."""
    if change.undo is None:
        return {"until": None}
    length = action.ttl.first if hasattr(action, "ttl") else None
    ttl = length.total_seconds() if length is not None else None
    window = action.confirm.total_seconds() if hasattr(action, "confirm") else None
    if window is None or (ttl is not None and ttl <= window):
        return {"until": now + ttl if ttl is not None else None}
    return {"until": now + window, "confirm": now + window, "ttl": ttl}


def _refuse(turn: Turn, run: Run, action: str, verdict: Verdict) -> None:
    body = {"policy": run.policy.name if run.policy else "", "target": run.target, "action": action, "because": verdict.because}
    turn.note("refused", body | {"actor": run.actor, "reason": verdict.reason}, incident=run.incident)


# Applied ------------------------------------------------------------------------------------------------------------------


def _applied(turn: Turn, run: Run, outcomes: Sequence[Outcome]) -> None:
    turn.agent.busy.difference_update(one.mitigation for one in outcomes)
    bad = [one for one in outcomes if one.result not in _SOME]
    part = [one for one in outcomes if one.result in _SOME and one.result != "in_force"]
    whole = not bad and not part
    ends = whole and run.held and run.at == len(run.steps) - 1  # one record less, ten thousand times in a burst
    contains = ends and not _lacks(turn, run, {one.mitigation for one in outcomes})
    for one in outcomes:
        settle.outcome(turn, one, run.incident, contains=contains and one is outcomes[-1])
    if bad:
        reply: dict[str, Any] = {"result": "failed", "error": bad[0].error}
    else:
        reply = {"result": part[0].result, "because": part[0].error} if part else {"result": "in_force"}
    reply["evidence"] = [seen for one in outcomes for seen in one.found]
    _stepped(turn, run, ok=not bad, reply=reply)


def _stepped(turn: Turn, run: Run, *, ok: bool, reply: dict[str, Any]) -> None:
    """One step is done: go on with the next, or end the run where the step said so."""
    if run.asked:
        turn.do(Reply(run.asked, reply | {"mitigations": list(run.made)}))
        run = run._replace(asked=None, approval="")
    if not run.steps:
        return
    todo = run.step
    if todo and not ok and todo.on_error == "stop":
        for left in run.steps[run.at + 1 :]:
            because = f"{todo.action.name} failed before it"
            turn.note("skipped", {"action": left.action.name, "because": because}, incident=run.incident)
        _finish(turn, run._replace(held=False))
    else:
        _advance(turn, run.next(held=ok or bool(todo and todo.optional)))


def _wait(turn: Turn, run: Run, reply: dict[str, Any]) -> None:
    """The step waits for a person, and the run with it; where its steps do not need each other, the others go on."""
    if run.asked:
        turn.do(Reply(run.asked, reply | {"mitigations": list(run.made)}))
    if run.step and run.step.on_error == "continue":
        _advance(turn, run.next(held=False))
    elif run.steps:
        _finish(turn, run._replace(held=False))


def _finish(turn: Turn, run: Run) -> None:
    turn.agent.running.discard(key_of(run))
    incident = turn.agent.state.incidents.get(run.incident)
    if incident and incident.phase == "open" and run.steps and run.held and not run.dry and not _lacks(turn, run):
        turn.note("phase", {"phase": "contained"}, incident=incident.id)


def _lacks(turn: Turn, run: Run, besides: Set[str] = frozenset()) -> bool:
    """Whether something that was made for the incident is not there, or not there yet, or waits for a person."""
    if turn.agent.state.approvals.for_incident(run.incident):
        return True
    held, incident = turn.agent.state.mitigations, turn.agent.state.incidents.get(run.incident)
    standing = (one.id for one in settle.active(turn, incident)) if incident else ()
    return any(settle.lacks(held[name]) for name in {*run.made, *standing} - besides if name in held)
