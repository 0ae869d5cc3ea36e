"""What is usual: the median of a rate over the last hour, so that a flood is told from a busy site. Pure, and of fixed size.

It is learnt anew after each start and reload: for ten minutes nothing is unusual. A flood of less than half an hour does not
move it; one that lasts longer becomes usual itself, which is why policies name a rate of their own beside it.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 60
"""Minutes that are remembered."""
_LEARNT: Final = 10
"""Minutes after which the median counts."""
_LEAST: Final = 1.0
"""Per second: from nearly nothing everything would be many times as much."""


class Usual:
    """The means of the last sixty minutes of one rate. `now` never goes back."""

    __slots__ = ("_minute", "_minutes", "_sum", "_times")

    def __init__(self) -> None:
        """Nothing is known."""
        self._minutes: deque[float] = deque(maxlen=_HOUR)
        self._minute, self._sum, self._times = 0, 0.0, 0

    def add(self, rate: float, now: float) -> None:
        """Count one sample in."""
        minute = int(now // _MINUTE)
        if minute != self._minute and self._times:
            self._minutes.append(self._sum / self._times)
            self._sum, self._times = 0.0, 0
        self._minute = minute
        self._sum, self._times = self._sum + rate, self._times + 1

    @property
    def median(self) -> float | None:
        """Per second; None until ten minutes were seen."""
        return median(self._minutes) if len(self._minutes) >= _LEARNT else None

    def compare(self, rate: float, now: float) -> dict[str, float]:
        """`usual`, and how many `times` as much this rate is; nothing until that is known. Then the rate is counted in."""
        usual = self.median
        self.add(rate, now)
        return {} if usual is None else {"usual": round(usual, 3), "times": round(rate / max(usual, _LEAST), 2)}
