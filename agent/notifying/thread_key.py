"""What an incident is called outside: one name for each host's incident, and how to know it again in what comes back. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

LONGEST: Final = 255
"""Characters of a name, as PagerDuty takes them."""
LONGEST_TITLE: Final = 1024
_FIRST: Final = "containment"
_INCIDENT: Final = re.compile(r"[A-Za-z]{1,10}-\d{1,18}", re.ASCII)
_TITLE: Final = re.compile(
    r"(?:\[#\d{1,18}\] )?\[P[0-3] (?P<incident>[A-Za-z]{1,10}-\d{1,18}) on (?P<host>[^\s\[\]]{1,100})\] ", re.ASCII
)


def key_of(host: str, incident: str) -> str:
    """`containment/shop1/INC-7`: the same for ever, and no other host's."""
    return f"{_FIRST}/{_host(host)}/{incident}"


def title_of(host: str, incident: str, severity: str, headline: str) -> str:
    """`[P1 INC-7 on shop1] …`: by this too it is known again, where a tool gives a title back and no key."""
    frame = f"[{severity} {incident} on {_host(host)}] "
    rest, left = headline.removeprefix(f"{severity} "), LONGEST_TITLE - len(frame)
    return frame + (rest if len(rest) <= left else f"{rest[: left - 1]}…")


def incident_of(key: str, host: str) -> str:
    """The incident of this host that a key names; empty where it is another host's, or none of ours."""
    first, _, rest = key.partition("/")
    there, _, incident = rest.rpartition("/")
    return incident if first == _FIRST and there == _host(host) and _INCIDENT.fullmatch(incident) else ""


def is_key(key: str) -> bool:
    """Whether a text is a key, of whatever host."""
    parts = key.split("/")
    return len(key) <= LONGEST and len(parts) == 3 and parts[0] == _FIRST and bool(_INCIDENT.fullmatch(parts[2]))


def key_in(title: str) -> str:
    """The key of the incident whose title this is; empty where it is none of ours."""
    found = _TITLE.match(title)
    return f"{_FIRST}/{found['host']}/{found['incident']}" if found else ""


def _host(host: str) -> str:
    """A host's name as it stands in keys and titles: itself, where it is one; else one made of it."""
    if re.fullmatch(r"[\w.-]{1,100}", host, re.ASCII):
        return host
    return f"host-{sha256(host.encode('utf-8', 'replace')).hexdigest()[:16]}"
