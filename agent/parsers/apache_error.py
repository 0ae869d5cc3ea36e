r"""Apache's error log (2.4): refused names and passwords, and clients that its configuration lets not in.

A line reads `[time] [module:level] [pid n:tid n] [client ip:port] AHnnnnn: message`; what is in front of the message is
Apache's own, and control characters in it are escaped. The numbers are the same in every version and language
(docs/log-message-tags). Keep `ErrorLogFormat` as it is by default. mod_remoteip puts the client behind a proxy into it.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Final

from agent.event import Value
from agent.parsers.nginx_error import AUTH_FAILURE, DENIED
from agent.schema import canonical
from agent.streams.parser import Said, parser

_LINE: Final = re.compile(
    r"\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? \d{4})\] \[[\w-]{1,40}:[a-z0-9]{4,6}\] "
    r"\[pid \d{1,10}(?::tid \d{1,20})?\] \[client (?P<client>[\dA-Fa-f:.\[\]]{2,60})\] (?P<number>AH\d{5}): (?P<rest>.*)"
)
_MESSAGES: Final = {
    "AH01617": "wrong password",  # auth_basic: user %s: authentication failure for "%s": Password Mismatch
    "AH01618": "no such user",  # auth_basic: user %s not found: %s
    "AH01794": "wrong password",  # auth_digest: user %s: password mismatch: %s
    "AH01790": "no such user",  # auth_digest: user `%s' in realm `%s' not found: %s
    "AH01791": "refused",  # auth_digest: user `%s' in realm `%s' denied by provider: %s
    "AH01631": "may not have this",  # authz_core: user %s: authorization failure for "%s":
}
_DENIED: Final = {"AH01630": "by configuration", "AH01797": "by configuration"}
_USER: Final = re.compile(r"user [`']?(.*?)(?:' in realm |: auth|: password | not found: )")
_MOST: Final = 300


@parser(
    kinds=(AUTH_FAILURE, DENIED),
    hint=rb"\] AH01(?:61[78]|79[0147]|63[01]): ",
    longest=16384,
)
class ApacheError:
    """Refused logins and denied clients, from Apache's error log."""

    def read(self, text: str) -> Said | None:
        """One line."""
        found = _LINE.match(text)
        ip = canonical(_address(found["client"])) if found else None
        if not found or not ip:
            return None
        ts, number = _time(found["time"]), found["number"]
        fields: dict[str, Value] = {"src.ip": ip}
        if number in _DENIED:
            return Said(DENIED.name, {**fields, "reason": _DENIED[number]}, ts)
        named = _USER.match(found["rest"])
        if number not in _MESSAGES or not named:
            return None
        return Said(AUTH_FAILURE.name, {**fields, "user": named[1][:_MOST], "reason": _MESSAGES[number]}, ts)


def _address(client: str) -> str:
    """`203.0.113.7:4711`, `2001:db8::7:4711` or `[2001:db8::7]:4711` without the port, which Apache always writes."""
    return client.rpartition(":")[0].strip("[]")


@lru_cache(maxsize=4096)
def _time(stamp: str) -> float:
    """'Mon Nov 23 06:00:01.123456 2026' in this host's zone, as Unix seconds."""
    day, _, year = stamp[4:].rpartition(" ")
    form = "%Y %b %d %H:%M:%S.%f" if "." in day else "%Y %b %d %H:%M:%S"
    try:
        return datetime.strptime(f"{year} {day}", form).timestamp()  # noqa: DTZ007 - local on purpose
    except ValueError:
        return 0.0
