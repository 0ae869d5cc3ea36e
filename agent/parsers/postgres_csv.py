"""PostgreSQL's log as CSV, for servers before 15, which have no JSON log: the same events.

Needs `logging_collector = on` and `log_destination = csvlog`, a `log_filename` without the date in it (`postgresql.log` makes
`postgresql.csv`), and `log_file_mode = 0640`. An entry goes over as many lines as its texts have; a stranger's newline stands
between quotes, and so never begins an entry (PostgreSQL 15, "Using CSV-Format Log Output").
"""

from __future__ import annotations

import csv
import io
from typing import Final

from agent.parsers.postgres import AUTH_FAILURE, CONNECTIONS_FULL, CORRUPTION, DISK_FULL, PANIC, entry
from agent.streams.join import Quoted
from agent.streams.parser import Said, parser

_NAMES: Final = {
    0: "timestamp", 1: "user", 2: "dbname", 11: "error_severity", 12: "state_code", 13: "message", 14: "detail", 18: "context",
    23: "backend_type",
}  # fmt: skip
_LONGEST_HEAD: Final = 65536
"""Characters that are read: what is longer is so by its statement, behind all that is wanted."""
_CONTEXT_KNOWN: Final = 20
"""Fields up to the statement's beginning. An entry that was cut before it may be anybody's RAISE, which the context would say."""


@parser(
    kinds=(AUTH_FAILURE, CORRUPTION, DISK_FULL, PANIC, CONNECTIONS_FULL),
    hint=rb"[CLGR],(?:28|53|58|XX)| was terminated by signal ",
    longest=262144,
    join=Quoted(),
)
class PostgresCsv:
    """Refused logins, damage, a full disk, crashes and used-up connections, from PostgreSQL's CSV log."""

    def read(self, text: str) -> Said | None:
        """One entry, of one line or more."""
        try:
            fields = next(csv.reader(io.StringIO(text[:_LONGEST_HEAD], newline="")), [])
        except csv.Error:
            return None
        if len(fields) < _CONTEXT_KNOWN:
            return None
        line = {name: fields[at] for at, name in _NAMES.items() if at < len(fields)}
        host, _, port = fields[4].rpartition(":")
        return entry({**line, "remote_host": host if port.isdecimal() else fields[4]})
