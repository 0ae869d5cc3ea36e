"""PostgreSQL's log as JSON: who was refused, what is damaged, and what the server runs out of.

Needs `logging_collector = on` and `log_destination = jsonlog` (PostgreSQL 15 and newer), a `log_filename` without the date in
it, as one file is followed (`postgresql.log` makes `postgresql.json`), and `log_file_mode = 0640` for the agent to read it.
The same entries as CSV are for `postgres_csv`, plain lines with the client's address for `postgres_stderr`. Debian's own lines
have neither that nor the SQLSTATE, so nothing can be made of them: they are left alone.

A line is one JSON object, and every text in it is escaped: no user name can bring a key of its own. What decides is the
SQLSTATE and the severity, since messages are translated. Anybody with a login can raise an error with any SQLSTATE and text
(RAISE … USING ERRCODE), but not a FATAL one, not a PANIC, and not as the postmaster; PL/pgSQL says so in the context.

`remote_host` is the pooler behind a pooler, `[local]` on a unix socket, and a name with `log_hostname = on`: `src.ip` is there
only where it is an address. Leave it off, as it is by default: who owns an address decides what reverse DNS calls it, and may
call it by another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.json_line import loaded, text_at
from agent.streams.parser import Said, parser
from agent.streams.syslog import zoned_time

AUTH_FAILURE: Final = Kind(
    "postgres.auth.failure",
    "PostgreSQL refused a login. Behind a pooler, the address is the pooler's.",
    {"src.ip": "address", "user": "text", "database": "text", "sqlstate": "text", "reason": "text"},
    forgeable=True,
)
CORRUPTION: Final = Kind(
    "postgres.corruption",
    "PostgreSQL read damaged data; a bad checksum is told twice, as WARNING and as ERROR with the place.",
    {
        "severity": "text",
        "sqlstate": "text",
        "database": "text",
        "user": "text",
        "relation": "text",
        "block": "integer",
        "message": "text",
    },
    forgeable=True,
)
DISK_FULL: Final = Kind(
    "postgres.disk_full",
    "PostgreSQL could not write, because a disk is full; the next checkpoint may stop the server.",
    {"severity": "text", "database": "text", "user": "text", "message": "text"},
    forgeable=True,
)
PANIC: Final = Kind(
    "postgres.panic",
    "The server stopped itself, or one of its processes was killed and all sessions were ended.",
    {"severity": "text", "sqlstate": "text", "signal": "integer", "message": "text"},
)
CONNECTIONS_FULL: Final = Kind(
    "postgres.connections_full",
    "A login found no free connection: of the server, or those that its role or database may have.",
    {"src.ip": "address", "user": "text", "database": "text", "message": "text"},
    forgeable=True,
)

_MOST: Final = 300
"""Characters of a message that an event keeps."""
_LONGEST_HEAD: Final = 65536
_REFUSED: Final = (
    (re.compile(r"no pg_hba\.conf entry for "), "no pg_hba.conf line"),
    (re.compile(r"pg_hba\.conf rejects "), "rejected by pg_hba.conf"),
    (re.compile(r'role ".*" does not exist\Z', re.DOTALL), "no such role"),
    (re.compile(r'role ".*" is not permitted to log in\Z', re.DOTALL), "may not log in"),
)
_PLACE: Final = re.compile(r"invalid page in block (\d{1,10}) of relation (\S{1,120})")
_KILLED: Final = re.compile(r"[^()]{3,200} \(PID \d{1,10}\) was terminated by signal (\d{1,3})(?:: .*)?", re.DOTALL)


@parser(
    kinds=(AUTH_FAILURE, CORRUPTION, DISK_FULL, PANIC, CONNECTIONS_FULL),
    hint=rb'"error_severity":"(?:PANIC"|FATAL","state_code":"(?:28P01|28000|53300)|(?:WARNING|ERROR|FATAL)","state_code":"'
    rb'(?:XX00[12]|53100)|LOG","message":"[^()\n]{3,200} \(PID \d{1,10}\) was terminated by signal )',
    longest=262144,
)
class Postgres:
    """Refused logins, damage, a full disk, crashes and used-up connections, from PostgreSQL's JSON log."""

    def read(self, text: str) -> Said | None:
        """One line. The statement, which may be huge, comes after all that is wanted, and is not read."""
        head, cut, _ = text.partition(',"statement":"')
        if len(head) > _LONGEST_HEAD:
            return None
        return entry(loaded(f"{head}}}" if cut else head))


def entry(line: Mapping[str, Any]) -> Said | None:
    """What one entry of the log means, with its parts under the names that they have in the JSON log."""
    severity, sqlstate = text_at(line, "error_severity"), text_at(line, "state_code")
    said = _read(line, severity, sqlstate) if _is_the_servers_own(line) else None
    return said and said._replace(ts=zoned_time(text_at(line, "timestamp", 60)))


def _read(line: Mapping[str, Any], severity: str, sqlstate: str) -> Said | None:
    message = text_at(line, "message")
    if severity == "PANIC":
        return Said(PANIC.name, {"severity": severity, "sqlstate": sqlstate, "message": message[:_MOST]})
    if severity == "LOG":
        return _killed(line, message)
    if severity == "FATAL" and sqlstate in ("28P01", "28000"):
        return Said(AUTH_FAILURE.name, {**_who(line), "sqlstate": sqlstate, "reason": _reason(line, sqlstate, message)})
    if severity == "FATAL" and sqlstate == "53300":
        return Said(CONNECTIONS_FULL.name, {**_who(line), "message": message[:_MOST]})
    session = {
        "severity": severity,
        "database": text_at(line, "dbname"),
        "user": text_at(line, "user"),
        "message": message[:_MOST],
    }
    if sqlstate == "53100":
        return Said(DISK_FULL.name, session)
    if sqlstate in ("XX001", "XX002"):
        return Said(CORRUPTION.name, {**session, "sqlstate": sqlstate, **_place(message)})
    return None


def _is_the_servers_own(line: Mapping[str, Any]) -> bool:
    """Whether the server said it, and not somebody's RAISE, whose line of the context comes first."""
    return not text_at(line, "context").partition("\n")[0].endswith(" RAISE")


def _who(line: Mapping[str, Any]) -> dict[str, Value]:
    ip = canonical(text_at(line, "remote_host", 46))
    address: dict[str, Value] = {"src.ip": ip} if ip else {}
    return {**address, "user": text_at(line, "user"), "database": text_at(line, "dbname")}


def _reason(line: Mapping[str, Any], sqlstate: str, message: str) -> str:
    """For people, in our words. Clients hear the same for a wrong password and an unknown role; the detail tells them apart."""
    if sqlstate == "28P01":
        unknown = f'Role "{text_at(line, "user")}" does not exist.'
        return "no such role" if text_at(line, "detail").startswith(unknown) else "wrong password"
    return next((reason for form, reason in _REFUSED if form.match(message)), "not authenticated")


def _place(message: str) -> dict[str, Value]:
    found = _PLACE.match(message)
    return {"block": int(found[1]), "relation": found[2]} if found else {}


def _killed(line: Mapping[str, Any], message: str) -> Said | None:
    found = _KILLED.fullmatch(message)
    if found is None or text_at(line, "backend_type") != "postmaster":
        return None
    return Said(PANIC.name, {"severity": "LOG", "sqlstate": "", "signal": int(found[1]), "message": message[:_MOST]})
