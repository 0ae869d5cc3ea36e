"""What is counted since the start, at the edges of the loop. It must cost next to nothing: every burst passes through it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from agent.crowd import MANY
from agent.incident import Mitigation
from agent.messages import Applied, Apply, Run
from agent.metrics.tally import OTHER, OUTCOMES, Histogram, Labels, Tally
from agent.parsers.canary import CANARY
from agent.policy import ROUND
from agent.record import Record
from agent.streams.sensor import Batch

STAGES: Final = ("decided", "enforced", "verified")
_kind: Final = attrgetter("kind")


def _nothing() -> Mapping[str, int]:
    return {}


class Meters:
    """The daemon's. Its owner's thread calls everything but `acted` and `worked`, which lanes call."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.turned_at = time.monotonic()
        """When the loop last came round."""
        self.queues: Callable[[], Mapping[str, int]] = _nothing
        self.lanes: Callable[[], Mapping[str, int]] = _nothing
        """What waits for the loop, and in the lanes of systems, by name; whoever owns them says how to ask."""
        self.reaction: dict[Labels, Histogram] = {(stage,): Histogram() for stage in STAGES}
        self.turns, self.commits = Histogram(), Histogram()
        self.kinds: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.last_line: dict[str, float] = {}
        """By the sources of sensors, all of which agent.yaml names."""
        self.findings, self.refusals, self.actions, self.notices = Tally(), Tally(), Tally(), Tally()
        self.crowded = Tally()
        """Records of more targets than a policy may act on: one a minute."""
        self.drifted = self.healed = self.unhealed = 0
        self.jobs: dict[Labels, tuple[int, float]] = {}
        self.late = Tally()
        self._lock = threading.Lock()

    # The owner ----------------------------------------------------------------------------------------------------------------

    def turned(self, seconds: float) -> None:
        """The loop came round; so long it was at work."""
        self.turned_at = time.monotonic()
        self.turns.add(seconds)

    def read(self, batch: Batch) -> None:
        """A sensor has handed something over."""
        self.events[batch.source] += len(batch.events)
        if batch.lines:
            self.lines[batch.source] += batch.lines
            self.last_line[batch.source] = batch.seen

    def noted(self, records: Sequence[Record], mitigations: Mapping[str, Mitigation]) -> None:
        """Records of a turn; `mitigations` are those at hand."""
        kinds = Counter(map(_kind, records))
        self.kinds.update(kinds)
        for kind in _MANY & kinds.keys():
            self._many(kind, [one for one in records if one.kind == kind], mitigations)
        if kinds.keys() & _SELDOM:
            for one in records:
                self._seldom(one)

    def _many(self, kind: str, records: Sequence[Record], mitigations: Mapping[str, Mitigation]) -> None:
        """Records of one kind, of which a burst makes thousands."""
        match kind:
            case "finding":
                found = Counter((one.body["policy"], one.body["mode"], one.body["target"] == MANY) for one in records)
                ours = {labels: count for labels, count in found.items() if labels[0] != ROUND}
                self.findings.add_all({labels[:2]: count for labels, count in ours.items() if not labels[2]})
                self.crowded.add_all({labels[:1]: count for labels, count in ours.items() if labels[2]})
            case "refused":
                refused = (one.body for one in records)
                self.refusals.add_all(Counter((body.get("reason", OTHER),) for body in refused if body.get("policy") != ROUND))
            case "would":
                would = (one.body for one in records)
                self.actions.add_all(Counter((body["action"], kind) for body in would if body["policy"] != ROUND))
            case _:
                made = (mitigations.get(one.mitigation) for one in records)
                self.actions.add_all(Counter((one.action, kind) for one in made if one and one.policy != ROUND))

    def _seldom(self, one: Record) -> None:
        body = one.body
        match one.kind:
            case "drifted":
                self.drifted += len(body["mitigations"])
            case "healed":
                self.healed += len(body["mitigations"])
            case "heal_failed":
                self.unhealed += len(body["failed"])
            case "told" | "not_told":
                self.notices.add((body["channel"], one.kind))
            case "given_up":
                self.notices.add((body["channel"], one.kind), len(body["notices"]))

    def gave_up(self, lane: str) -> None:
        """A job was given up on."""
        self.late.add((lane,))

    def decided(self, applies: Iterable[Apply]) -> None:
        """Intents are durable, and their changes begin now."""
        self._reacted("decided", Counter(_seen(one.run) for one in applies), time.time())

    # Lanes --------------------------------------------------------------------------------------------------------------------

    def acted(self, applied: Sequence[Applied], passes: Sequence[float]) -> None:
        """Changes were made and read back, just now; of each plan the n-th change was made at `passes[n]` (Unix seconds).

        A plan counts once its last change holds: no change is tried after one that failed.
        """
        now, good = time.time(), [one for one in applied if one.outcomes and one.outcomes[-1].result == "in_force"]
        made = Counter((_seen(one.run), len(one.outcomes) - 1) for one in good)
        with self._lock:
            for (seen, last), count in made.items():
                if seen and 0 <= last < len(passes):
                    self.reaction["enforced",].add(passes[last] - seen, count)
                    self.reaction["verified",].add(now - seen, count)

    def worked(self, lane: str, seconds: float) -> None:
        """A job of a lane is done."""
        with self._lock:
            count, total = self.jobs.get((lane,), (0, 0.0))
            self.jobs[lane,] = (count + 1, total + seconds)

    def _reacted(self, stage: str, moments: Counter[float], now: float) -> None:
        with self._lock:
            for seen, count in moments.items():
                if seen:
                    self.reaction[stage,].add(now - seen, count)


_MANY: Final = OUTCOMES | {"finding", "refused", "would"}
_SELDOM: Final = frozenset({"drifted", "healed", "heal_failed", "told", "not_told", "given_up"})
_NO_LINE: Final = frozenset({"", CANARY.name})
"""Kinds of events that stand for no line: what a start or a person took up again has none; the canary is told by itself."""


def _seen(run: Run) -> float:
    """When the line that led to it was read; 0 for the canary's, and where it waited for a person, a time or a start."""
    event, step = run.event, run.step
    if event is None or step is None or event.kind in _NO_LINE or run.approval or step.after is not None:
        return 0.0
    return event.seen
