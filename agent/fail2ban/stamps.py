"""The time that a date in a line means, as Unix seconds. A year that is not written is this one, or the last."""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from agent.fail2ban.dates import ABBREVIATED, MONTHS
from agent.fail2ban.detector import Found

_DAY: Final = 86400.0
_NO_OFFSET: Final = ("Z", "UTC", "GMT")


def when(found: Found, now: float) -> float:
    """Unix seconds; 0 where it is no time, or is in a zone that has only a name: those mean several."""
    match, template = found
    try:
        if template.epoch:
            return _epoch(match[template.epoch])
        if template.tai:
            return float(int(match[1][2:17], 16))
        return _read({name: text for name, text in match.groupdict().items() if text}, now)
    except (ValueError, OverflowError):
        return 0.0


def _epoch(text: str) -> float:
    digits = len(text.partition(".")[0])
    return float(text) / (1e6 if digits >= 16 else 1e3 if digits >= 13 else 1)


def _read(parts: Mapping[str, str], now: float) -> float:
    here = datetime.fromtimestamp(now)  # noqa: DTZ006 - logs are in local time where they do not say otherwise
    offset = _offset(parts.get("z") or parts.get("Z") or "")
    year = int(parts["Y"]) if "Y" in parts else 2000 + int(parts["y"]) if "y" in parts else here.year
    month, day = _day(parts, here)
    minute, second = int(parts.get("M", 0)), min(59, int(parts.get("S", 0)))
    found = datetime(year, month, day, _hour(parts), minute, second) - timedelta(minutes=offset or 0)  # noqa: DTZ001 - as above
    if found > here + timedelta(days=1) and not {"Y", "y"} & parts.keys():
        found = found.replace(year=found.year - 1)
    seconds = float(calendar.timegm(found.timetuple())) if offset is not None else time.mktime(found.timetuple())
    return seconds - _DAY if not {"m", "b", "B", "j"} & parts.keys() and seconds > now + _DAY / 24 else seconds


def _day(parts: Mapping[str, str], here: datetime) -> tuple[int, int]:
    if "j" in parts:
        of_year = datetime(int(parts.get("Y", here.year)), 1, 1) + timedelta(days=int(parts["j"]) - 1)  # noqa: DTZ001
        return of_year.month, of_year.day
    month = here.month
    if "m" in parts:
        month = int(parts["m"])
    elif "b" in parts:
        month = ABBREVIATED.index(parts["b"].lower()) + 1
    elif "B" in parts:
        month = MONTHS.index(parts["B"].lower()) + 1
    return month, int(parts.get("d", here.day))


def _hour(parts: Mapping[str, str]) -> int:
    if "I" not in parts:
        return int(parts.get("H", 0))
    return int(parts["I"]) % 12 + (12 if parts.get("p", "").lower() == "pm" else 0)


def _offset(zone: str) -> int | None:
    """Minutes from UTC; None where nothing is said.

    Raises:
        ValueError: the zone is a name.
    """
    if not zone:
        return None
    if zone in _NO_OFFSET:
        return 0
    sign, digits = zone[0], zone[1:].replace(":", "")
    if sign not in "+-":
        raise ValueError(zone)
    return (1 if sign == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:] or 0))
