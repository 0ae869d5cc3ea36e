"""Postfix's server: refused names and passwords, and mail that was refused, through syslog or the journal.

The client, `name[address]` (with `:port` where smtpd_client_port_logging is on), stands before all that is its own text, and
Postfix writes `?` for what is no printable character. Its name is what its reverse DNS says, and never looked at.
"""

from __future__ import annotations

import re
from typing import Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.parser import Said, parser

AUTH_FAILURE: Final = Kind(
    "auth.mail.failure",
    "A mail server refused a user's name or password; `service` is smtp, imap, pop3, submission or sieve.",
    {"src.ip": "address", "user": "text", "method": "text", "service": "text"},
    forgeable=True,
)
REJECTED: Final = Kind(
    "mail.rejected",
    "Postfix refused a client's mail or command, or hung up on it. Codes of 400 to 499 tell an honest client to try again later.",
    {"src.ip": "address", "stage": "text", "code": "integer", "reason": "text"},
    forgeable=True,
)

_MOST: Final = 300
_CLIENT: Final = r"[\w.-]{0,255}\[(?P<ip>[\dA-Fa-f:.]{2,45})\](?::\d{1,5})?"
_SASL: Final = re.compile(rf"warning: {_CLIENT}: SASL (?P<method>[\w-]{{1,40}}) authentication failed: (?P<why>.*)")
_OUR_TROUBLE: Final = ("Connection lost to authentication server", "generic failure", "Temporary authentication failure")
_REJECT: Final = re.compile(
    rf"\w{{4,16}}: (?:milter-)?reject: (?P<stage>[A-Z-]{{2,24}}) from {_CLIENT}: "
    r"(?:(?P<code>\d{3}) )?(?:\d\.\d{1,3}\.\d{1,3} )?(?P<why>.*)"
)
_ERRORS: Final = re.compile(rf"(?P<why>too many errors) after (?P<stage>[\w-]{{1,40}})(?: \(\d{{1,12}} bytes\))? from {_CLIENT}")
_RATE: Final = re.compile(rf"warning: (?P<why>[A-Za-z ]{{5,60}} limit exceeded): \d{{1,9}} from {_CLIENT} for service \S{{1,60}}")


@parser(
    kinds=(AUTH_FAILURE, REJECTED),
    programs=(
        "postfix/smtpd", "postfix/submission/smtpd", "postfix/submissions/smtpd", "postfix/smtps/smtpd", "postfix/postscreen",
    ),
    units=("postfix.service", "postfix@-.service"),
    hint=rb"\]: (?:warning: |too many errors |NOQUEUE: |\w{4,16}: (?:milter-)?reject: )",
)  # fmt: skip
class Postfix:
    """Refused passwords, rejected mail, and clients with too many errors, from Postfix's smtpd and postscreen."""

    def read(self, text: str) -> Said | None:
        """One message without its syslog head."""
        if found := _SASL.match(text):
            why, _, user = found["why"].partition(", sasl_username=")
            if why.startswith(_OUR_TROUBLE):
                return None
            return _said(AUTH_FAILURE, found, user=user[:_MOST], method=found["method"], service="smtp")
        if found := _REJECT.match(text):
            reason = found["why"].partition("; from=<")[0].rpartition(">: ")[2]
            code: dict[str, Value] = {"code": int(found["code"])} if found["code"] else {}  # a milter gives none
            return _said(REJECTED, found, stage=found["stage"], **code, reason=reason[:_MOST])
        if found := _ERRORS.match(text):
            return _said(REJECTED, found, stage=found["stage"], code=421, reason=found["why"])
        if found := _RATE.match(text):
            return _said(REJECTED, found, stage="", code=421, reason=found["why"])
        return None


def _said(kind: Kind, found: re.Match[str], **more: Value) -> Said | None:
    ip = canonical(found["ip"])
    return Said(kind.name, {"src.ip": ip, **more}) if ip else None
