"""How records change incidents: opened, told with others, acknowledged, assigned, merged, closed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from agent.incident import Incident
from agent.record import Record
from agent.state import KEPT, REMEMBERED, State

URGENT: Final = ("P0", "P1")
"""Severities that only people close."""
_OWN: Final = "agent."
"""How the names of what stands in a policy's place begin (notifying/own.py): there are a handful, with few targets."""


def opened(state: State, record: Record, ts: float) -> None:
    """A finding opened it."""
    body = record.body
    head = (record.incident, body["policy"], body["target"], body["severity"], body["title"], ts, ts, body["because"])
    given = {name: body[name] for name in ("about", "began", "group", "lead", "before") if name in body}
    one = Incident(*head, **given)
    state.incidents[one.id] = one
    state.incident_of[one.policy, one.target] = one.id
    if one.group:
        _lead(state, one.group, one.lead or one.id)
    if one.lead:
        _worse(state, one)
        _join(state, one)


def _worse(state: State, one: Incident) -> None:
    """Who is on something minor has not said to be on something worse that another policy finds."""
    lead = state.incidents.get(one.lead)
    if lead and one.severity < lead.severity and one.policy != lead.policy:
        state.incidents[lead.id] = lead._replace(acked=None, acked_by="")


def again(state: State, one: Incident, ts: float, because: str) -> None:
    """Its finding came once more. Who was on it may be asleep, where all that is told with it was over; else they still are."""
    lead = state.incidents.get(one.lead, one)
    went_on = one.over and any(not each.over for each in _together(state, lead))
    fresh = one.found_again(ts, because)
    state.incidents[one.id] = fresh._replace(acked=one.acked, acked_by=one.acked_by) if went_on else fresh
    if one.over and not went_on and lead.id != one.id:
        state.incidents[lead.id] = lead._replace(acked=None, acked_by="", anew=ts)


def _together(state: State, lead: Incident) -> Iterator[Incident]:
    """The lead, and those that are told with it, the latest first."""
    yield lead
    yield from (one for name in reversed(state.gathered.get(lead.id, ())) if (one := state.incidents.get(name)))


def _lead(state: State, group: str, lead: str) -> None:
    state.leads.pop(group, None)
    state.leads[group] = lead
    if len(state.leads) > REMEMBERED:
        del state.leads[next(iter(state.leads))]
        state.evict("leads")


def _join(state: State, one: Incident) -> None:
    """It is told with its lead from here on, which is as severe as the worst of them.

    Where a person has said how bad that is, one more of the same policy that is no worse than those they knew changes nothing.
    """
    state.gathered.setdefault(one.lead, []).append(one.id)
    if lead := state.incidents.get(one.lead):
        if lead.graded and one.policy == lead.policy and one.severity >= lead.graded:
            one = state.incidents[one.id] = one._replace(severity=lead.severity)
        worst = min(lead.severity, one.severity)
        state.incidents[lead.id] = lead._replace(joined=lead.joined + 1 + one.joined, joined_at=one.opened, severity=worst)


def phase(state: State, record: Record, ts: float) -> bool:
    """It came into another phase, closed together with all that are told with it. Whether it has just come to its end."""
    one = state.incidents.get(record.incident)
    if one is None:
        return False
    moved = one.moved(record.body["phase"], ts)
    if record.body["phase"] == "open" and one.over:
        moved = one.reopened(ts)
    state.incidents[one.id] = moved._replace(false=bool(record.body.get("false"))) if moved.phase == "closed" else moved
    if moved.phase == "closed":
        for name in state.gathered.get(one.id, ()):
            if (member := state.incidents.get(name)) and member.phase == "resolved":
                state.incidents[name] = member.moved("closed", ts)._replace(false=bool(record.body.get("false")))
    return moved.over and not one.over


def _acknowledged(one: Incident, record: Record, ts: float) -> Incident:
    return one._replace(acked=ts, acked_by=record.body["actor"])


def _assigned(one: Incident, record: Record, ts: float) -> Incident:
    """Who is on it knows of it."""
    taken = one if one.acked is not None else one._replace(acked=ts, acked_by=record.body["actor"])
    return taken._replace(assigned=record.body["to"])


def _severity(one: Incident, record: Record, _: float) -> Incident:
    known = min(one.graded or one.severity, record.body.get("was", one.severity))
    return one._replace(severity=record.body["severity"], graded=known)


ACTS: Final[Mapping[str, Callable[[Incident, Record, float], Incident]]] = {
    "acknowledged": _acknowledged,
    "assigned": _assigned,
    "severity": _severity,
}
"""What people say of an incident, by the kind of record."""


def act(state: State, record: Record, ts: float) -> None:
    """Somebody said so."""
    if (one := state.incidents.get(record.incident)) is None:
        return
    state.incidents[one.id] = ACTS[record.kind](one, record, ts)
    if record.kind == "severity":
        for name in state.gathered.get(one.id, ()):
            if member := state.incidents.get(name):
                state.incidents[name] = _severity(member, record, ts)


def merged(state: State, record: Record, _: float) -> None:
    """It is told with another one from here on, and so are those that were told with it."""
    one, into = state.incidents.get(record.incident), record.body["into"]
    if one is None or into not in state.incidents:
        return
    for name in state.gathered.pop(one.id, []):
        if member := state.incidents.get(name):
            state.incidents[name] = member._replace(lead=into)
            state.gathered.setdefault(into, []).append(name)
    state.incidents[one.id] = one._replace(lead=into)
    _join(state, state.incidents[one.id])
    if one.group and state.leads.get(one.group) == one.id:
        _lead(state, one.group, into)


def follow(state: State) -> None:
    """What follows from the incidents that a snapshot holds."""
    for one in sorted(state.incidents.values(), key=lambda one: one.opened):
        if one.lead:
            state.gathered.setdefault(one.lead, []).append(one.id)
        if one.group:
            state.leads[one.group] = one.lead or one.id


def forget(state: State, oldest: str) -> None:
    """Forget one that ended long ago, unless somebody still has to close it, or others are told with it."""
    one = state.incidents.get(oldest)
    if one is None or not one.over:
        return
    if one.policy.startswith(_OWN) and state.incident_of.get((one.policy, one.target)) == one.id:
        state.ended.append(oldest)  # else what it was about would be news again
        return
    waits = one.phase != "closed" and one.severity in URGENT and not one.lead
    if (waits or state.gathered.get(oldest) or state.clocks.running(oldest)) and len(state.ended) < 4 * KEPT:
        state.ended.append(oldest)
        return
    del state.incidents[oldest]
    state.gathered.pop(oldest, None)
    if one.id in (told := state.gathered.get(one.lead, [])):
        told.remove(one.id)
    if state.incident_of.get((one.policy, one.target)) == one.id:
        del state.incident_of[one.policy, one.target]
