"""Falco's alerts, from its file with one JSON object a line.

In falco.yaml: `json_output: true`, and `file_output: {enabled: true, filename: /var/log/falco.json}`. On the same host read the
file rather than having Falco send (agent/senders/falco.py): what nobody took is gone.

Which rule, container and process it was comes from the kernel; the texts (command lines, file names) are those of whoever ran
the process. Falco puts into `output_fields` what the rule's output names, and nothing else, so that any field may be missing;
`-pc` adds the container's. What Falco could not find out (`<NA>`, null) is not there.

Written after the published format (falco.org/docs/outputs/channels, "JSON Output") and alerts that others published: Falco
itself was not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha1
from typing import Any, Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.json_line import loaded, part_at, text_at
from agent.streams.parser import Said, parser
from agent.streams.syslog import exact_time

ALERT: Final = Kind(
    "falco.alert",
    "A rule of Falco fired. src.ip is the client of the connection, dst.ip its server: one of them is this host's own.",
    {
        "rule": "text",
        "priority": "text",
        "tags": "text",
        "container.id": "text",
        "container.name": "text",
        "container.image.repository": "text",
        "k8s.ns.name": "text",
        "k8s.pod.name": "text",
        "proc.name": "text",
        "proc.cmdline": "text",
        "proc.pname": "text",
        "user": "text",
        "fd.name": "text",
        "src.ip": "address",
        "dst.ip": "address",
        "hostname": "text",
        "fingerprint": "text",
    },
)
"""`hostname` is where Falco ran; a container of another host is none of ours. `fingerprint` is the same where rule, host,
container, program and file are: Falco tells each time it happens."""

_MOST: Final = 300
"""Characters of a text that an event keeps."""
_TEXTS: Final = (
    "container.name",
    "container.image.repository",
    "k8s.ns.name",
    "k8s.pod.name",
    "proc.name",
    "proc.cmdline",
    "proc.pname",
    "fd.name",
)
_ADDRESSES: Final = {"fd.cip": "src.ip", "fd.sip": "dst.ip"}


@parser(kinds=(ALERT,), hint=rb'"output_fields": ?\{', longest=65536)
class Falco:
    """Alerts of Falco's rules. Outside a container, `container.id` is the empty text."""

    def read(self, text: str) -> Said | None:
        """One line."""
        alert = loaded(text)
        return said(alert) if isinstance(alert.get("output_fields"), dict) else None


def said(alert: Mapping[str, Any]) -> Said | None:
    """One alert, from a line of the file or as Falco sends it; None where it names no rule and priority."""
    rule, priority = text_at(alert, "rule", _MOST), text_at(alert, "priority", _MOST)
    if not rule or not priority:
        return None
    seen = part_at(alert, "output_fields")
    container, hostname = _known(seen, "container.id"), text_at(alert, "hostname", _MOST)
    fields: dict[str, Value] = {
        "rule": rule,
        "priority": priority,
        "user": _known(seen, "user.name"),
        "container.id": "" if container == "host" else container,
        "tags": _tags(alert.get("tags")),
    }
    fields |= {"hostname": hostname} if hostname else {}
    fields |= {name: known for name in _TEXTS if (known := _known(seen, name))}
    fields |= {ours: ip for theirs, ours in _ADDRESSES.items() if (ip := canonical(_known(seen, theirs)))}
    fields["fingerprint"] = _fingerprint(rule, hostname, container, *(_known(seen, name) for name in ("proc.name", "fd.name")))
    return Said(ALERT.name, fields, exact_time(text_at(alert, "time", 40)))


def _tags(given: Any) -> str:
    """Those that are texts: what is nested in them must not be walked through."""
    return " ".join(one for one in given if isinstance(one, str))[:_MOST] if isinstance(given, list) else ""


def _fingerprint(*parts: str) -> str:
    """Sixteen hex digits; no time and no command line is in it, as either would make a repeat another alert."""
    return sha1("\0".join(parts).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:16]


def _known(seen: Mapping[str, Any], name: str) -> str:
    found = text_at(seen, name, _MOST)
    return "" if found == "<NA>" else found
