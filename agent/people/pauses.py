"""Pauses as the state keeps them: who keeps which policies from acting until when, and what was not done meanwhile. Pure.

A paused policy is not blind: what it finds is planned and judged as in a dry run, and written down as what would have been
done. What is in force still ends, heals and can be undone, and people's own orders are carried out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple

from agent.policy import BUILT_IN
from agent.record import Record
from agent.schema import rough

LATEST: Final = 20
"""Actions not done that a pause names; it counts them all."""
KEPT: Final = 50
"""Pauses that are over and still known."""
_SAID: Final = 5
"""Actions not done that a sentence names."""


class Missed(NamedTuple):
    """What a policy would have done, had it not been paused."""

    mitigation: str
    incident: str
    policy: str
    action: str
    target: str

    def __str__(self) -> str:
        return f"{self.action} {self.target} ({self.policy})"


class Pause(NamedTuple):
    """From `since` to `until` (Unix seconds) these policies only say what they would do; no names stand for all of them.

    `window` is the maintenance window of agent.yaml that it came of; empty for a person's. `on` says that it has begun,
    `ended` when it was over. `missed` actions were not done, so many `by_policy`; `latest` are the last of them.
    """

    id: str
    since: float
    until: float
    actor: str
    why: str
    policies: tuple[str, ...] = ()
    window: str = ""
    on: bool = True
    ended: float | None = None
    missed: int = 0
    by_policy: tuple[tuple[str, int], ...] = ()
    latest: tuple[Missed, ...] = ()

    def meets(self, policy: str) -> bool:
        """Whether a policy is among those it is about."""
        return not self.policies or policy in self.policies

    def misses(self, one: Missed) -> Pause:
        """The pause with one more action that was not done."""
        counts = dict(self.by_policy)
        counts[one.policy] = counts.get(one.policy, 0) + 1
        return self._replace(missed=self.missed + 1, by_policy=tuple(counts.items()), latest=(*self.latest, one)[-LATEST:])


class Pauses:
    """Those that are on or planned, in `all` by name; the latest that are over; windows that a person ended early."""

    kinds: ClassVar[frozenset[str]] = frozenset({"pause_planned", "paused", "resumed", "would"})

    def __init__(self) -> None:
        """Nothing is paused."""
        self.all: dict[str, Pause] = {}
        self.over: deque[Pause] = deque(maxlen=KEPT)
        self.cut: dict[str, float] = {}
        self.last = 0

    @property
    def on(self) -> list[Pause]:
        """Those that have begun."""
        return [one for one in self.all.values() if one.on]

    def holding(self, policy: str) -> tuple[str, ...]:
        """The names of the pauses that keep a policy from acting now."""
        return tuple(one.id for one in self.all.values() if one.on and one.meets(policy)) if self.all else ()

    def held(self, policy: str, at: float) -> tuple[str, ...]:
        """The names of those that kept a policy from acting at some moment, as far back as they are known."""
        known = (one for one in (*self.over, *self.all.values()) if one.on and one.meets(policy))
        return tuple(one.id for one in known if one.since <= at and (one.ended is None or at <= one.ended))

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        if record.kind == "would":
            self._missed(record)
            return
        name = str(body["pause"])
        match record.kind:
            case "resumed":
                self._end(name, body, ts)
            case kind if name in self.all:
                moved = {"since": body["since"], "until": body["until"], "on": kind == "paused"}
                self.all[name] = self.all[name]._replace(**moved)
            case kind:
                given = {key: body[key] for key in ("until", "actor", "why")}
                policies, since = tuple(body.get("policies", ())), body.get("since", ts)
                window = body.get("window", "")
                self.all[name] = Pause(name, since, policies=policies, window=window, on=kind == "paused", **given)
                self.last = max(self.last, int(name.rpartition("-")[2]))

    def _missed(self, record: Record) -> None:
        """Count what was not done because of them; of a plan, its first part stands for all."""
        body = record.body
        names = body.get("pauses", ())
        if not names or body.get("part") or body["policy"] in BUILT_IN:
            return
        missed = Missed(record.mitigation, record.incident, body["policy"], body["action"], body["target"])
        for name in names:
            if name in self.all:
                self.all[name] = self.all[name].misses(missed)
        for number, one in enumerate(self.over):
            if one.id in names:  # a step that was put off: its finding came in the pause, its time after it
                self.over[number] = one.misses(missed)

    def _end(self, name: str, body: Mapping[str, Any], ts: float) -> None:
        one = self.all.pop(name, None)
        if one is None:
            return
        self.over.append(one._replace(ended=ts))
        self.cut = {window: until for window, until in self.cut.items() if until > ts}
        if one.window and body.get("cut"):  # by a person: it does not open again until its next time
            self.cut[one.window] = one.until

    def plain(self) -> Any:
        """All of it as JSON values."""
        kept = {"all": [one._asdict() for one in self.all.values()], "over": [one._asdict() for one in self.over]}
        return {**kept, "cut": list(self.cut.items()), "last": self.last}

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        self.all = {one["id"]: _read(one) for one in plain["all"]}
        self.over.extend(map(_read, plain["over"]))
        self.cut = dict(plain["cut"])
        self.last = plain["last"]

    def shift(self, by: float) -> None:
        """Move the times of what lasts. What begins at an hour of the clock, planned or a window, goes by the clock."""
        for name, one in self.all.items():
            if one.on and not one.window:
                self.all[name] = one._replace(since=one.since + by, until=one.until + by)
        for number, one in enumerate(self.over):
            ended = None if one.ended is None else one.ended + by
            self.over[number] = one._replace(since=one.since + by, until=one.until + by, ended=ended)


def _read(plain: Mapping[str, Any]) -> Pause:
    made = Pause(**plain)
    return made._replace(
        policies=tuple(made.policies),
        by_policy=tuple((policy, count) for policy, count in made.by_policy),
        latest=tuple(Missed(*one) for one in made.latest),
    )


# In words -----------------------------------------------------------------------------------------------------------------


def whom(policies: tuple[str, ...] | list[str]) -> str:
    """Which policies, as a sentence begins with it: `all actions are` or `ssh-brute-force, port-scan are`."""
    return f"{', '.join(policies)} {'is' if len(policies) == 1 else 'are'}" if policies else "all actions are"


def words(record: Record) -> Iterator[tuple[str, str]]:
    """What sentences about pauses are made of."""
    body = record.body
    if pauses := body.get("pauses"):
        yield "instead", f"paused ({', '.join(pauses)})"
    if record.kind in ("pause_planned", "paused", "resumed"):
        yield "whom", whom(body.get("policies", ()))
        yield "begins", f"{datetime.fromtimestamp(body['since'], UTC):%Y-%m-%d %H:%M:%SZ}" if "since" in body else ""
        yield "result", outcome(body) if "length" in body else "actions are possible again"


def outcome(body: Mapping[str, Any]) -> str:
    """What came of a pause, from the body of its end: how long it was, and what was not done."""
    latest = [str(Missed(*one)) for one in body["latest"][-_SAID:]]
    more = f" and {body['missed'] - _SAID} more" if body["missed"] > _SAID else ""
    return f"{summary(body)}{': ' if latest else ''}{', '.join(latest)}{more}"


def summary(body: Mapping[str, Any]) -> str:
    """The same without names."""
    length = rough(timedelta(seconds=body["length"]))
    what = f"the maintenance window {body['window']}" if body["window"] else f"the pause of {length}"
    if not body["begun"]:
        return f"{what} is called off"
    if not (count := body["missed"]):
        return f"{what} is over: no policy would have acted"
    return f"{what} is over: {count} {'action was' if count == 1 else 'actions were'} not done"
