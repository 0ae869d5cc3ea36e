"""What keeps strangers and lively senders from costing more than their share: buckets, and the memory of all bodies together."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]


class Bucket:
    """So many at once, and so many per second after that."""

    def __init__(self, burst: float, per_second: float, clock: Clock = time.monotonic) -> None:
        """Full."""
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._level, self._at = burst, clock()
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Take one: 0, or the seconds until there is one again."""
        with self._lock:
            now = self._clock()
            self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
            self._at = now
            if self._level < 1:
                return (1 - self._level) / self._per_second
            self._level -= 1
            return 0.0


class Buckets:
    """One bucket for each name that strangers choose, and one for all; those of names not heard of lately are forgotten."""

    MOST: Final = 1_000

    def __init__(self, burst: float, per_second: float, overall: Bucket, clock: Clock = time.monotonic) -> None:
        """No names yet."""
        self._burst, self._per_second, self._overall, self._clock = burst, per_second, overall, clock
        self._each: OrderedDict[str, Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, name: str) -> bool:
        """Whether there is room for one more of this name."""
        with self._lock:
            one = self._each.setdefault(name, Bucket(self._burst, self._per_second, self._clock))
            self._each.move_to_end(name)
            if len(self._each) > self.MOST:
                self._each.popitem(last=False)
        return not one.wait() and not self._overall.wait()


class Budget:
    """Bytes that may be in use at once, of all bodies together."""

    def __init__(self, most: int) -> None:
        """All of it is free."""
        self._free = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Have so many, or none."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give(self, size: int) -> None:
        """They are free again."""
        with self._lock:
            self._free += size
