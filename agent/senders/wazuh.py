"""Wazuh's alerts, as its manager hands them to an integration (documentation.wazuh.com, "Integration with external APIs").

On the manager, as /var/ossec/integrations/custom-containment (root:wazuh, mode 750):

    #!/bin/sh
    # $1: the alert's file, $2: api_key, $3: hook_url
    printf 'Authorization: Bearer %s' "$2" | exec curl -fsS -m 10 --retry 5 -H @- --data-binary "@$1" "$3"

and in /var/ossec/etc/ossec.conf:

    <integration>
      <name>custom-containment</name>
      <hook_url>https://db1.example.com:8443/in/wazuh</hook_url> <api_key>the sender's bearer token</api_key>
      <level>7</level> <alert_format>json</alert_format>
    </integration>

Wazuh reads logs, so whoever can write a log line writes the texts and perhaps the address of an alert: they are forgeable,
although the manager is known. An alert is told once and never resolved; `fingerprint` stays the same where rule, agent and
source do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent.event import FieldType, Kind, Value
from agent.streams.alert_sender import key
from agent.streams.document import Object, object_at, whole, wrong
from agent.streams.fit import fit, text
from agent.streams.parser import Said
from agent.streams.sender import sender
from agent.streams.syslog import exact_time

ALERT: Final = Kind(
    "wazuh.alert",
    "A rule of Wazuh fired on one of its agents. rule.level is 0 to 16; groups and mitre are words with blanks between them.",
    {
        "id": "text",
        "fingerprint": "text",
        "rule.id": "text",
        "rule.level": "integer",
        "rule.description": "text",
        "rule.groups": "text",
        "rule.mitre": "text",
        "agent.id": "text",
        "agent.name": "text",
        "agent.ip": "address",
        "src.ip": "address",
        "src.port": "port",
        "dst.ip": "address",
        "user": "text",
        "src.user": "text",
        "location": "text",
        "message": "text",
    },
    forgeable=True,
)

_LONGER: Final = {"message": 1000}
_MOST_WORDS: Final = 64


@sender(kinds=(ALERT,))
class Wazuh:
    """Alerts of Wazuh's rules, sent by an integration of its manager."""

    def read(self, document: Any) -> list[Said]:
        """One alert."""
        alert = whole(document)
        rule, agent, data = (object_at(alert, name) for name in ("rule", "agent", "data"))
        level, number = fit(rule.get("level"), "integer"), text(rule.get("id"))
        if not isinstance(level, int) or not 0 <= level <= 16:
            raise wrong("rule.level", "a number from 0 to 16", rule.get("level"))
        if not number:
            raise wrong("rule.id", "the rule's number", rule.get("id"))
        given = {**_of(rule, agent, data), "rule.level": level, "rule.id": number}
        given |= {"id": alert.get("id"), "location": alert.get("location"), "message": alert.get("full_log")}
        fields = _fitting(given, ALERT.fields)
        fields["fingerprint"] = key(number, text(agent.get("id")), fields.get("src.ip", ""))
        return [Said(ALERT.name, fields, max(0.0, exact_time(text(alert.get("timestamp"), 40))))]


def _of(rule: Object, agent: Object, data: Object) -> dict[str, Any]:
    return {
        "rule.description": rule.get("description"),
        "rule.groups": _words(rule.get("groups")),
        "rule.mitre": _words(object_at(rule, "mitre", "rule").get("id")),
        "agent.id": agent.get("id"),
        "agent.name": agent.get("name"),
        "agent.ip": agent.get("ip"),  # or the word `any`
        "src.ip": data.get("srcip"),
        "src.port": data.get("srcport"),
        "dst.ip": data.get("dstip"),
        "user": data.get("dstuser"),
        "src.user": data.get("srcuser"),
    }


def _words(given: Any) -> str:
    return " ".join(text(one) for one in given[:_MOST_WORDS]) if isinstance(given, list) else text(given)


def _fitting(given: Mapping[str, Any], types: Mapping[str, FieldType]) -> dict[str, Value]:
    found = {name: fit(value, types[name], _LONGER.get(name, 300)) for name, value in given.items()}
    return {name: value for name, value in found.items() if value is not None}
