"""Who was heard at the intake and who was turned away: counted for `contain status`, and looked through for who is overdue."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agent.intake.settings import Inlet
from agent.schema import rough


@dataclass(slots=True)
class OneHeard:
    """One sender. `last` is when a document of it was last taken (Unix seconds); `trouble` why it cannot be let in at all."""

    last: float = 0.0
    documents: int = 0
    events: int = 0
    bad: int = 0
    later: int = 0
    trouble: str = ""


@dataclass
class Heard:
    """All senders. Any thread may ask and tell; `since` is when the intake began to listen."""

    senders: dict[str, OneHeard] = field(default_factory=dict)
    listens: dict[str, str] = field(default_factory=dict)
    """Where it listens → why not, or ''."""
    refused: Counter[str] = field(default_factory=Counter)
    since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, names: Iterable[str], before: Mapping[str, float], now: float) -> None:
        """The intake begins to listen; `before` are the times that were kept from before a restart."""
        with self._lock:
            self.since = now
            for name in names:
                self.senders.setdefault(name, OneHeard(before.get(name, 0.0)))

    def took(self, name: str, events: int, now: float) -> None:
        """A document was taken."""
        with self._lock:
            one = self.senders[name]
            one.last, one.documents, one.events = now, one.documents + 1, one.events + events

    def bad(self, name: str) -> None:
        """A document could not be read."""
        with self._lock:
            self.senders[name].bad += 1

    def later(self, name: str) -> None:
        """A document is to come again."""
        with self._lock:
            self.senders[name].later += 1

    def trouble(self, name: str, why: str) -> None:
        """Why a sender cannot be let in, or '' where it can."""
        with self._lock:
            self.senders[name].trouble = why

    def turned_away(self, reason: str) -> None:
        """Somebody did not show who they are, or was cut off."""
        with self._lock:
            self.refused[reason] += 1

    def position(self) -> Mapping[str, int]:
        """When each was last heard, to be kept over a restart."""
        with self._lock:
            return {name: int(one.last) for name, one in self.senders.items() if one.last}

    def silent(self, name: str, now: float) -> float:
        """Seconds since it was heard, or since the intake listens where that is shorter."""
        with self._lock:
            return max(0.0, now - max(self.senders[name].last, self.since))

    def overdue(self, inlet: Inlet, now: float) -> str:
        """A sentence where a sender should have said something by now."""
        silent = self.silent(inlet.name, now)
        if inlet.expect is None or silent <= inlet.expect.total_seconds():
            return ""
        return f"silent for {rough(timedelta(seconds=silent))}; it is expected to be heard every {rough(inlet.expect)}"

    def status(self, inlets: Iterable[Inlet], now: float) -> dict[str, Any]:
        """For people: where it listens, each sender with when it was last heard, and how many were turned away, by reason."""
        late = {one.name: self.overdue(one, now) for one in inlets}
        with self._lock:
            rows = [
                {
                    "name": one.name,
                    "type": one.sender.name,
                    "last": known.last or None,
                    "documents": known.documents,
                    "events": known.events,
                    "bad": known.bad,
                    "later": known.later,
                    "say": known.trouble or late[one.name],
                }
                for one in inlets
                if (known := self.senders.get(one.name))
            ]
            return {"listens": dict(self.listens), "senders": rows, "refused": dict(self.refused)}
