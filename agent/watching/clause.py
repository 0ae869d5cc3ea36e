"""One clause of a policy at work: which events it takes, for whom, and what it says when it holds. Pure.

`OneLive` is a clause of one part; `SequenceLive` is one of several in order, each of them a `OneLive` of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final

from agent.event import Event, Value
from agent.policy import Distinct, Held, Of, Part, Policy, Test
from agent.schema import spell
from agent.watching.keyed import Keyed
from agent.watching.match import Holds, Lists, always, holds, matcher, shown, why
from agent.watching.window import Key, lasted, window

MOST_HALFWAY: Final = 10_000
"""Keys per sequence that wait for their next part; each holds its events."""
EVIDENCE: Final = 5
"""Events shown with a finding."""
LONGEST_KEY: Final = 256
"""Characters of a text that a window tells apart: strangers choose user names and paths."""

Recent = Keyed[list[Event]]


class Live(ABC):
    """What watch.py needs of a clause."""

    stores: tuple[Keyed[Any], ...]
    """Everything that grows with the number of keys."""
    reach: float
    """How many seconds back an event can matter."""

    def __init__(self, policy: Policy, number: int, lists: Lists) -> None:
        """`number` is the clause's place in `when`."""
        self.policy, self.number, self.clause, self.lists = policy, number, policy.when[number], lists
        self.kinds = frozenset(part.event for part in self.clause.parts)
        self.key_of = _key_of(self.clause.by)
        self.unless: list[tuple[Test, Holds]] = [(one, holds(one, lists)) for one in policy.unless]

    @abstractmethod
    def count(self, event: Event, key: Key, now: float) -> bool:
        """Count the event in for a key, which `key_of` gave, and answer whether the clause holds with it."""

    def take(self, event: Event, now: float) -> Key | None:
        """Count the event in, and answer for whom the clause holds with it; None where it does not."""
        key = self.key_of(event)
        return key if key is not None and self.count(event, key, now) else None

    @abstractmethod
    def chosen_by(self, field: str, kind: str) -> frozenset[Value] | None:
        """The values of a field that events of a kind must have to be counted; None where others may count, too."""

    @abstractmethod
    def because(self, key: Key, now: float) -> str:
        """Why it holds, as a sentence."""

    @abstractmethod
    def evidence(self, key: Key, event: Event) -> tuple[Event, ...]:
        """The last events that made it hold, oldest first."""

    @abstractmethod
    def fill(self, key: Key, now: float) -> str:
        """How near it is to holding, for people; empty where one event is enough."""

    def merged(self, key: Key, event: Event) -> Event:  # noqa: ARG002 - a sequence finds its earlier events by the key
        """The event, with the fields of earlier parts that it has not."""
        return event

    def left_alone(self, event: Event) -> str:
        """The line of `unless` that holds, as a sentence; empty where none does."""
        for test, told in self.unless:
            value = event.get(test.field)
            if told(value):
                return f"`unless` holds: {why(test, value, self.lists)}"
        return ""

    def whom(self, key: Key) -> str:
        """For whom it holds: ` from 203.0.113.7`, ` for name shop-http and target /`; empty without `by`."""
        match self.clause.by:
            case ():
                return ""
            case (only,):
                return f" {'from' if only.endswith('.ip') else 'for'} {shown(key)}"
            case several:
                return " for " + " and ".join(f"{f} {shown(v)}" for f, v in zip(several, values_of(several, key), strict=True))


class OneLive(Live):
    """A clause of one part, or one part of a sequence."""

    def __init__(self, policy: Policy, number: int, part: Part, lists: Lists, recent: Recent, most: int) -> None:
        """Start empty, with room for `most` keys. `recent` is where all clauses keep their evidence."""
        super().__init__(policy, number, lists)
        self.which, how = split(part)
        self.part, self.selects, self.sample = part, matcher(self.which, lists), _sample(part, how, lists)
        self.window = window(part.window, most) if part.window else None
        self.stores = (self.window.kept,) if self.window else ()
        self.reach = self.window.span if self.window else 0.0
        self.recent, self.place = recent, id(self)

    def count(self, event: Event, key: Key, now: float) -> bool:
        """Count the event in for a key, and answer whether the part holds with it. This runs for every event and policy."""
        if not (self.selects is always or self.selects(event)):
            return False
        if self.window is None:
            return True
        sample: Value = True if self.sample is always else self.sample(event)
        lacks = self.window.lacks(key, sample, now)
        if lacks < EVIDENCE and sample is not False:  # of what is further away nothing would be left when it holds
            self._show(key, event, now)
        return lacks == 0

    def chosen_by(self, field: str, kind: str) -> frozenset[Value] | None:  # noqa: ARG002 - it takes events of one kind
        """The values that its match names with `is` or `in`."""
        tests = (one for one in self.which if one.field == field and one.operator in ("is", "in"))
        test = next(tests, None)
        return None if test is None else test.operand if test.operator == "in" else frozenset([test.operand])

    def _show(self, key: Key, event: Event, now: float) -> None:
        place = (self.place, key)
        events = self.recent.find(place, now)
        if events is None:
            self.recent.put(place, [event], now)
            return
        events.append(event)
        if len(events) > EVIDENCE:
            del events[0]

    def because(self, key: Key, now: float) -> str:
        """`8 × auth.ssh.failure from 203.0.113.7 in 1 min 14 s (>= 8 in 2m)`."""
        told = self.window.told(self.part.event, key, now) if self.window else f"{self.part.event}{{}}"
        return told.replace("{}", self.whom(key))

    def evidence(self, key: Key, event: Event) -> tuple[Event, ...]:
        """The last events that were counted for this key, as far as they are still at hand."""
        return tuple(self.recent.peek((self.place, key)) or (event,))

    def fill(self, key: Key, now: float) -> str:
        """`3 of 8 in 2m`."""
        return self.window.fill(key, now) if self.window else ""


class SequenceLive(Live):
    """Parts in order, all `within` a time, for one key.

    Kept per key and part: since when the latest chain up to that part runs, and its events. So the condition is exact: it
    holds when some chain of parts ends with this event and began no longer than `within` ago.
    """

    def __init__(self, policy: Policy, number: int, lists: Lists, recent: Recent, most: int) -> None:
        """Start empty."""
        super().__init__(policy, number, lists)
        self.parts = [OneLive(policy, number, part, lists, recent, most) for part in self.clause.parts]
        last_first = list(enumerate(self.parts))[::-1]
        self._takes = {kind: [(at, part) for at, part in last_first if part.part.event == kind] for kind in self.kinds}
        self.within = self.clause.within.total_seconds() if self.clause.within else float("inf")
        self.halfway: Keyed[dict[int, tuple[float, tuple[Event, ...]]]] = Keyed(min(most, MOST_HALFWAY), self.within)
        self.stores = (*(store for part in self.parts for store in part.stores), self.halfway)
        self.reach = sum(part.reach for part in self.parts) + (self.within if self.clause.within else 0.0)

    def count(self, event: Event, key: Key, now: float) -> bool:
        """Count the event in with every part; the last ones first, so that one event never stands for two parts."""
        fired = False
        for number, part in self._takes[event.kind]:
            if part.count(event, key, now) and self._follows(number, key, event, now):
                fired = True
        return fired

    def chosen_by(self, field: str, kind: str) -> frozenset[Value] | None:
        """The values that all of its parts for this kind name together."""
        named = [part.chosen_by(field, kind) for _, part in self._takes[kind]]
        return None if None in named else frozenset[Value]().union(*(one for one in named if one))

    def _follows(self, number: int, key: Key, event: Event, now: float) -> bool:
        """Whether the last part has come in its turn; otherwise remember how far this key is."""
        chains = self.halfway.find(key, now)
        if number == 0:
            if chains is None:
                self.halfway.put(key, {0: (now, (event,))}, now)
            else:
                chains[0] = (now, (event,))
            return False
        before = chains.get(number - 1) if chains else None
        if chains is None or before is None or now - before[0] > self.within:
            return False
        chains[number] = (before[0], (*before[1], event))
        return number == len(self.parts) - 1

    def because(self, key: Key, now: float) -> str:
        """`auth.ssh.failure (>= 5 in 5m), then auth.ssh.success from 203.0.113.7 in 1 min (within 10m)`."""
        names = [f"{part.event} ({part.window})" if part.window else part.event for part in self.clause.parts]
        since = (self.halfway.peek(key) or {}).get(len(self.parts) - 1, (now, ()))[0]
        limit = f" (within {spell(self.clause.within)})" if self.clause.within else ""
        return f"{', then '.join(names)}{self.whom(key)} in {lasted(now - since)}{limit}"

    def evidence(self, key: Key, event: Event) -> tuple[Event, ...]:
        """The last events of each earlier part, then this one."""
        chain = self._chain(key, event)
        earlier = [one for part, last in zip(self.parts, chain[:-1], strict=False) for one in part.evidence(key, last)]
        return (*earlier[-(EVIDENCE - 1) :], event)

    def merged(self, key: Key, event: Event) -> Event:
        """The last event with the fields of the earlier ones; forgeable if any of them is."""
        chain = self._chain(key, event)
        fields = {name: value for one in chain for name, value in one.fields.items()}
        return event._replace(fields=fields, forgeable=any(one.forgeable for one in chain))

    def fill(self, key: Key, now: float) -> str:
        """`waiting for part 2 of 2 (auth.ssh.success) for another 9 min`, or how full the first part is."""
        chains = self.halfway.peek(key) or {}
        done = [number for number, (since, _) in chains.items() if now - since <= self.within and number < len(self.parts) - 1]
        if not done:
            first = self.parts[0].fill(key, now)
            return f"part 1 of {len(self.parts)} ({self.parts[0].part.event}): {first or 'not yet'}"
        at = max(done)
        left = f" for another {lasted(chains[at][0] + self.within - now)}" if self.clause.within else ""
        return f"waiting for part {at + 2} of {len(self.parts)} ({self.parts[at + 1].part.event}){left}"

    def _chain(self, key: Key, event: Event) -> tuple[Event, ...]:
        return (self.halfway.peek(key) or {}).get(len(self.parts) - 1, (0.0, (event,)))[1]


# Which events, for whom -----------------------------------------------------------------------------------------------

_ANSWERS: Final = frozenset({"state", "status", "say"})
"""Text fields that say how a thing is; other text says which thing it is."""


def split(part: Part) -> tuple[tuple[Test, ...], tuple[Test, ...]]:
    """The lines of a match that choose the events, and those that say whether each is true.

    `{name: shop-http, ok: false}` for 3 of 5 asks about the last five answers of shop-http, not of all checks: lines about
    text choose, lines about numbers, flags and states decide. Where no line would decide, all of them do. Without `for:`
    all lines choose.
    """
    if not isinstance(part.window, Of | Held):
        return part.match, ()
    how = tuple(one for one in part.match if _decides(one))
    if not how:
        return (), part.match
    return tuple(one for one in part.match if one not in how), how


def _decides(test: Test) -> bool:
    if test.field in _ANSWERS or test.operator in ("gt", "gte", "lt", "lte", "exists"):
        return True
    values = test.operand if isinstance(test.operand, frozenset) else (test.operand,)
    return any(isinstance(one, int | float) for one in values)


def _sample(part: Part, how: Sequence[Test], lists: Lists) -> Callable[[Event], Value]:
    """What one event says to the part's window."""
    if isinstance(part.window, Distinct):
        return _value_of(part.window.field)
    return matcher(how, lists)


def _key_of(by: tuple[str, ...]) -> Callable[[Event], Key | None]:
    """A function for the values of `by`: alone where it is one field, a tuple where several; None where one is absent."""
    if not by:
        return lambda _: ()
    if len(by) == 1:
        return _value_of(*by)

    def several(event: Event) -> Key | None:
        values = tuple(_short(event.get(name)) for name in by)
        return None if None in values else values

    return several


def _value_of(name: str) -> Callable[[Event], Value]:
    """A function for one field's value, cut where it is too long to be told apart. It runs for every event and policy."""
    if name == "source":  # the one field that is not in `fields`
        return lambda event: _short(event.source)

    def value_of(event: Event) -> Value:
        value = event.fields.get(name)
        return value[:LONGEST_KEY] if isinstance(value, str) and len(value) > LONGEST_KEY else value

    return value_of


def values_of(by: tuple[str, ...], key: Key) -> tuple[Value, ...]:
    """The key as a tuple of one value for each field of `by`."""
    return key if isinstance(key, tuple) else (key,) if by else ()


def _short(value: Value) -> Value:
    return value[:LONGEST_KEY] if isinstance(value, str) and len(value) > LONGEST_KEY else value
