"""Whether what an action planned may be done, with the reason: people's wishes, life-lines, a person's yes, limits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agent import crowd
from agent.action import Change
from agent.event import REPORT
from agent.feeds import sparing
from agent.guard import ALLOWED, Verdict, needs_a_person, touches
from agent.loss.degraded import refusal
from agent.messages import Run
from agent.state import finding_of
from agent.turn import Turn, aim

_NOBODY: Mapping[str, Sequence[Any]] = MappingProxyType({})
QUORUM = 2
"""Sources, independent of each other, that must speak for what is destructive, where no person does."""
COOL_OFF = 600.0
"""Seconds for which policies leave a target alone after a person undid what they did: a person knows better, for a while."""


def judge(
    turn: Turn, run: Run, action: Any, changes: Sequence[Change], population: Mapping[str, Sequence[Any]] = _NOBODY
) -> Verdict:
    """What people switched meanwhile, then what is never touched, then whether a person must say yes, then the limits.

    `population` is what there is of each kind, as the system said with its plan.
    """
    agent = turn.agent
    verdict = _wanted(turn, run, action)
    if not verdict.allowed:
        return verdict
    alone = sparing.spared(agent, run.policy) if run.policy else None
    verdict = touches(changes, agent.lifelines, {}, agent.settings.protected, alone)
    if verdict.allowed and not run.approval:
        verdict = _person(turn, run, action)
    if not verdict.allowed or run.below:
        return verdict
    verdict = crowd.allowed(turn, run)
    if not verdict.allowed or run.policy is None:
        return verdict
    for limits, whose in ((run.policy.guard, "this policy"), (agent.settings.limits, "agent.yaml")):
        verdict = crowd.share(turn, limits, changes, population, whose)
        if not verdict.allowed:
            return verdict
    if not run.dry:
        crowd.cut_off(turn, changes)
    return verdict


def lengthens(turn: Turn, run: Run, action: Any) -> Verdict:
    """Whether what is in force already may be made to last longer: that takes no room, and needs the same yes."""
    verdict = _wanted(turn, run, action)
    return _person(turn, run, action) if verdict.allowed else verdict


def _wanted(turn: Turn, run: Run, action: Any) -> Verdict:
    """Whether it is wanted now, whatever was true when it began."""
    if verdict := _withdrawn(turn, run, action):
        return verdict
    because = refusal(turn.agent, run.policy)
    return Verdict(False, because, reason="evidence") if because else ALLOWED


def _withdrawn(turn: Turn, run: Run, action: Any) -> Verdict | None:
    """Why a policy's run may not go on, whatever was true when it began; None while it may."""
    if run.policy is None:
        return None
    live = turn.agent.policies.get(run.policy.name)
    if live is None or turn.agent.mode(live) == "off":
        return Verdict(False, "the policy is gone or off", reason="withdrawn")
    if run.approval or not turn.agent.state.undone:
        return None
    because = left_alone(turn, run.policy.name, run.target, aim(action))
    return Verdict(False, because, reason="undone") if because else None


def _person(turn: Turn, run: Run, action: Any) -> Verdict:
    """Whether a person must say yes first: to what is destructive, and to what rests on words that a stranger could write."""
    step, impact = run.step, action.impact
    if step is None:
        people = turn.agent.settings.approving.people
        if impact != "destructive" or not (run.asked and run.asked.body.get("sure")):
            return needs_a_person(action)
        return ALLOWED if people < 2 else _asks(f"{action.name} is destructive, and agent.yaml wants {people} people for that")
    if run.policy and REPORT.name in run.policy.kinds() and not run.below:
        return _asks("a person's report alone does nothing")
    if step.asks:
        return _asks(f"the policy wants a person's yes for {action.name}")
    if impact == "mild":
        return ALLOWED
    if run.forged:
        return _asks(f"{action.name} is {impact}, and a stranger could have written all that speaks for it")
    if impact == "destructive" and not step.unasked:
        return _asks(f"{action.name} is destructive and waits for a person")
    if impact == "destructive" and len(run.sources) < QUORUM:
        return _asks(f"{action.name} is destructive, and only {' and '.join(run.sources) or 'nobody'} speaks for it")
    return ALLOWED


def _asks(because: str) -> Verdict:
    return Verdict(False, because, ask=True, reason="person")


def left_alone(turn: Turn, policy: str, target: str, *aims: str) -> str:
    """Why a policy keeps off a target for a while, or off what it would act on; empty when it need not."""
    undone = turn.agent.state.undone
    times = (undone.get(one) for one in (finding_of(policy, target), target, *aims)) if undone else ()
    cooling = any(at is not None and turn.now - at < COOL_OFF for at in times)
    return "a person took down what was done about it a few minutes ago" if cooling else ""


def done_before(turn: Turn, run: Run, action: Any) -> bool:
    """Whether a finding from before the start had this done already, by what cannot be taken back: a restart, say."""
    incident = turn.agent.state.incidents.get(run.incident)
    if incident is None or run.since >= turn.agent.started:
        return False
    begun = run.since + (run.step.after.total_seconds() if run.step and run.step.after else 0.0)
    held, same = turn.agent.state.mitigations, (action.name, aim(action))
    ours = [one for name in incident.mitigations if (one := held.get(name)) and (one.action, one.target) == same]
    made = [one for one in ours if one.since >= begun]
    return any(one.change.undo is None for one in made) and all(one.active or one.stage == "done" for one in made)
