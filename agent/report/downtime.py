"""How long something was down: from the first bad answer of a check to the next good one, several checks as one. Pure.

An answer that could not be had says nothing about the world: it ends no downtime and begins none. How much of a downtime
nobody could ask is told beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agent.check import Answer
from agent.messages import Note
from agent.policy import Policy
from agent.record import Record

KIND = "answer_changed"


class Down(NamedTuple):
    """A time in which at least one of the `checks` was bad (Unix seconds); `until` is None while it still is."""

    since: float
    until: float | None
    checks: tuple[str, ...]


# Written down as it happens -----------------------------------------------------------------------------------------------


def changed(said: dict[tuple[str, str], str], name: str, answers: Sequence[Answer], policies: Iterable[Policy]) -> Iterator[Note]:
    """The records of answers that are other than those before, for a check that some policy counts as `impact`.

    `said` remembers, and knows nothing after a start. What a check no longer speaks of is `gone`, unless it cannot ask at all.
    """
    if not any(name in one.gathering.impact for one in policies):
        return
    now: dict[str, tuple[str, str]] = {one.target: (one.state, one.say) for one in answers}
    known = [target for check, target in said if check == name]
    nothing = all(one.state == "unknown" and not one.target for one in answers)
    for target in known:
        now.setdefault(target, ("unknown" if nothing else "gone", answers[0].say if answers else ""))
    for target, (state, say) in now.items():
        was = said.get((name, target), "")
        if was == state or (not was and state == "unknown"):
            continue
        said[name, target] = state
        if state == "gone":
            del said[name, target]
        body: dict[str, Any] = {"name": name, "target": target, "state": state, "was": was, "say": say[:300]}
        yield Note(Record(KIND, body))


# Read back ----------------------------------------------------------------------------------------------------------------


class Answered(NamedTuple):
    """One such record: when, which check about what, and what it says now. No name: the agent stopped, or began."""

    at: float
    name: str
    target: str
    state: str


class Downs(NamedTuple):
    """The times in which any of some checks was bad, as one row in order; and those in which that was seen, and not only so
    far as anybody knows: the agent was stopped, or the question could not be asked."""

    all: tuple[Down, ...] = ()
    seen: tuple[Down, ...] = ()

    def about(self, since: float, until: float | None) -> Downs:
        """Those that touch an incident's time: the first may have begun long before anybody found it, and it counts whole."""
        mine = tuple(one for one in self.all if (until is None or one.since <= until) and _after(one, since))
        seen = (one for one in self.seen if any(each.since <= one.since and _after(each, one.since) for each in mine))
        return Downs(mine, tuple(seen))

    def seconds(self, now: float) -> float:
        """How long they are together; what goes on, goes on until now."""
        return _long(self.all, now)

    def unsure(self, now: float) -> float:
        """For how much of it nobody could say."""
        return max(0.0, _long(self.all, now) - _long(self.seen, now))


def _after(one: Down, at: float) -> bool:
    return one.until is None or one.until >= at


def _long(spans: Iterable[Down], now: float) -> float:
    return sum(max(0.0, (now if one.until is None else one.until) - one.since) for one in spans)


def downs(answers: Iterable[Answered], checks: Iterable[str]) -> Downs:
    """What the answers of these checks add up to. One with no name is where the agent stopped: until the next, nobody asks."""
    wanted = frozenset(checks)
    bad, seen = dict[tuple[str, str], float](), dict[tuple[str, str], float]()
    spans, sure = list[Down](), list[Down]()
    for one in answers:
        key = (one.name, one.target)
        if not one.name:
            sure += [Down(since, one.at, (name,)) for (name, _), since in seen.items()]
            seen.clear()
        elif one.name not in wanted:
            continue
        elif one.state == "bad":
            bad.setdefault(key, one.at)
            seen.setdefault(key, one.at)
            continue
        elif key in seen:
            sure.append(Down(seen.pop(key), one.at, (one.name,)))
        if one.state in ("good", "gone") and key in bad:
            spans.append(Down(bad.pop(key), one.at, (one.name,)))
    spans += [Down(since, None, (name,)) for (name, _), since in bad.items()]
    sure += [Down(since, None, (name,)) for (name, _), since in seen.items()]
    return Downs(tuple(union(spans)), tuple(union(sure)))


def union(spans: Iterable[Down]) -> list[Down]:
    """Times that overlap or touch, as one."""
    made: list[Down] = []
    for one in sorted(spans, key=lambda one: one.since):
        last = made[-1] if made else None
        if last is None or (last.until is not None and one.since > last.until):
            made.append(one)
            continue
        until = None if last.until is None or one.until is None else max(last.until, one.until)
        made[-1] = Down(last.since, until, tuple(sorted({*last.checks, *one.checks})))
    return made


def read(records: Iterable[tuple[float, str, Mapping[str, Any]]]) -> Iterator[Answered]:
    """Answers from records (time, kind, body)."""
    for at, kind, body in records:
        if kind == KIND:
            yield Answered(at, str(body["name"]), str(body.get("target", "")), str(body["state"]))
        elif kind in ("stopped", "started"):
            yield Answered(at, "", "", "")
