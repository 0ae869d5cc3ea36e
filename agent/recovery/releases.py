"""The book of what is being let go: on which rung each mitigation is, what came again, and where release is frozen. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from agent.incident import Mitigation
from agent.record import Record
from agent.recovery.rungs import Rung
from agent.say import clock

K = TypeVar("K")
V = TypeVar("V")

FREEZE_AT: Final = 3
"""Recurrences of one policy and target WITHIN which its release is frozen. Fixed numbers, so that everybody can know them."""
WITHIN: Final = 7200.0
REMEMBERED: Final = 10_000

Key = tuple[str, str]
"""A policy, and the target of its finding."""


class Descent(NamedTuple):
    """A mitigation that has ended, on its way down. `target` is its finding's, `aim` its action's; times are Unix seconds.

    `given` are the action's parameters as pairs of JSON values, so that it can be planned once more; empty where it cannot.
    """

    mitigation: str
    incident: str
    policy: str
    target: str
    action: str
    aim: str
    given: tuple[tuple[str, Any], ...]
    rung: Rung
    since: float
    until: float

    @property
    def key(self) -> Key:
        """What its recurrences are counted by."""
        return (self.policy, self.target)


@dataclass
class Releases:
    """What is on its way down by mitigation, and who came back when. `due` are the ends of rungs, soonest first."""

    kinds: ClassVar[frozenset[str]] = frozenset({"released", "recurred", "release_frozen"})

    down: dict[str, Descent] = field(default_factory=dict)
    recurrences: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    frozen: dict[Key, float] = field(default_factory=dict)
    due: list[tuple[float, str]] = field(default_factory=list, compare=False)
    by_incident: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_aim: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, incident: str) -> list[Descent]:
        """What of an incident is on its way down."""
        return [self.down[name] for name in self.by_incident.get(incident, ())]

    def at(self, aim: str) -> list[Descent]:
        """What is on its way down that was about this address or name."""
        return [self.down[name] for name in self.by_aim.get(aim, ())]

    def lately(self, key: Key, now: float) -> int:
        """How often it recurred within the last two hours."""
        return sum(now - at < WITHIN for at in self.recurrences.get(key, ()))

    def held_whole(self, key: Key, since: float) -> bool:
        """Whether what began then holds its whole time, because release was frozen."""
        return since <= self.frozen.get(key, 0.0)

    # As the records say ---------------------------------------------------------------------------------------------------

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        key = (body["policy"], body["target"])
        match record.kind:
            case "released":
                self._released(record, key, ts)
            case "recurred":
                self._recurred(record, key, ts)
            case "release_frozen":
                _remember(self.frozen, key, body["until"])

    def _released(self, record: Record, key: Key, ts: float) -> None:
        body = record.body
        self._forget(record.mitigation)
        for one in self.of(record.incident):
            if (one.action, one.aim) == (body["action"], body["aim"]):  # it had been put back since
                self._forget(one.mitigation)
        if body.get("by_hand"):
            self.recurrences.pop(key, None)
            self.frozen.pop(key, None)
        if body["rung"] != "off":
            given = tuple((name, value) for name, value in body["given"])
            what = Descent(record.mitigation, record.incident, *key, body["action"], body["aim"], given, "off", ts, body["until"])
            self._enter(what._replace(rung=body["rung"]))

    def _recurred(self, record: Record, key: Key, ts: float) -> None:
        body, before = record.body, self.recurrences.get(key, ())
        if not before or before[-1] != ts:  # two mitigations of one finding came back together: that is once
            _remember(self.recurrences, key, (*before, ts)[-FREEZE_AT:])
        was = self.down.get(record.mitigation)
        self._forget(record.mitigation)
        if was and body["rung"] == "limited":
            self._enter(was._replace(rung="limited", since=ts, until=body["until"]))

    def _enter(self, one: Descent) -> None:
        self.down[one.mitigation] = one
        self.by_incident[one.incident] = (*self.by_incident.get(one.incident, ()), one.mitigation)
        self.by_aim[one.aim] = (*self.by_aim.get(one.aim, ()), one.mitigation)
        heapq.heappush(self.due, (one.until, one.mitigation))

    def _forget(self, name: str) -> None:
        if (one := self.down.pop(name, None)) is None:
            return
        for index, key in ((self.by_incident, one.incident), (self.by_aim, one.aim)):
            if left := tuple(other for other in index.pop(key) if other != name):
                index[key] = left

    def over(self, now: float) -> Iterator[Descent]:
        """Those whose rung has ended; each once."""
        while self.due and self.due[0][0] <= now:
            until, name = heapq.heappop(self.due)
            if (one := self.down.get(name)) and one.until == until:
                yield one

    def shift(self, by: float) -> None:
        """The host's clock was set: everything lasts as long as it was to."""
        self.down = {name: one._replace(since=one.since + by, until=one.until + by) for name, one in self.down.items()}
        self.due = [(one.until, name) for name, one in self.down.items()]
        heapq.heapify(self.due)
        self.recurrences = {key: tuple(at + by for at in times) for key, times in self.recurrences.items()}
        self.frozen = {key: until + by for key, until in self.frozen.items()}

    # Snapshots ------------------------------------------------------------------------------------------------------------

    def plain(self) -> Any:
        """All of it as JSON values."""
        keyed = {name: [[*key, value] for key, value in getattr(self, name).items()] for name in ("recurrences", "frozen")}
        return {"down": [list(one) for one in self.down.values()], **keyed}

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        for one in map(list, plain["down"]):
            one[6] = tuple((name, value) for name, value in one[6])
            self._enter(Descent(*one))
        self.recurrences = {(policy, target): tuple(times) for policy, target, times in plain["recurrences"]}
        self.frozen = {(policy, target): until for policy, target, until in plain["frozen"]}


def moved(mitigations: dict[str, Mitigation], record: Record) -> None:
    """Other ends for mitigations that are in force."""
    for name, until in record.body["ends"]:
        if (one := mitigations.get(name)) and one.active:
            mitigations[name] = one._replace(until=until, moved=True)


def told(body: Mapping[str, Any]) -> str:
    """What the incident says of a recurrence, or of a freeze."""
    return str(body["because"]) if "rung" in body else f"flapping: release is frozen until {clock(body['until'])}"


def _remember(known: dict[K, V], key: K, value: V) -> None:
    known.pop(key, None)
    known[key] = value
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
