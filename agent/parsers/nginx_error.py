"""nginx's error log through syslog: refused passwords, requests over a limit, and clients that may not come in.

    error_log syslog:server=unix:/dev/log,nohostname;      then read the syslog file or the journal, not nginx's own file

nginx writes the newline of a requested `/%0a` into its own error.log as it is (seen with 1.22), so that whoever asks for a
page can write whole lines of his own there, with any client in them. Through syslog a message is one message, and its newlines
are escaped. In nginx's own file, look at the access log instead: refused passwords are requests with status 401, limited ones
with 503 or 429.

The client stands behind texts that are nginx's own or can hold no colon (a user's name ends at one), and before all of the
request's.
"""

from __future__ import annotations

import re
from typing import Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.parser import Said, parser

AUTH_FAILURE: Final = Kind(
    "auth.http.failure",
    "A web server refused a user's name or password.",
    {"src.ip": "address", "user": "text", "reason": "text", "vhost": "text"},
    forgeable=True,
)
LIMITED: Final = Kind(
    "http.limited",
    "A request or connection was over a limit of the web server's and refused; `delayed` says it only had to wait.",
    {"src.ip": "address", "limit": "text", "zone": "text", "delayed": "flag", "vhost": "text"},
    forgeable=True,
)
DENIED: Final = Kind(
    "http.denied",
    "The web server's rules let a client not in, or not to a path.",
    {"src.ip": "address", "reason": "text", "vhost": "text"},
    forgeable=True,
)

_MOST: Final = 300
_STAMP: Final = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[a-z]{4,6}\] \d{1,10}#\d{1,10}: \*\d{1,20} "
_CLIENT: Final = r", client: (?P<ip>[\dA-Fa-f:.]{2,45}), server: (?P<vhost>[^,]{0,253}), request: \""
_USER: Final = re.compile(
    rf'{_STAMP}user "(?P<user>[^:]{{0,2000}})(?P<why>": password mismatch|" was not found in "[^":]{{1,300}}"){_CLIENT}'
)
_LIMIT: Final = re.compile(
    rf"{_STAMP}(?P<how>limiting|delaying) (?P<limit>request|connection)s?(?:, excess: [\d.]{{1,20}})?,?"
    r' by zone "(?P<zone>[^"]{1,100})"'
    rf"{_CLIENT}"
)
_RULE: Final = re.compile(rf"{_STAMP}access forbidden by rule{_CLIENT}")


@parser(
    kinds=(AUTH_FAILURE, LIMITED, DENIED),
    programs=("nginx",),
    units=("nginx.service",),
    hint=rb"nginx: \d{4}/\d\d/\d\d [^\n]{1,60}\*\d{1,20} (?:user \"|limiting |delaying |access forbidden )",
)
class NginxError:
    """Refused passwords and limited or forbidden requests, from nginx's error log through syslog or the journal."""

    def read(self, text: str) -> Said | None:
        """One message without its syslog head."""
        if found := _USER.match(text):
            reason = "wrong password" if found["why"].startswith('":') else "no such user"
            return _said(AUTH_FAILURE, found, user=found["user"][:_MOST], reason=reason)
        if found := _LIMIT.match(text):
            return _said(LIMITED, found, limit=found["limit"], zone=found["zone"], delayed=found["how"] == "delaying")
        if found := _RULE.match(text):
            return _said(DENIED, found, reason="forbidden by rule")
        return None


def _said(kind: Kind, found: re.Match[str], **more: Value) -> Said | None:
    ip = canonical(found["ip"])
    return Said(kind.name, {"src.ip": ip, **more, "vhost": found["vhost"]}) if ip else None
