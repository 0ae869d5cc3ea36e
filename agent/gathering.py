"""Which incidents people see as one: the first is the lead, and the others are told with it. Pure.

Thirty addresses that guess passwords are thirty incidents, each with its own mitigations and end, and one thing for whoever is
woken by it: one message, one acknowledgement, one report. Nothing here decides what is contained.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from agent.event import Event
from agent.incident import Incident, Phase
from agent.policy import Class, Policy, Severity
from agent.state import State
from agent.turn import Turn
from agent.watching.watch import Hit

LONGEST: Final = 86400.0
"""Seconds after its own beginning in which others are still told with a lead."""
AGAIN: Final = 86400.0
"""Seconds after it was resolved, beside its policy's `watch`, in which an incident goes on when its finding comes again."""
_WORST: Final[tuple[Phase, ...]] = ("open", "contained", "recovering", "resolved", "closed")


class Picture(NamedTuple):
    """A lead and all that are told with it, as one. Times are Unix seconds; `many` are all targets there ever were.

    `contained` is since when all of it is; None while something is open.
    """

    lead: Incident
    members: tuple[Incident, ...]
    phase: Phase
    severity: Severity
    targets: tuple[str, ...]
    many: int
    contained: float | None
    resolved: float | None

    @property
    def all(self) -> tuple[Incident, ...]:
        """The lead and its members."""
        return (self.lead, *self.members)

    @property
    def about(self) -> Class:
        """What it is about."""
        return self.lead.about


def lead_of(state: State, name: str) -> Incident | None:
    """The incident that people see this one as; None where nothing is known of it."""
    one = state.incidents.get(name)
    return state.incidents.get(one.lead, one) if one and one.lead else one


def members(state: State, lead: str) -> Iterator[Incident]:
    """Those that are told with it and still at hand, the oldest first."""
    return (one for name in state.gathered.get(lead, ()) if (one := state.incidents.get(name)))


def picture(state: State, name: str) -> Picture | None:
    """All that people see as one with this incident; None where nothing is known of it."""
    lead = lead_of(state, name)
    if lead is None:
        return None
    with_it = tuple(members(state, lead.id))
    everyone = (lead, *with_it)
    phase = min((one.phase for one in everyone), key=_WORST.index)
    if lead.phase == "closed" and all(one.over for one in everyone):
        phase = "closed"
    contained = resolved = None
    if phase != "open":
        contained = max((one.contained for one in everyone if one.contained is not None), default=None)
    if phase in ("resolved", "closed"):
        resolved = max((one.resolved for one in everyone if one.resolved is not None), default=None)
    targets = tuple(dict.fromkeys(one.target for one in everyone))
    severity = min(one.severity for one in everyone if not one.over or phase in ("resolved", "closed"))
    return Picture(lead, with_it, phase, severity, targets, lead.joined + 1, contained, resolved)


# At a finding -------------------------------------------------------------------------------------------------------------


def patience(policy: Policy | None) -> float:
    """Seconds after its end in which an incident goes on when its finding comes again; then it closes itself at P2 and P3."""
    watch = policy.recover.watch if policy else None
    return AGAIN + (watch.total_seconds() if watch else 0.0)


def goes_on(policy: Policy, one: Incident | None, now: float) -> bool:
    """Whether a finding about its target is part of this incident, and not of a new one behind it."""
    if one is None or one.phase == "closed":
        return False
    return one.phase != "resolved" or one.resolved is None or now - one.resolved <= patience(policy)


def named(turn: Turn, hit: Hit, target: str) -> tuple[str, dict[str, Any]]:
    """The incident of a finding, and what its record says of it where the finding opens it."""
    state = turn.agent.state
    known = state.incident_for(hit.policy.name, target)
    if known and goes_on(hit.policy, known, turn.now):
        return known.id, {}
    return f"INC-{state.last_incident + 1}", _opening(turn, hit, known)


def _opening(turn: Turn, hit: Hit, before: Incident | None) -> dict[str, Any]:
    policy = hit.policy
    group = _group(policy, hit.event)
    lead = _lead(turn, policy, group)
    said = [one.ts or one.seen for one in hit.evidence or (hit.event,)]
    body: dict[str, Any] = {"about": policy.gathering.about, "began": min((*said, turn.now)), "group": group, "lead": lead}
    told = {"impact": list(policy.gathering.impact), "regimes": list(policy.gathering.regimes)}
    body |= {name: value for name, value in told.items() if value}  # for the report
    return {**body, "before": before.id} if before else body


def _group(policy: Policy, event: Event) -> str:
    how = policy.gathering
    if how.alone:
        return ""
    values = [(name, event.get(name)) for name in how.by]
    if not values or any(value in (None, "") for _, value in values):
        return policy.name
    return ", ".join(f"{name} {value}" for name, value in values)


def _lead(turn: Turn, policy: Policy, group: str) -> str:
    """The lead that a new incident is told with; empty where it is one itself."""
    state, window = turn.agent.state, policy.gathering.window.total_seconds()
    if group and (one := lead_of(state, state.leads.get(group, ""))) and _takes(state, one, turn.now, window):
        return one.id
    for other in turn.agent.policies.values():
        if policy.name in other.gathering.inhibits:
            one = lead_of(state, state.leads.get(other.name, ""))
            if one and not _over(state, one):
                return one.id
    return ""


def _takes(state: State, lead: Incident, now: float, window: float) -> bool:
    latest = max(lead.last, lead.joined_at or 0.0)
    if lead.lead or lead.closed or now - latest > window or now - lead.opened > LONGEST:
        return False
    return not _over(state, lead)


def _over(state: State, lead: Incident) -> bool:
    newest = (state.incidents.get(name) for name in reversed(state.gathered.get(lead.id, ())))
    return lead.over and all(one.over for one in newest if one)
