"""The head of a line in a syslog file: when, which host, which program; and where the message begins.

Both stamps of rsyslog are read: RFC 3164's (no year, local time) and RFC 3339's.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from functools import lru_cache
from typing import Final

HEAD: Final = re.compile(
    r"(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT[\d:.]{8,15}(?:Z|[+-]\d\d:\d\d))) "
    r"\S{1,255} ([\w./-]{1,48})(?:\[\d{1,10}\])?: "
)
"""The two stamps, and the program: the tag, which any local user can choose."""
_DAY: Final = 86400.0
_AHEAD: Final = 600.0
"""Seconds that another host's clock may be ahead of ours."""


def time_of(head: re.Match[str], seen: float) -> float:
    """When a line says it was written, from what HEAD found in it: Unix seconds, 0 where its stamp is no time."""
    yearless = head[1]
    return local_time(yearless, seen) if yearless else exact_time(head[2])


def local_time(stamp: str, seen: float) -> float:
    """'Nov 23 06:00:01' in this host's zone; of the years that fit, the latest that is not after tomorrow.

    So a December line read in January is last year's. In the hour that comes twice when summer ends, it is the later one that is
    not after `seen`: lines are read as they are written.
    """
    first, second = _both(stamp, int(seen // _DAY))
    return second if first < second <= seen + _AHEAD else first


@lru_cache(maxsize=4096)
def _both(stamp: str, day: int) -> tuple[float, float]:
    """The one or two moments that the stamp can mean, read on a day (whole days since 1970)."""
    year = time.gmtime(day * _DAY).tm_year
    for one in (year + 1, year, year - 1):
        try:
            found = datetime.strptime(f"{one} {stamp}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - local on purpose
        except ValueError:  # no such day, as 29 February in most years
            continue
        if found.timestamp() < (day + 2) * _DAY:
            return found.timestamp(), found.replace(fold=1).timestamp()
    return 0.0, 0.0


@lru_cache(maxsize=4096)
def zoned_time(stamp: str) -> float:
    """'2026-11-23 06:00:01.123 CET' as Unix seconds, where the zone is UTC, an offset, or a name that this host's zone has then.

    Other short names mean several zones (IST, CST): those are 0.
    """
    when, _, zone = stamp.rpartition(" ")
    if zone in ("UTC", "GMT"):
        return exact_time(f"{when}+00:00")
    if zone[:1] in ("+", "-"):
        return exact_time(f"{when}{zone if len(zone) > 3 else f'{zone}:00'}")
    for fold in (0, 1):  # in the hour that comes twice, the names tell which it is
        try:
            local = datetime.fromisoformat(when).replace(fold=fold).astimezone()
        except (ValueError, OverflowError):
            return 0.0
        if local.tzname() == zone:
            return local.timestamp()
    return 0.0


@lru_cache(maxsize=4096)
def exact_time(stamp: str) -> float:
    """'2026-11-23T06:00:01.123456+00:00' as Unix seconds."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
