"""Dovecot's logins (imap, pop3, submission, managesieve) that failed, through syslog or the journal, as by default.

One line says when a client left how many of its attempts failed (2.3, login_log_format_elements by default). The user's name
is the client's text, in which Dovecot writes `?` for control characters; everything behind its end is Dovecot's own, so the
line is read from there.
"""

from __future__ import annotations

import re
from typing import Final

from agent.parsers.postfix import AUTH_FAILURE
from agent.schema import canonical
from agent.streams.parser import Said, parser

_MOST: Final = 300
_MOST_TIMES: Final = 100
_LEFT: Final = re.compile(
    r"(?P<service>imap|pop3|submission|managesieve|sieve)-login: (?:Info: )?[A-Za-z:' ]{5,90}"
    r"\(auth failed, (?P<times>\d{1,4}) attempts? in \d{1,9} secs\)(?: \(auth_failed\))?: user=<"
)
_METHOD: Final = re.compile(r"(?:, method=([\w-]{0,40}))?")
_FROM: Final = re.compile(r"(?P<ip>[\dA-Fa-f:.]{2,45}), lip=[\dA-Fa-f:.]{2,45}(?:, [^<>]*)?(?:, session=<[\w/+=-]{1,60}>)?")


@parser(
    kinds=(AUTH_FAILURE,),
    programs=("dovecot",),
    units=("dovecot.service",),
    hint=rb"-login: [^\n(]{5,100}\(auth failed, ",
)
class Dovecot:
    """Failed logins to Dovecot's services, each attempt an event."""

    def read(self, text: str) -> Said | None:
        """One message without its syslog head."""
        head, _, tail = text.rpartition(", rip=")
        named, _, method = head.rpartition(">")
        left, how, come = _LEFT.match(named), _METHOD.fullmatch(method), _FROM.fullmatch(tail)
        ip = canonical(come["ip"]) if come else None
        if not left or not how or not ip:
            return None
        service = left["service"].replace("managesieve", "sieve")
        fields = {"src.ip": ip, "user": named[left.end() :][:_MOST], "method": how[1] or "", "service": service}
        return Said(AUTH_FAILURE.name, fields, times=max(1, min(int(left["times"]), _MOST_TIMES)))
