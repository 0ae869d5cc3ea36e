"""A named person's yes to one plan: asked for, given, refused, over. Pure.

What waits has done nothing. Nobody's answer in time means no. A yes counts for the plan that was shown and no other: it is
planned once more before it is done, and where that comes out differently the yes is void and is asked for again.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

from agent.action import Change, spelled
from agent.guard import Verdict
from agent.messages import Asked, Plan, Reply, Run
from agent.people.approvals import Approval, plan_hash
from agent.runs import again, at_once, told
from agent.turn import Agent, Turn, aim, lasting

MOST: Final = 200
"""Questions that may wait at once: more than that nobody answers, and what is not asked is not done."""

# Asking -------------------------------------------------------------------------------------------------------------------


def ask(turn: Turn, run: Run, action: Any, changes: Sequence[Change], verdict: Verdict) -> dict[str, Any]:
    """Write the question down, unless it waits already; the answer for whoever ordered it."""
    book, plan, because = turn.agent.state.approvals, plan_hash(changes), verdict.because
    for one in book.for_incident(run.incident) if run.incident else ():
        if one.plan == plan:
            return _waits(one)
        if (one.action, one.target) == (action.name, aim(action)):
            _over(turn, one, "what it would do has changed meanwhile")
    if len(book.waiting) >= MOST:
        because = f"{because}; {MOST} questions wait already, and this one was not asked"
        turn.note("refused", told(run, action) | {"because": because, "reason": "person"}, incident=run.incident)
        return {"result": "refused", "because": because}
    approving, name = turn.agent.settings.approving, f"A-{book.last + 1}"
    body = told(run, action) | {
        "id": name,
        "plan": plan,
        "order": shlex.split(spelled(action))[3:],
        "describe": [one.describe for one in changes],
        "because": because,
        "until": turn.now + approving.wait,
        "needs": approving.people if action.impact == "destructive" else 1,
        "yes": [run.actor] if run.asked and not run.steps else [],
        "found": _found(run),
        "step": 0 if _of(run) == "alone" else run.at,
        "raises": verdict.over,
        "why": run.because if run.policy is None else "",
        "digest": run.policy.digest if run.policy else "",
    }
    turn.note("asked_for", body, incident=run.incident)
    return _waits(book.all[name])


def _found(run: Run) -> dict[str, Any]:
    if run.policy is None or run.event is None:
        return {}
    body = {"policy": run.policy.name, "target": run.target, "because": run.because, "at": run.since, "steps": _of(run)}
    return body | {"event": run.event.fields, "source": run.event.source, "sources": list(run.sources), "forged": run.forged}


def _of(run: Run) -> str:
    """Which steps of its policy a run takes: all at once, those for too many targets, or one alone (put off, or a rung)."""
    if run.over:
        return "overflow"
    return "then" if run.policy and run.steps == at_once(run.policy) else "alone"


def _waits(one: Approval) -> dict[str, Any]:
    more = one.needs - len(one.yes)
    who = "a person" if one.needs == 1 else f"{more} more {'person' if more == 1 else 'people'}"
    because = f"{one.because}; {who} must say yes: contain approve {one.id}"
    return {"result": "waits", "approval": one.id, "plan": one.plan, "because": because, "until": one.until}


def _over(turn: Turn, one: Approval, because: str) -> None:
    turn.note("approval_over", {"approval": one.id, "because": because}, incident=one.incident)


# Answering ----------------------------------------------------------------------------------------------------------------


def approve(turn: Turn, message: Asked) -> None:
    """Count a person's yes; with the last one that is needed, it is planned once more and done."""
    expire(turn)
    one = _waiting(turn, message)
    if one is None:
        return
    who = message.actor
    by = turn.agent.settings.approving.by
    if by and name_of(who) not in by:
        turn.do(Reply(message, {"result": "refused", "because": f"{who} may not approve; agent.yaml names {', '.join(by)}"}))
        return
    said = name_of(who) in map(name_of, one.yes)
    if said and len(one.yes) < one.needs:
        turn.do(Reply(message, {"result": "refused", "because": f"{who} has said yes to {one.id} already; another person must"}))
        return
    if (given := message.body.get("plan")) and given != one.plan:
        turn.do(Reply(message, {"result": "refused", "because": f"{one.id} is about plan {one.plan} now, and not {given}"}))
        return
    if one.found and (one.policy, one.found["target"]) in turn.agent.running:
        error = f"{one.policy} is at it at this moment; say so again in a few seconds"
        turn.do(Reply(message, {"result": "failed", "error": error}))
        return
    if not said:  # who says yes once more has it tried once more: nothing came of the first, by a crash or a system that failed
        body = {"approval": one.id, "actor": who, "because": message.body["why"]}
        turn.note("approved", body, incident=one.incident)
        one = turn.agent.state.approvals.all[one.id]
    if len(one.yes) < one.needs:
        turn.do(Reply(message, _waits(one)))
    else:
        _go(turn, one, message)


def _go(turn: Turn, one: Approval, message: Asked) -> None:
    action = message.body["action"]
    run = _run(turn, one)
    if run is None:
        because = "its policy has changed, is gone or off"
        _over(turn, one, because)
        turn.do(Reply(message, {"result": "refused", "because": because}))
        return
    timed = lasting(action, turn.agent.state, turn.now)
    if one.found:
        turn.agent.running.add((one.policy, run.target))
    turn.do(Plan(run._replace(approval=one.id, asked=message), timed))


def _run(turn: Turn, one: Approval) -> Run | None:
    """The run at the step that waited; None where its policy has no such step there any more."""
    if not one.found:
        dry = turn.agent.settings.forced == "dry_run"
        return Run(one.actor, one.why or one.because, target=one.target, since=turn.now, dry=dry)
    run, policy = again(turn, one.incident, one.found), turn.agent.policies.get(one.policy)
    if run is None or policy is None:
        return None
    match one.found.get("steps"):
        case "overflow":
            run = run._replace(steps=policy.guard.overflow, over=True)
        case "alone":
            run = run._replace(steps=tuple(each for each in policy.then if each.action.name == one.action)[:1])
    if one.step >= len(run.steps) or run.steps[one.step].action.name != one.action:
        return None
    alone = run.steps[one.step].on_error == "continue"  # those behind it did not wait
    return run._replace(at=one.step, steps=run.steps[: one.step + 1] if alone else run.steps)


def deny(turn: Turn, message: Asked) -> None:
    """A person's no: it is not done, and policies leave the target alone for a while."""
    if one := _waiting(turn, message):
        turn.note("denied", {"approval": one.id, "actor": message.actor, "because": message.body["why"]}, incident=one.incident)
        turn.do(Reply(message, {"result": "denied", "approval": one.id}))


def _waiting(turn: Turn, message: Asked) -> Approval | None:
    what = message.body["what"]
    one = turn.agent.state.approvals.all.get(what)
    if one is None or one.over:
        names = ", ".join(each.id for each in turn.agent.state.approvals.waiting[:20]) or "none"
        because = f"{what} is over: {one.over}" if one else f"no approval {what}; waiting: {names}"
        turn.do(Reply(message, {"result": "nothing", "because": because}))
        return None
    return one


def name_of(actor: str) -> str:
    """Who somebody is, however they came: `alice (uid 1000)` and `alice (uid 0)` after sudo are one person."""
    return actor.partition(" (")[0]


# Being used ---------------------------------------------------------------------------------------------------------------


def used(turn: Turn, run: Run, changes: Sequence[Change]) -> Run:
    """The run of an approval, at the moment of the act: its yes is used up, or void where the plan is another one now."""
    one = turn.agent.state.approvals.all.get(run.approval)
    if one is None or one.over:
        return run._replace(approval="")
    if plan_hash(changes) != one.plan:
        _over(turn, one, "what it would do has changed since; the yes was to something else")
        return run._replace(approval="")
    body = {"approval": one.id, "because": f"{' and '.join(one.yes)} said yes", "used": True}
    turn.note("approval_over", body, incident=one.incident)
    return run


def spent(turn: Turn, run: Run, because: str) -> Run:
    """The run of an approval of which nothing comes: there is nothing to do, or a system forbids it."""
    one = turn.agent.state.approvals.all.get(run.approval)
    if one and not one.over:
        _over(turn, one, because)
    return run._replace(approval="")


def expire(turn: Turn) -> None:
    """Nobody's answer in time means no."""
    for one in turn.agent.state.approvals.waiting:
        if one.policy and _digest(turn, one.policy) != one.digest:
            _over(turn, one, "its policy has changed since, is gone or off; it was not done")
        elif one.until <= turn.now:
            _over(turn, one, "nobody said yes in time; it was not done")


def _digest(turn: Turn, name: str) -> str:
    policy = turn.agent.policies.get(name)
    return policy.digest if policy and turn.agent.mode(policy) != "off" else "gone"


def next_due(agent: Agent) -> float:
    """When the next question is over."""
    return min((one.until for one in agent.state.approvals.waiting), default=float("inf"))
