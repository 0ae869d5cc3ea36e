"""Maintenance windows that come round by the clock on the wall: when one is open, and when it opens next. Pure.

A window opens at its hour of the host's local time and lasts what its two hours say, also in the night in which the clock
is changed: one from 22:30 to 23:30 is an hour long in every night, and none is longer than a day. Where its hour is left out
that night, it opens an hour later; where it comes twice, at the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.grammar.problem import Place

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Window:
    """Opens `begins` minutes after midnight of these days (0 is Monday), for `length` minutes; no policies means all.

    `places` says where agent.yaml names each policy.
    """

    name: str
    begins: int
    length: int
    days: frozenset[int] = frozenset(range(7))
    policies: tuple[str, ...] = ()
    why: str = ""
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)

    def open(self, now: float, zone: tzinfo | None) -> tuple[float, float] | None:
        """From when to when it is open now, in Unix seconds; None while it is shut. No zone means the host's own."""
        today = datetime.fromtimestamp(now, zone).date()
        for day in (today, today - timedelta(days=1)):
            since = self._opens(day, zone)
            if day.weekday() in self.days and since <= now < since + self.length * 60:
                return since, since + self.length * 60
        return None

    def next(self, now: float, zone: tzinfo | None) -> float:
        """When it opens next, after now."""
        today = datetime.fromtimestamp(now, zone).date()
        days = (today + timedelta(days=ahead) for ahead in range(9))
        return min(since for day in days if day.weekday() in self.days and (since := self._opens(day, zone)) > now)

    def _opens(self, day: date, zone: tzinfo | None) -> float:
        hour, minute = divmod(self.begins, 60)
        return datetime.combine(day, time(hour, minute), zone).timestamp()
