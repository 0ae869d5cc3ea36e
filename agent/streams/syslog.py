"""The head of a line in a syslog file: when, which host, which program; and where the message begins.

Both stamps of rsyslog are read: RFC 3164's (no year, local time) and RFC 3339's.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

_HEAD: Final = re.compile(
    r"(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT[\d:.]{8,15}(?:Z|[+-]\d\d:\d\d))) "
    r"\S{1,255} ([\w./-]{1,48})(?:\[\d{1,10}\])?: "
)
_DAY: Final = 86400.0


class Header(NamedTuple):
    """`ts` is Unix seconds, 0 where the stamp is no time. `program` is the tag, which any local user can choose."""

    ts: float
    program: str
    message: str


def split(line: str, seen: float) -> Header | None:
    """Split a line of a syslog file; None where it has no such head."""
    found = _HEAD.match(line)
    if found is None:
        return None
    yearless, full, program = found.groups()
    ts = local_time(yearless, int(seen // _DAY)) if yearless else exact_time(full)
    return Header(ts, program, line[found.end() :])


@lru_cache(maxsize=4096)
def local_time(stamp: str, day: int) -> float:
    """'Nov 23 06:00:01' in this host's zone; of the years that fit, the latest that is not after tomorrow.

    `day` is today, in whole days since 1970. So a December line read in January is last year's.
    """
    for year in (time.gmtime(day * _DAY).tm_year + 1, time.gmtime(day * _DAY).tm_year, time.gmtime(day * _DAY).tm_year - 1):
        try:
            found = datetime.strptime(f"{year} {stamp}", "%Y %b %d %H:%M:%S").timestamp()  # noqa: DTZ007 - local on purpose
        except ValueError:  # no such day, as 29 February in most years
            continue
        if found < (day + 2) * _DAY:
            return found
    return 0.0


@lru_cache(maxsize=4096)
def exact_time(stamp: str) -> float:
    """'2026-11-23T06:00:01.123456+00:00' as Unix seconds."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
