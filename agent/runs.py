"""A finding's run through its policy's steps: begun, or taken up again from what the journal knows of the finding. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.event import Event
from agent.messages import Run
from agent.policy import Policy, Step
from agent.turn import Turn, aim
from agent.watching.watch import Hit


def begun(turn: Turn, policy: Policy, incident: str, target: str, because: str) -> Run:
    """The run of a finding, at its first step; steps that wait (`after`) are not in it."""
    dry = turn.agent.mode(policy) == "dry_run"
    pauses = () if dry else turn.agent.state.pauses.holding(policy.name)
    return Run(
        actor=f"policy {policy.name}",
        because=because,
        steps=at_once(policy),
        incident=incident,
        policy=policy,
        target=target,
        since=turn.now,
        dry=dry or bool(pauses),
        pauses=pauses,
    )


def at_once(policy: Policy) -> tuple[Step, ...]:
    """Its steps that wait for no time."""
    return tuple(one for one in policy.then if one.after is None)


def again(turn: Turn, incident: str, found: Mapping[str, Any]) -> Run | None:
    """The run of a finding of before; None where its policy is gone or off now, which is told."""
    policy = turn.agent.policies.get(found["policy"])
    if policy is None or turn.agent.mode(policy) == "off":
        turn.note("skipped", {"action": "its steps", "because": "the policy is gone or off"}, incident=incident)
        return None
    run = begun(turn, policy, incident, found["target"], found["because"])
    dry = turn.agent.mode(policy) == "dry_run"
    pauses = () if dry else turn.agent.state.pauses.held(policy.name, found["at"])  # not those of now: it may be put off
    run = run._replace(dry=dry or bool(pauses), pauses=pauses)
    event = Event("", turn.now, found["event"], found["source"], forgeable=found.get("forged", False))
    return run._replace(event=event, sources=tuple(found.get("sources", ())), forged=found.get("forged", False))


def told(run: Run, action: Any) -> dict[str, Any]:
    """What records of a run say of the action that it has come to."""
    policy = run.policy.name if run.policy else ""
    return {"policy": policy, "action": action.name, "target": aim(action), "actor": run.actor}


def finding(hit: Hit, target: str, mode: str) -> dict[str, Any]:
    """The record of a finding."""
    policy = hit.policy
    return {
        "policy": policy.name,
        "digest": policy.digest,
        "title": policy.title or policy.name,
        "severity": policy.severity,
        "target": target,
        "because": hit.because,
        "mode": mode,
        "source": hit.event.source,
        "event": hit.event.fields,
        "steps": sum(one.after is None for one in policy.then),
        "later": sum(one.after is not None for one in policy.then),
        "evidence": [one.raw for one in hit.evidence if one.raw],
        "sources": list(sources(hit.evidence, hit.event)),
        "forgeable": forged(hit.evidence, hit.event),
    }


def sources(evidence: Sequence[Event], event: Event) -> tuple[str, ...]:
    """The sources that speak for a finding, each named once: independent of each other is what another stream says."""
    return tuple(dict.fromkeys(one.source for one in (*evidence, event)))


def forged(evidence: Sequence[Event], event: Event) -> bool:
    """Whether a stranger could have written every one of them."""
    return all(one.forgeable for one in evidence or (event,))


def key_of(run: Run) -> tuple[str, str]:
    """The policy and target that it is about; both are a person's words, or empty, for an order."""
    return (run.policy.name if run.policy else "", run.target)
