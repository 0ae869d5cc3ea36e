"""How fast incidents were detected, acknowledged, contained and resolved, and how often policies erred: from records alone. Pure.

Several that people saw as one count as one. What a person says was none counts as an error of its policy, and in no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from agent.record import Record
from agent.report.downtime import KIND as ANSWER
from agent.report.downtime import Answered, downs
from agent.report.downtime import read as answers
from agent.report.life import KINDS, Life, first_contained

NEEDLES: Final = (*(f'"kind":"{kind}"'.encode() for kind in sorted(KINDS - {"in_force", "done"})), b'"contains":true')
"""What stands in the bytes of the records that this is made of."""
AROUND: Final = (f'"kind":"{ANSWER}"'.encode(), b'"kind":"started"', b'"kind":"stopped"')
TIMES: Final = ("detect", "acknowledge", "contain", "resolve", "downtime")
SEVERITIES: Final = ("P0", "P1", "P2", "P3")


class One(NamedTuple):
    """An incident, with all that was told with it, in seconds; None for what has not come or was not measured."""

    id: str
    severity: str
    policy: str
    opened: float
    false: bool
    detect: float | None
    acknowledge: float | None
    contain: float | None
    resolve: float | None
    downtime: float | None


class Spread(NamedTuple):
    """How many there are, the middle one, and the one that 19 of 20 do not exceed; seconds."""

    incidents: int
    median: float
    p95: float


class Erring(NamedTuple):
    """A policy: how many of its incidents there were, and how many of them were none."""

    policy: str
    incidents: int
    false: int


class Metrics(NamedTuple):
    """All of it: the times by severity and by what they measure, the policies that erred, and the incidents themselves."""

    since: float
    until: float
    times: Mapping[str, Mapping[str, Spread]]
    counts: Mapping[str, int]
    policies: tuple[Erring, ...]
    incidents: tuple[One, ...]


class _Opened(NamedTuple):
    at: float
    began: float
    impact: tuple[str, ...]


def metrics(records: Iterable[tuple[float, Record]], since: float, now: float, *, whole: bool = True) -> Metrics:
    """Of the incidents that were opened from `since` on (Unix seconds), as of `now`; records come with their times, in order.

    Where they are not the `whole` journal, an incident counts that is seen to be opened.
    """
    life, openings, said = Life(), dict[str, _Opened](), list[tuple[float, str, Mapping[str, Any]]]()
    for at, record in records:
        if record.kind == "clock_set":
            by = float(record.body["by"])
            _set(life, openings, by)
            said = [(each + by, kind, body) for each, kind, body in said]
            continue
        if record.kind in (ANSWER, "started", "stopped"):
            said.append((at, record.kind, record.body))
            continue
        if record.kind == "finding" and record.incident not in openings:
            body = record.body
            if not (whole or "began" in body or "at" in body):
                continue
            began = min(at, float(body.get("began", body.get("at", at))))
            openings[record.incident] = _Opened(at, began, tuple(body.get("impact", ())))
        if record.incident in openings:
            life.take(record, at)
    heard = list(answers(said))
    found = tuple(one for one in _each(life, openings, heard, now) if one.opened >= since)
    return Metrics(since, now, _times(found), _counts(found), _erring(found), found)


def _set(life: Life, openings: dict[str, _Opened], by: float) -> None:
    """The host's clock was set: what is known so far moves along."""
    from agent.clock import shift

    shift(life.state, by)
    for book in (life.contained, life.acked):
        book.update({name: at + by for name, at in book.items()})
    openings.update({name: one._replace(at=one.at + by, began=one.began + by) for name, one in openings.items()})


def _each(life: Life, openings: Mapping[str, _Opened], heard: Sequence[Answered], now: float) -> Iterator[One]:
    for one in list(life.state.incidents.values()):
        if one.lead or (seen := life.picture(one.id)) is None:
            continue
        all_of_it = [each.id for each in seen.all]
        opened = {name: openings[name].at for name in all_of_it}
        first, began = min(opened.values()), min(openings[name].began for name in all_of_it)
        acked = min((life.acked[name] for name in all_of_it if name in life.acked), default=None)
        contained = first_contained(opened, life.contained)
        checks = {check for name in all_of_it for check in openings[name].impact}
        down = downs(heard, checks).about(began, seen.resolved).seconds(now) if checks else None
        yield One(
            id=one.id,
            severity=seen.severity,
            policy=one.policy,
            opened=first,
            false=one.false,
            detect=first - began,
            acknowledge=None if acked is None else max(0.0, acked - first),
            contain=None if contained is None else contained - first,
            resolve=None if seen.resolved is None else seen.resolved - began,
            downtime=down,
        )


def _times(found: Sequence[One]) -> dict[str, dict[str, Spread]]:
    made: dict[str, dict[str, Spread]] = {}
    for severity in SEVERITIES:
        of = [one for one in found if one.severity == severity and not one.false]
        spreads = {name: spread for name in TIMES if (spread := _spread([getattr(one, name) for one in of]))}
        if of:
            made[severity] = spreads
    return made


def _spread(values: Iterable[float | None]) -> Spread | None:
    there = sorted(one for one in values if one is not None)
    if not there:
        return None
    return Spread(len(there), median(there), there[min(len(there) - 1, -(-len(there) * 95 // 100) - 1)])


def _counts(found: Sequence[One]) -> dict[str, int]:
    return {severity: sum(one.severity == severity and not one.false for one in found) for severity in SEVERITIES}


def _erring(found: Sequence[One]) -> tuple[Erring, ...]:
    """The worst first."""
    names = sorted({one.policy for one in found})
    made = [
        Erring(name, sum(o.policy == name for o in found), sum(o.policy == name and o.false for o in found)) for name in names
    ]
    return tuple(sorted(made, key=lambda one: (-one.false, -one.incidents, one.policy)))
