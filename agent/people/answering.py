"""What people answer in another tool, as PagerDuty, where the agent has told them of an incident. Pure.

An acknowledgement there counts here; everything else is a note in the timeline. Above all, resolved there is not resolved here:
nobody there has seen what still holds, and whether it is over is for the agent and for people on this host to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent import gathering
from agent.event import Event
from agent.notifying.thread_key import incident_of
from agent.turn import Turn

LATE: Final = 3600.0
"""Seconds after which an acknowledgement is old: it may be one of before the incident began anew, and is only noted."""
SKEW: Final = 300.0
"""Seconds by which their clock may be behind ours."""
_NOTES: Final[Mapping[str, str]] = {
    "unacknowledged": "it is not acknowledged any more there",
    "assigned": "handed it on{to}",
    "escalated": "escalated it{to}",
    "resolved": "resolved it there; it goes on here until it is over here too",
    "reopened": "opened it again there",
}


def heard(turn: Turn, event: Event) -> None:
    """An answer about one of this host's incidents; one about another host's is for that host's agent."""
    host = turn.agent.settings.host
    name = incident_of(f"containment/{event.get('incident.host')}/{event.get('incident')}", host)
    seen = gathering.picture(turn.agent.state, name) if name else None
    if seen is None:
        return
    who, what = f"{event.get('who')} at {event.get('tool')}", str(event.get("what"))
    if what == "acknowledged":
        _acknowledged(turn, event, seen, who)
    else:
        to = f" to {event.get('to')}" if event.get("to") else ""
        text = str(event.get("text") or "") if what == "noted" else _NOTES.get(what, what).replace("{to}", to)
        _note(turn, event, seen, who, text)


def _acknowledged(turn: Turn, event: Event, seen: gathering.Picture, who: str) -> None:
    at = event.ts or turn.now
    if seen.lead.acked is not None or seen.phase == "closed":
        return
    if turn.now - at > LATE or at < seen.lead.opened - SKEW:
        mend = f"whoever is on it: contain ack {seen.lead.id}"
        _note(turn, event, seen, who, f"acknowledged it, and that came too late to count; {mend}")
    else:
        turn.note("acknowledged", {"actor": who, "because": "", "source": event.source}, incident=seen.lead.id)


def _note(turn: Turn, event: Event, seen: gathering.Picture, who: str, text: str) -> None:
    if text:
        turn.note("noted", {"actor": who, "text": text, "source": event.source, "at": turn.now}, incident=seen.lead.id)
