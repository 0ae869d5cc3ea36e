"""What people see and no sensor does: a report opens an incident, which stays open until somebody says that it is over. Pure.

A report comes as an order from the control socket or as an event of a sender; both lead here. It is also an event for policies.
What such a policy would do waits for a person's yes, always (judge.py): whoever may report does not thereby act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from agent.event import ANSWERED, REPORT, REPORTED, Event, Value
from agent.incident import Incident
from agent.integrity.kinds import BASELINE
from agent.messages import Asked, Effect, Note, Reply
from agent.people import answering, baselines
from agent.policy import Severity
from agent.recovery import release
from agent.schema import address, spoken
from agent.settle import active
from agent.turn import Turn

PEOPLE: Final = "people"
"""The source of reports that came over the control socket."""
USUAL: Final[Severity] = "P2"
_SEVERITIES: Final[Mapping[Value, Severity]] = {"P0": "P0", "P1": "P1", "P2": "P2", "P3": "P3"}
MOST_OPEN: Final = 200
"""Reports that are open at once; what comes beyond that stands as notes in one incident for each severity."""
MANY: Final = "many reports"
SAME: Final = 3600.0
"""Seconds within which the same report again is one that was repeated: a sender's retry, a key pressed twice."""
LONGEST: Final = 4096
_TITLE: Final = 100


# Heard --------------------------------------------------------------------------------------------------------------------


def heard(turn: Turn, event: Event) -> None:
    """An event that is a report opens its incident, whatever policies make of it; what an order brought has done so."""
    if event.source != PEOPLE:
        _open(turn, event, ())


AT_ONCE: Final[Mapping[str, Callable[[Turn, Event], None]]] = {
    REPORT.name: heard,
    BASELINE.name: baselines.heard,
    ANSWERED.name: answering.heard,
}
"""Kinds of events that are written down whether or not a policy names them."""


def asked(turn: Turn, message: Asked) -> tuple[Event, ...]:
    """Open an incident for a person's report, or add it to one, and say which; the event for policies, unless it is none."""
    body, state = message.body, turn.agent.state
    if not body["text"].strip():
        turn.do(Reply(message, {"result": "usage", "problem": "`text`: it is blank; say what you see"}))
        return ()
    try:
        event = _event(turn, message)
    except ValueError as error:
        turn.do(Reply(message, {"result": "usage", "problem": f"`ip`: {error}"}))
        return ()
    name = body.get("incident")
    if name is None:
        incident, result = _open(turn, event, body.get("files", ()))
        turn.do(Reply(message, {"result": result, "incident": incident.id, **_shown(incident, body)}))
        return (event,) if result != "known" else ()
    one = state.incidents.get(name)
    if one is None or one.over:
        why = f"{name} is {one.phase}; report it anew" if one else f"no incident {name}; see: contain incidents"
        turn.do(Reply(message, {"result": "failed", "error": f"cannot add to an incident: {why}"}))
        return ()
    _add(turn, one, event, body.get("files", ()))
    turn.do(Reply(message, {"result": "added", "incident": one.id, **_shown(one, body)}))
    return (event,)


def _shown(one: Incident, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"severity": one.severity, "target": one.target, "files": list(body.get("files", ()))}


def _event(turn: Turn, message: Asked) -> Event:
    body = message.body
    fields: dict[str, Value] = {"text": body["text"], "severity": body.get("severity", USUAL), "reporter": message.actor}
    fields |= {"service": body["service"]} if body.get("service") else {}
    if "ip" in body:
        network = address(body["ip"])
        if network.num_addresses != 1:
            raise ValueError(f"{body['ip']} is a network; name one address, and the network in the text")
        fields["src.ip"] = spoken(network)
    return Event(REPORT.name, turn.now, fields, PEOPLE, turn.now, body["text"])


def said(effects: Iterable[Effect]) -> list[Event]:
    """The events of the reports among what a turn decided: they are kept for policies' windows like a sensor's."""
    notes = [one.record.body for one in effects if isinstance(one, Note) and one.record.kind in ("finding", "noted")]
    return [
        Event(REPORT.name, one["at"], one["event"], PEOPLE, one["at"], str(one["event"]["text"]))
        for one in notes
        if one.get("source") == PEOPLE and "at" in one
    ]


# An incident --------------------------------------------------------------------------------------------------------------


def _open(turn: Turn, event: Event, files: Sequence[Any]) -> tuple[Incident, str]:
    """The incident of a report, and whether it was opened for it, known already, or is one for many."""
    state = turn.agent.state
    severity = _SEVERITIES.get(event.get("severity"), USUAL)
    target = " ".join(str(value) for name in ("service", "src.ip") if (value := event.get(name))) or turn.agent.settings.host
    because = _because(event)
    reports = [one for one in state.incidents.values() if one.policy == REPORTED and not one.over]
    for one in reports:
        if (one.target, one.because) == (target, because) and turn.now - one.opened < SAME and not files:
            turn.note("noted", {"actor": _who(event), "text": "the same again", "source": event.source}, incident=one.id)
            return one, "known"
    if len(reports) >= MOST_OPEN:
        many = next((one for one in reports if (one.target, one.severity) == (MANY, severity)), None)
        if many is not None:
            return _add(turn, many, event, files), "added"
        target = MANY
    return _opened(turn, event, (target, severity, because), files), "reported"


def _opened(turn: Turn, event: Event, what: tuple[str, Severity, str], files: Sequence[Any]) -> Incident:
    target, severity, because = what
    name = f"INC-{turn.agent.state.last_incident + 1}"
    lines = str(event.get("text") or "").strip().splitlines() or ["a report without a word"]
    body = {
        "policy": REPORTED,
        "digest": "built in",
        "title": lines[0][:_TITLE],
        "severity": severity,
        "target": target,
        "because": because,
        "mode": "enforce",
        "source": event.source,
        "event": event.fields,
        "at": turn.now,
        "steps": 0,
        "later": 0,
        "evidence": [],
        "sources": [event.source],
        "forgeable": False,
    }
    turn.note("finding", body, incident=name)
    _attach(turn, name, files)
    return turn.agent.state.incidents[name]


def _add(turn: Turn, one: Incident, event: Event, files: Sequence[Any]) -> Incident:
    turn.note("noted", _note(turn, event, str(event.get("text") or "")), incident=one.id)
    _attach(turn, one.id, files)
    return turn.agent.state.incidents[one.id]


def _note(turn: Turn, event: Event, text: str) -> dict[str, Any]:
    return {"actor": _who(event), "text": text, "event": event.fields, "source": event.source, "at": turn.now}


def _attach(turn: Turn, incident: str, files: Sequence[Any]) -> None:
    if files:
        turn.note("captured", {"files": list(files)}, incident=incident)


def _who(event: Event) -> str:
    """Who reports it: the kernel's word for an order; else the sender, and whom it names."""
    reporter = str(event.get("reporter") or "")
    if event.source == PEOPLE:
        return reporter
    return f"{reporter} by {event.source}" if reporter else event.source


def _because(event: Event) -> str:
    return f"{_who(event)} reports: {str(event.get('text') or '')[:LONGEST]}"


# Its end --------------------------------------------------------------------------------------------------------------


def unfinished(turn: Turn, one: Incident) -> str:
    """What is still to be done about an incident; empty where nothing is."""
    if held := [each.id for each in active(turn, one)]:
        return f"{', '.join(held[:5])}{' and more' if len(held) > 5 else ''} still hold; first: contain undo {one.id}"
    if waiting := turn.agent.state.approvals.for_incident(one.id):
        return f"{waiting[0].id} waits for a person; first: contain deny {waiting[0].id} --why …"
    if release.held_open(turn.agent, one.id):
        return f"it is being let go step by step; contain undo {one.id} ends that"
    if (one.policy, one.target) in turn.agent.running:
        return f"{one.policy} is at it at this moment; say so again in a few seconds"
    return ""
