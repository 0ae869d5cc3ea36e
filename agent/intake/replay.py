"""Signatures that were taken, so that a message that somebody recorded is not taken again while its time stamp still holds."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal

MOST: Final = 100_000

Claimed = Literal["yes", "taken", "under way", "full"]


class Replays:
    """Known for so many seconds. It is not kept over a restart: one message of the last minutes could then be told twice."""

    def __init__(self, lasts: float, clock: Callable[[], float] = time.monotonic) -> None:
        """None is known."""
        self._lasts, self._clock = lasts, clock
        self._taken: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: set[bytes] = set()
        self._lock = threading.Lock()

    def claim(self, signature: bytes) -> Claimed:
        """Reserve it. Whoever gets `yes` must `settle` it."""
        with self._lock:
            now = self._clock()
            while self._taken and now - next(iter(self._taken.values())) > self._lasts:
                self._taken.popitem(last=False)
            if signature in self._taken:
                return "taken"
            if signature in self._under_way:
                return "under way"
            if len(self._taken) + len(self._under_way) >= MOST:
                return "full"
            self._under_way.add(signature)
            return "yes"

    def settle(self, signature: bytes, *, taken: bool) -> None:
        """Its message was taken; or it was not, and may come again."""
        with self._lock:
            self._under_way.discard(signature)
            if taken:
                self._taken[signature] = self._clock()
