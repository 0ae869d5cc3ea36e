"""Documents on their way: from the threads that serve requests to the owner's commit, and word of that back to each of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from agent.event import Event

ROOM: Final = 20_000
"""Events that may wait; a document that finds no room is to come again."""
BATCH: Final = 2_000
"""Events after which a batch takes no further document."""

Came = Literal["kept", "not kept", "closed"]


class Handed:
    """One document that was handed in: its sender, its events, and later what came of it."""

    __slots__ = ("_done", "came", "events", "name")

    def __init__(self, name: str, events: Sequence[Event]) -> None:
        """Nothing came of it yet."""
        self.name, self.events = name, events
        self.came: Came | None = None
        self._done = threading.Event()

    def settle(self, came: Came) -> None:
        """Say what came of it; the first word counts."""
        if self.came is None:
            self.came = came
            self._done.set()

    def wait(self, seconds: float) -> Came | None:
        """What came of it; None where that is not known by then."""
        self._done.wait(seconds)
        return self.came


class Pending:
    """All documents that are on their way. Any thread may hand in; one takes."""

    def __init__(self) -> None:
        """Empty and open."""
        self._waiting: deque[Handed] = deque()
        self._sent: set[Handed] = set()
        self._changed = threading.Condition()
        self._events = 0
        self.closed = False

    def hand_in(self, one: Handed) -> bool:
        """Put it in line; False where there is no room, or nobody takes any more."""
        with self._changed:
            if self.closed or (self._events and self._events + len(one.events) > ROOM):
                return False
            self._events += len(one.events)
            self._waiting.append(one)
            self._changed.notify()
            return True

    def withdraw(self, one: Handed) -> None:
        """Nobody waits for it any more: if it still stands in line, it is not told at all, for its sender will repeat it."""
        with self._changed:
            if one in self._waiting:
                self._waiting.remove(one)
                self._events -= len(one.events)

    def take(self, seconds: float) -> list[Handed]:
        """Wait for the first, and have what is there, up to a batch; empty where none came by then."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self.closed, seconds)
            taken: list[Handed] = []
            while self._waiting and sum(len(one.events) for one in taken) < BATCH:
                taken.append(self._waiting.popleft())
            self._sent.update(taken)
            return taken

    def settle(self, taken: Sequence[Handed], came: Came) -> None:
        """Say what came of them. Called by the owner's thread; it does not block."""
        with self._changed:
            for one in taken:
                if one in self._sent:
                    self._sent.discard(one)
                    self._events -= len(one.events)
                one.settle(came)
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more; what still stands in line is not told."""
        with self._changed:
            self.closed = True
            for one in self._waiting:
                self._events -= len(one.events)
                one.settle("closed")
            self._waiting.clear()
            self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Wait for word of all that is under way; those without it by then are told that we stop."""
        with self._changed:
            self._changed.wait_for(lambda: not self._sent, seconds)
            left = list(self._sent)
        self.settle(left, "closed")
