"""PostgreSQL's plain log, where the client's address stands in each line: `log_line_prefix = '%m [%p] %h '` (or `%t`, `%r`,
`[%l]`).

Nothing but that: a name in the prefix (`%u`, `%d`) is the client's own text, and PostgreSQL writes its newlines there as they
are; behind the prefix it puts a tab in front of every further line. So a line with a name in its prefix is not read. Messages
are read in English (`lc_messages = C`), and only those that no session can raise itself. The JSON and CSV logs say more, and
say it safely.
"""

from __future__ import annotations

import re
from typing import Final

from agent.parsers.postgres import AUTH_FAILURE, CONNECTIONS_FULL, entry
from agent.streams.join import Further
from agent.streams.parser import Said, parser

_STAMP: Final = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? [A-Z+-][A-Z0-9:]{1,5}"
_PREFIX: Final = rf"{_STAMP} \[\d{{1,10}}\]:? (?:\[\d{{1,10}}(?:-\d{{1,3}})?\] )?[\w.:\[\]-]{{2,45}}(?:\(\d{{1,5}}\))?:? "
_FATAL: Final = re.compile(
    rf"(?P<timestamp>{_STAMP}) \[\d{{1,10}}\]:? (?:\[\d{{1,10}}(?:-\d{{1,3}})?\] )?"
    r"(?P<remote_host>[\w.:\[\]-]{2,45})(?:\(\d{1,5}\))?:? FATAL:  "
)
_DETAIL: Final = re.compile(rf"{_PREFIX}DETAIL:  ")
_FURTHER: Final = re.compile(rf"\t|{_PREFIX}(?:DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION):  ".encode())

_NAMED: Final = re.compile(r'[A-Za-z]{2,12} authentication failed for user "(?P<user>.*)"', re.DOTALL)
_ROLE: Final = re.compile(r'role "(?P<user>.*)" (?:does not exist|is not permitted to log in)', re.DOTALL)
_HBA: Final = ("no pg_hba.conf entry for host ", "pg_hba.conf rejects connection for host ")
_FULL: Final = ("sorry, too many clients already", "remaining connection slots are reserved for ", "too many connections for ")
_MOST: Final = 4096


@parser(
    kinds=(AUTH_FAILURE, CONNECTIONS_FULL),
    hint=rb"[\w.:\])]:? FATAL:  ",
    longest=16384,
    join=Further(_FURTHER),
)
class PostgresStderr:
    """Refused logins and used-up connections, from PostgreSQL's plain log with `log_line_prefix = '%m [%p] %h '`."""

    def read(self, text: str) -> Said | None:
        """One entry: its line, with the lines of a message's newlines, and its DETAIL."""
        found = _FATAL.match(text)
        if found is None:
            return None
        message, detail = _parts(text[found.end() :][:_MOST])
        line = {**found.groupdict(), "error_severity": "FATAL", "message": message, "detail": detail}
        if message.startswith(_FULL):
            return entry({**line, "state_code": "53300"})
        if message.startswith(_HBA):
            user, _, database = message.partition(', user "')[2].rpartition('", database "')
            return entry({**line, "user": user, "dbname": database.rpartition('", ')[0], "state_code": "28000"})
        named = _NAMED.fullmatch(message) or _ROLE.fullmatch(message)
        if named is None:
            return None
        sqlstate = "28P01" if message.startswith("password ") else "28000"
        return entry({**line, "user": named["user"], "state_code": sqlstate})


def _parts(rest: str) -> tuple[str, str]:
    """The message and its detail, with their own newlines."""
    parts, into = [[""], [""]], 0
    for at, line in enumerate(rest.split("\n")):
        found = _DETAIL.match(line) if at else None
        if found:
            into = 1
            parts[1] = [line[found.end() :]]
        elif at == 0:
            parts[0] = [line]
        elif line.startswith("\t"):
            parts[into].append(line[1:])
        else:
            break  # a hint, or what was cut
    return "\n".join(parts[0]), "\n".join(parts[1])
