"""Policies at work: events in, findings out. Pure.

`Watch.feed` is the hot path: an event of a kind that no policy names costs one dict look-up, and of those policies that do name
it only those are asked that can take it (listening.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.event import Event, Value
from agent.policy import Policy
from agent.watching.clause import Live, OneLive, Recent, SequenceLive, values_of
from agent.watching.listening import listening
from agent.watching.match import Finds, index_lists
from agent.watching.networks import Network
from agent.watching.window import MOST_KEYS, Key

MOST_RECENT: Final = 1_000
"""Keys, over all policies, whose last events are at hand as evidence."""
STEP_BACK: Final = 5.0
"""Seconds that the time may go back without meaning anything: sensors hand over their batches out of step."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A policy's condition holds. It comes again with every further event while it does; flow.py tells repeats apart.

    `key` has the values of `by`. `event` is the last one, with the fields of earlier sequence parts where it has none of its
    own. `evidence` are the last events that count, oldest first. `unless` says why the key is left alone, or is empty.
    """

    policy: Policy
    clause: int
    key: tuple[Value, ...]
    because: str
    event: Event
    evidence: tuple[Event, ...] = ()
    unless: str = ""

    def target(self, host: str) -> str:
        """Whom it is about: the values of `by`; without any, the host."""
        return " ".join(str(value) for value in self.key) or host


class Watch:
    """The windows of all policies. Belongs to one thread."""

    def __init__(self, policies: Sequence[Policy], lists: Mapping[str, Sequence[Network] | Finds], most: int = MOST_KEYS) -> None:
        """Start with empty windows of at most `most` keys each. A policy with `mode: off` is not fed."""
        self.policies, self.given, self.lists = tuple(policies), lists, index_lists(lists)
        recent: Recent = Recent(min(most, MOST_RECENT))
        self.live: list[Live] = [
            OneLive(policy, number, clause.parts[0], self.lists, recent, most)
            if len(clause.parts) == 1
            else SequenceLive(policy, number, self.lists, recent, most)
            for policy in self.policies
            if policy.mode != "off"
            for number, clause in enumerate(policy.when)
        ]
        self._listening = listening(self.live)
        self.clock, self._behind = float("-inf"), 0.0

    def wants(self) -> frozenset[str]:
        """The kinds of events that can move any policy."""
        return frozenset(self._listening)

    def longest(self) -> float:
        """How many seconds of stored events make the windows as full as if the agent had never stopped."""
        return max((one.reach for one in self.live), default=0.0)

    @property
    def evictions(self) -> int:
        """Keys that were let go, though they still counted, because there were too many of them."""
        return sum(store.evictions for one in self.live for store in one.stores)

    def feed(self, event: Event, now: float) -> list[Hit]:
        """Count the event in, and answer which policies hold with it: at most once for each policy and key."""
        listening = self._listening.get(event.kind)
        if listening is None:
            return []
        now = self._steady(now)
        hits: list[Hit] = []
        for key_of, clauses in listening.by_value.get(event.fields.get(listening.field), listening.others):
            key = key_of(event)
            if key is None:
                continue
            for live in clauses:
                if live.count(event, key, now):
                    _add(hits, live, key, event, now)
        return hits

    def recall(self, event: Event, now: float) -> None:
        """Count in an event of before the start; what held with it was found then."""
        if listening := self._listening.get(event.kind):
            now = self._steady(now)
            for key_of, clauses in listening.by_value.get(event.fields.get(listening.field), listening.others):
                if (key := key_of(event)) is not None:
                    for live in clauses:
                        live.count(event, key, now)

    def adopt(self, old: Watch) -> None:
        """Keep what the clauses that have not changed have seen, after a reload."""
        before = {(one.policy.name, one.number): one for one in old.live}
        for one in self.live:
            same = before.get((one.policy.name, one.number))
            if same is not None and same.clause == one.clause:
                for mine, theirs in zip(one.stores, same.stores, strict=True):
                    mine.adopt(theirs)
        self.clock, self._behind = old.clock, old._behind

    def beside(self, event: Event, now: float) -> Watch:
        """A watch of its own that knows what this one knows about the event's keys: to ask "what if" without counting."""
        other = Watch(self.policies, self.given)
        other.clock, other._behind = self.clock, self._behind
        now = other._steady(now)
        for mine, theirs in zip(other.live, self.live, strict=True):
            key = mine.key_of(event)
            if key is not None:
                for store, known in zip(mine.stores, theirs.stores, strict=True):
                    store.copy_key(known, key, now)
        return other

    def shift(self, by: float) -> None:
        """The host's clock was set by so many seconds; ours goes on as if it had not been."""
        self._behind -= by

    def _steady(self, now: float) -> float:
        """A time that never goes back. When the host's clock is set back, ours goes on from where it was."""
        now += self._behind
        if now >= self.clock:
            self.clock = now
        elif self.clock - now > STEP_BACK:
            self._behind += self.clock - now
        return self.clock


def _add(hits: list[Hit], live: Live, key: Key, event: Event, now: float) -> None:
    policy, values = live.policy, values_of(live.clause.by, key)
    if any(one.policy is policy and one.key == values for one in hits):
        return
    whole = live.merged(key, event)
    hits.append(
        Hit(policy, live.number, values, live.because(key, now), whole, live.evidence(key, event), live.left_alone(whole))
    )
