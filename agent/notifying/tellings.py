"""What people have been told of each incident, so that a crash loses nothing and nobody hears the same twice. Pure.

Whether there is something to tell is a comparison of an incident as it is with what was told last (telling.py), and never a
matter of having been there when it changed: an agent that comes up after an hour tells what an hour has changed, once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from agent.record import Record
from agent.visible import visible

KEPT: Final = 5000
"""Incidents that are over and of which it is known what was told."""
MOST_NEWS: Final = 20
MOST_FIRED: Final = 50
_LONGEST: Final = 300
_OVER: Final = ("resolved", "closed")


class News(NamedTuple):
    """One thing that people do not know yet: why they are told, the sentence, and who is told beside the usual ones."""

    what: str
    say: str
    to: tuple[str, ...] = ()


class Told(NamedTuple):
    """What people know of one incident. Times are Unix seconds; with no notice yet, `number` is 0 and only `news` counts.

    `since` is from when escalation counts; `mark` stands for what was done about it, and `asked` for what waited for a yes.
    `to` are all channels that were ever told, `fired` the steps of escalation that were taken since `since`.
    `once` is one that people are told of a single time: a dry run's, one of a daily list.
    """

    id: str
    number: int = 0
    last: float = 0.0
    since: float = 0.0
    phase: str = "open"
    severity: str = "P3"
    acked_by: str = ""
    assigned: str = ""
    mark: str = ""
    asked: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    news: tuple[News, ...] = ()
    once: bool = False
    published: bool = False
    """Whether a person has said that it may go to channels that strangers read."""

    def hears(self, news: News) -> Told:
        """The same with one more thing to tell; of too many the oldest go."""
        return self._replace(news=(*self.news, news)[-MOST_NEWS:])


class Tellings:
    """By incident what was told of it. `bug` is the agent's latest own: when, and what; `bugs` counts them."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        {"notice", "noted", "escalated", "reminded", "regime", "notified", "published", "bug"}
    )

    def __init__(self) -> None:
        """Nothing was told."""
        self.all: dict[str, Told] = {}
        self.bug: tuple[float, str] = (0.0, "")
        self.bugs = 0

    def of(self, name: str) -> Told:
        """What people know of an incident."""
        return self.all.get(name) or Told(name)

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        if record.kind == "bug":
            self.bug, self.bugs = (ts, visible(record.body["error"], _LONGEST)), self.bugs + 1
        elif record.kind == "notice":
            if record.incident:  # else it is a test
                self._told(record, ts)
        elif record.incident and (news := said(record)) is not None:
            known = self.of(record.incident).hears(news)
            if record.kind == "escalated":
                known = known._replace(fired=(*known.fired, record.body["step"])[-MOST_FIRED:])
            self.all[known.id] = known._replace(published=known.published or record.kind == "published")

    def _told(self, record: Record, ts: float) -> None:
        notice, more = record.body["notice"], record.body.get("told", {})
        before = self.all.pop(record.incident, None) or Told(record.incident)
        fired = before.fired if more.get("since", before.since) == before.since else ()
        self.all[record.incident] = before._replace(
            number=before.number + 1,
            last=ts,
            since=more.get("since", before.since),
            phase=notice["phase"],
            severity=notice["severity"],
            acked_by=notice["acked_by"],
            assigned=notice["assigned"],
            mark=more.get("mark", ""),
            asked=tuple(more.get("asked", ())),
            to=tuple(dict.fromkeys((*before.to, *record.body["to"]))),
            fired=fired,
            news=(),
            once=bool(more.get("once", False)),
        )
        for name in more.get("with", ()):
            self.all[name] = self.of(name)._replace(news=())
        for name in more.get("listed", ()):
            self.all[name] = self.of(name)._replace(number=1, last=ts, since=ts, to=tuple(record.body["to"]), once=True, news=())
        self._forget()

    def _forget(self) -> None:
        """The oldest of which nothing more is to be told."""
        if len(self.all) > 2 * KEPT:
            over = [name for name, one in self.all.items() if one.once or not one.number or one.phase in _OVER]
            for name in over[: max(0, len(over) - KEPT)]:
                del self.all[name]

    def plain(self) -> Any:
        """All of it as JSON values."""
        return {"all": [one._asdict() for one in self.all.values()], "bug": list(self.bug), "bugs": self.bugs}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Be again what `plain` said."""
        for one in plain["all"]:
            lists = {name: tuple(one[name]) for name in ("asked", "to", "fired")}
            news = tuple(News(what, say, tuple(to)) for what, say, to in one["news"])
            self.all[one["id"]] = Told(**{**one, **lists, "news": news})
        at, say = plain["bug"]
        self.bug, self.bugs = (at, say), plain["bugs"]

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        for name, one in self.all.items():
            if one.number:
                self.all[name] = one._replace(last=one.last + by, since=one.since + by)
        self.bug = (self.bug[0] + by, self.bug[1]) if self.bugs else self.bug


def said(record: Record) -> News | None:
    """What a record has to tell by itself; None where it is nothing for people."""
    body = record.body
    match record.kind:
        case "noted":
            return News("noted", visible(f"{body['actor']}: {body['text']}", _LONGEST))
        case "escalated":
            return News("escalated", visible(body["because"], _LONGEST), tuple(body["to"]))
        case "reminded":
            return News("escalated" if body["urgent"] else "changed", visible(body["because"], _LONGEST))
        case "regime":
            return News("changed", visible(f"the clock of {body['regime'].upper()} runs: {body['because']}", _LONGEST))
        case "notified":
            return News("changed", visible(f"{body['regime'].upper()}: {body['actor']} has told: {body['because']}", _LONGEST))
        case "published":
            return News("changed", visible(f"{body['actor']} has it told in public: {body['because']}", _LONGEST))
    return None


class Looks:
    """When to look at which incident again: only true right now, and made anew at each start.

    A record about an incident costs one entry in a set, however many there are; which of them is due is a look at a heap.
    """

    def __init__(self) -> None:
        """Everything is to be looked at."""
        self.dirty: set[str] = set()
        self.all = True
        self.last: dict[str, float] = {}
        self.settings: Any = None
        """The settings and policies with which `all` were looked at."""
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def heard(self, record: Record) -> None:
        """Something was written down about an incident."""
        if record.incident and record.kind != "notice":
            self.dirty.add(record.incident)
        if record.kind in ("silenced", "silence_ended"):
            self.all = True

    def want(self, name: str, at: float) -> None:
        """Look at it then, or earlier where that was wanted."""
        if at < self._at.get(name, float("inf")):
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))

    def due(self, now: float) -> Iterator[str]:
        """Those to be looked at now; each is wanted once. One at a time: a bug at one leaves the others to the next turn."""
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._at.get(name) == at:
                del self._at[name]
                yield name

    @property
    def next(self) -> float:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else float("inf")

    def shift(self, _: float) -> None:
        """The host's clock was set: everything is looked at anew."""
        self.dirty, self.all, self.last, self._at, self._heap = set(), True, {}, {}, []
