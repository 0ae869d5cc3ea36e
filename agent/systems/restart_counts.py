"""How often something was started again within a span, from a count that only ever rises until a person starts it."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import timedelta


class RestartCounts:
    """The restart counts that systemd and docker keep, over time, by name or id. May be used by several threads."""

    def __init__(self) -> None:
        """Nothing was seen yet: what came before the first look does not count."""
        self._lock = threading.Lock()
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def note(self, name: str, count: int, span: timedelta) -> int:
        """How far the count rose within the span; it starts from 0 again when a person starts the thing."""
        now = time.monotonic()
        with self._lock:
            seen = self._seen.setdefault(name, deque([(now, count)], maxlen=64))
            if count < seen[-1][1]:
                seen.clear()
            if not seen or count != seen[-1][1]:
                seen.append((now, count))
            before = [old for at, old in seen if at < now - span.total_seconds()]
            return count - (before[-1] if before else seen[0][1])

    def keep(self, names: set[str]) -> None:
        """Forget all but these."""
        with self._lock:
            for gone in self._seen.keys() - names:
                del self._seen[gone]
