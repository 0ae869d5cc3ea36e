"""What people do at PagerDuty with the agent's own pages: a webhook of version 3 (developer.pagerduty.com, "Webhooks: Overview").

    intake: {senders: {pagerduty: {pagerduty: {}, auth: {hmac_file: …, style: pagerduty}}}}

PagerDuty posts to /in/pagerduty over the internet, so a proxy with a public certificate stands before the intake. Choose a
subscription of the service that is paged, with the events of incidents. Other incidents of that service, other hosts' among them,
and what a program did, as the agent's own acknowledgement that comes back, mean nothing here. An incident is known by its
`incident_key`; where PagerDuty leaves that out (it does for notes, and for incidents of grouped alerts), by its title.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent.event import ANSWERED
from agent.notifying.thread_key import is_key, key_in
from agent.streams.document import Object, list_at, needed, object_at, whole
from agent.streams.fit import text
from agent.streams.parser import Said
from agent.streams.sender import sender
from agent.streams.syslog import exact_time

__all__ = ["ANSWERED", "Pagerduty"]

_WHAT: Final[Mapping[str, str]] = {
    "incident.acknowledged": "acknowledged",
    "incident.unacknowledged": "unacknowledged",
    "incident.annotated": "noted",
    "incident.reassigned": "assigned",
    "incident.delegated": "assigned",
    "incident.escalated": "escalated",
    "incident.resolved": "resolved",
    "incident.reopened": "reopened",
}
_LONGEST: Final = 2000
_SHORT: Final = 255


@sender(kinds=(ANSWERED,))
class Pagerduty:
    """Acknowledgements, notes and the like of people at PagerDuty."""

    def read(self, document: Any) -> list[Said]:
        """The one event of a webhook; nothing where it is none of a person's about an incident of this agent's kind."""
        event = object_at(whole(document), "event")
        what = _WHAT.get(needed(event, "event_type", "event"))
        data, agent = object_at(event, "data", "event"), object_at(event, "agent", "event")
        key = _key(data)
        if what is None or not key or agent.get("type") != "user_reference":
            return []
        _, host, incident = key.split("/")
        fields = {
            "incident": incident,
            "incident.host": host,
            "tool": "PagerDuty",
            "what": what,
            "who": text(agent.get("summary"), _SHORT) or text(agent.get("id"), _SHORT) or "somebody",
            "to": _assignees(data) if what in ("assigned", "escalated") else "",
            "text": text(data.get("content"), _LONGEST) if what == "noted" else "",
        }
        said = {name: value for name, value in fields.items() if value}
        return [Said(ANSWERED.name, said, exact_time(needed(event, "occurred_at", "event")))]


def _key(data: Object) -> str:
    """The key of the incident that it is about; empty where it is none of ours."""
    key = data.get("incident_key")
    if isinstance(key, str) and key:
        return key if is_key(key) else ""
    about = object_at(data, "incident", "event.data") or data
    title = about.get("title") or about.get("summary")
    return key_in(title) if isinstance(title, str) else ""


def _assignees(data: Object) -> str:
    people = list_at(data, "assignees", "event.data") if "assignees" in data else []
    return ", ".join(name for one in people[:5] if isinstance(one, dict) and (name := text(one.get("summary"), _SHORT)))
