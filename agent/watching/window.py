"""Exact and bounded windows: how often, how many different, how many of the last, how long. Pure.

`count >= 8 in 2m` needs only the last eight times of a key: it holds when the oldest of them is young enough. So a window
is exact whatever the rate, and a key costs a float until it is seen twice (135 to 250 bytes; a deque would cost 982).
A stranger chooses how many keys there are, so each window forgets those longest untouched beyond a fixed number, and counts them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any, Final

from agent.event import Value
from agent.policy import Count, Distinct, Held, Of
from agent.policy import Window as Condition
from agent.schema import rough, spell
from agent.watching.keyed import Keyed

Key = Value | tuple[Value, ...]

MOST_KEYS: Final = 100_000
"""Keys per window."""
MOST_TIMES: Final = 1_000_000
"""Times, or values, per window: `>= 1000 in 1m` follows fewer keys than `>= 8 in 2m`."""


class Window(ABC):
    """How a condition stands for each key. `lacks` gets what one event says; `now` never goes back (watch.py sees to that)."""

    __slots__ = ("kept", "span")

    kept: Keyed[Any]
    span: float
    """How many seconds back an event can matter."""

    @abstractmethod
    def lacks(self, key: Key, sample: Value, now: float) -> int:
        """Count in one sample, and answer how many more it takes at least until the condition holds; 0: it holds with this one.

        `sample` is the field's value for `distinct`, and whether the part's answer was true for `for:`.
        """

    def take(self, key: Key, sample: Value, now: float) -> bool:
        """The same, where only whether it holds is asked for."""
        return self.lacks(key, sample, now) == 0

    @abstractmethod
    def fill(self, key: Key, now: float) -> str:
        """How full the window is, for people: `3 of 8 in 2m`."""

    @abstractmethod
    def told(self, kind: str, key: Key, now: float) -> str:
        """What made the condition hold, as the middle of a sentence: `8 × auth.ssh.failure{} in 74 s`, {} for the key's words."""


class CountWindow(Window):
    """`>= 8 in 2m`. Kept per key: the time of the only event so far, then a list of the last `least` times."""

    __slots__ = ("condition", "least")

    kept: Keyed[float | list[float]]

    def __init__(self, condition: Count, most: int = MOST_KEYS) -> None:
        """Start empty, with room for `most` keys."""
        self.condition, self.least, self.span = condition, condition.least, condition.span.total_seconds()
        self.kept = Keyed(min(most, MOST_TIMES // condition.least), self.span)

    def lacks(self, key: Key, sample: Value, now: float) -> int:  # noqa: ARG002 - an event counts whatever it says
        """Count in one event."""
        times = self.kept.young.get(key)  # nearly always there; the call of `find` would cost as much as the rest
        if times is None and (times := self.kept.find(key, now)) is None:
            self.kept.put(key, now, now)
            return max(0, self.least - 1)
        if not isinstance(times, list):
            times = self.kept.young[key] = [times]
        times.append(now)
        if len(times) > self.least:
            del times[0]
        return self.least - len(times) or (0 if times[0] >= now - self.span else 1)

    def fill(self, key: Key, now: float) -> str:
        """`3 of 8 in 2m`."""
        return f"{len(self._within(key, now))} of {self.least} in {spell(self.condition.span)}"

    def told(self, kind: str, key: Key, now: float) -> str:
        """`8 × auth.ssh.failure{} in 1 min 14 s (>= 8 in 2m)`."""
        times = self._within(key, now)
        return f"{len(times)} × {kind}{{}} in {lasted(times[-1] - times[0])} ({self.condition})"

    def _within(self, key: Key, now: float) -> list[float]:
        kept = self.kept.peek(key)
        times = kept if isinstance(kept, list) else [] if kept is None else [kept]
        return [one for one in times if one >= now - self.span]


class DistinctWindow(Window):
    """`user >= 5 in 1h`. Kept per key: the only value so far with its time, then the last `least` values by their last times."""

    __slots__ = ("condition", "least")

    kept: Keyed[tuple[Value, float] | dict[Value, float]]

    def __init__(self, condition: Distinct, most: int = MOST_KEYS) -> None:
        """Start empty, with room for `most` keys."""
        self.condition, self.least, self.span = condition, condition.least, condition.span.total_seconds()
        self.kept = Keyed(min(most, MOST_TIMES // (2 * condition.least)), self.span)

    def lacks(self, key: Key, sample: Value, now: float) -> int:
        """Count in one value; an event without one says nothing."""
        if sample is None:
            return max(1, self.least)
        values = self.kept.young.get(key)  # as above
        if values is None and (values := self.kept.find(key, now)) is None:
            self.kept.put(key, (sample, now), now)
            return max(0, self.least - 1)
        if isinstance(values, tuple):
            if values[0] == sample:
                self.kept.young[key] = (sample, now)
                return max(0, self.least - 1)
            values = self.kept.young[key] = {values[0]: values[1]}
        values.pop(sample, None)  # so that the dict stays in the order of the last times
        values[sample] = now
        if len(values) > self.least:
            del values[next(iter(values))]
        return self.least - len(values) or (0 if next(iter(values.values())) >= now - self.span else 1)

    def fill(self, key: Key, now: float) -> str:
        """`2 of 5 user in 1h`."""
        return f"{len(self._within(key, now))} of {self.least} {self.condition.field} in {spell(self.condition.span)}"

    def told(self, kind: str, key: Key, now: float) -> str:
        """`5 different user in auth.ssh.failure{} in 40 min (user >= 5 in 1h)`."""
        times = self._within(key, now)
        took = lasted(times[-1] - times[0])
        return f"{len(times)} different {self.condition.field} in {kind}{{}} in {took} ({self.condition})"

    def _within(self, key: Key, now: float) -> list[float]:
        kept = self.kept.peek(key)
        times = [kept[1]] if isinstance(kept, tuple) else list((kept or {}).values())
        return [one for one in times if one >= now - self.span]


class OfWindow(Window):
    """`3 of 5`. Kept per key: the last answers as the bits of one number, and nothing for a key whose answers are all false."""

    __slots__ = ("condition", "mask")

    kept: Keyed[int]

    def __init__(self, condition: Of, most: int = MOST_KEYS) -> None:
        """Start empty, with room for `most` keys."""
        self.condition, self.mask = condition, (1 << condition.last) - 1
        self.span = condition.last * 60.0  # most state events come at least once a minute
        self.kept = Keyed(most)

    def lacks(self, key: Key, sample: Value, now: float) -> int:
        """Count in one answer. A false one never makes the condition hold, whatever was before it."""
        before = self.kept.find(key, now)
        if before is None:
            if sample:
                self.kept.put(key, 1, now)
            return max(0 if sample else 1, self.condition.least - 1)
        answers = (before << 1 | bool(sample)) & self.mask
        if not answers:
            self.kept.drop(key)
            return self.condition.least
        self.kept.young[key] = answers
        return max(0 if sample else 1, self.condition.least - answers.bit_count())

    def fill(self, key: Key, now: float) -> str:  # noqa: ARG002 - answers have an order, not an age
        """`true in 2 of the last 5, 3 of 5 wanted`."""
        return f"true in {self._true(key)} of the last {self.condition.last}, {self.condition} wanted"

    def told(self, kind: str, key: Key, now: float) -> str:  # noqa: ARG002 - answers have an order, not an age
        """`true in 3 of the last 5 × check{} (3 of 5)`."""
        return f"true in {self._true(key)} of the last {self.condition.last} × {kind}{{}} ({self.condition})"

    def _true(self, key: Key) -> int:
        return (self.kept.peek(key) or 0).bit_count()


class HeldWindow(Window):
    """`2m`. Kept per key: since when every answer was true."""

    __slots__ = ("condition",)

    kept: Keyed[float]

    def __init__(self, condition: Held, most: int = MOST_KEYS) -> None:
        """Start empty, with room for `most` keys."""
        self.condition, self.span = condition, condition.span.total_seconds()
        self.kept = Keyed(most)

    def lacks(self, key: Key, sample: Value, now: float) -> int:
        """Count in one answer; a false one starts the time anew."""
        if not sample:
            self.kept.drop(key)
            return 1
        since = self.kept.find(key, now)
        if since is None:
            since = now
            self.kept.put(key, since, now)
        return 0 if now - since >= self.span else 1

    def fill(self, key: Key, now: float) -> str:
        """`true for 40 s, 2m wanted`."""
        since = self.kept.peek(key)
        return (
            f"true for {lasted(now - since)}, {self.condition} wanted"
            if since is not None
            else f"not true now, {self.condition} wanted"
        )

    def told(self, kind: str, key: Key, now: float) -> str:
        """`true in every check{} for 2 min 10 s (2m)`."""
        since = self.kept.peek(key)
        return f"true in every {kind}{{}} for {lasted(now - (now if since is None else since))} ({self.condition})"


_MADE_OF: Final[dict[type[Any], type[Any]]] = {Count: CountWindow, Distinct: DistinctWindow, Of: OfWindow, Held: HeldWindow}


def window(condition: Condition, most: int = MOST_KEYS) -> Window:
    """The window that a part's condition asks for, empty."""
    made: Window = _MADE_OF[type(condition)](condition, most)
    return made


def lasted(seconds: float) -> str:
    """A time that has passed, for people."""
    return rough(timedelta(seconds=seconds))
