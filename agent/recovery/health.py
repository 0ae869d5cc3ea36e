"""What checks have said since the start: how often good in a row, and whether they flap. Pure.

Nothing here outlives the agent: after a start a check has to be good as often as before anything rests on it. An unknown answer
ends a row, and so does what a mitigation in force brings about itself: stop a service, and its check says nothing of the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple

from agent import shadow
from agent.event import CHECK, Event
from agent.incident import Incident
from agent.policy import Clause, Policy
from agent.recovery.releases import WITHIN
from agent.recovery.rungs import Proof
from agent.schema import rough
from agent.settle import active
from agent.turn import Agent, Turn
from agent.watching.match import matcher

MOST: Final = 10_000
"""Checks and their targets that are followed."""
LONGEST_ROW: Final = 64
"""Good answers in a row whose times are known."""
STATES: Final = 21
"""Answers by which it is told whether a check flaps; these numbers are Nagios' own (base/flapping.c), and fixed."""
LIGHT, HEAVY = 0.75, 1.25
"""What the oldest change among them counts, and the latest."""
FLAPS, STEADY = 30.0, 20.0
"""Percent of changes above which it begins to flap, and below which it no longer does."""
_WHICH: Final = frozenset({"name", "check", "target", "about"})
"""Fields that say which check it is; the others say how it is."""
_HOOK: Final = "run_hook"

Key = tuple[str, str]
"""A check's name, and its target."""


class Row(NamedTuple):
    """One check's answers about one target. `good` are the times of the last good ones in a row, since `since`."""

    fields: Mapping[str, Any]
    last: float = 0.0
    good: tuple[float, ...] = ()
    since: float = 0.0
    states: tuple[bool, ...] = ()
    flaps: bool = False
    say: str = ""

    @property
    def name(self) -> str:
        """The check's name in agent.yaml."""
        return str(self.fields["name"])

    def shift(self, by: float) -> Row:
        """The host's clock was set."""
        return self._replace(last=self.last + by, good=tuple(one + by for one in self.good), since=self.since + by)

    def lacks(self, proof: Proof, since: float) -> str:
        """What is missing for the proof, counting answers from `since` on; empty where it is there."""
        if self.flaps:
            return f"{self.name} flaps"
        if not self.good:
            return f"{self.name}: {self.say}"
        if proof.span is not None:
            steady = self.good[-1] - max(self.since, since)
            short = steady < proof.span.total_seconds()
            return f"{self.name} has been good for {rough(timedelta(seconds=max(0.0, steady)))} only" if short else ""
        times = sum(at >= since for at in self.good)
        return f"{self.name} was good {times} of {proof.times} times" if times < proof.times else ""


# Hearing ------------------------------------------------------------------------------------------------------------------


def answered(turn: Turn, event: Event) -> None:
    """Take in what a check says."""
    if event.kind != CHECK.name:
        return
    rows, key = turn.agent.answers, (str(event.get("name")), str(event.get("target") or ""))
    if key not in rows and len(rows) >= MOST:
        turn.agent.state.evict("answers")
        return
    fields = {name: event.get(name) for name in (*_WHICH, "source")}
    before = rows.get(key, Row(fields))
    said = event.get("ok")
    by_us = shadow.standing(turn.agent.state.shadows, event)
    ok = said if isinstance(said, bool) and not by_us else None
    say = f"{by_us} brings its answer about" if by_us else str(event.get("say") or "bad")
    row = before._replace(fields=fields, last=turn.now, say=say)
    row = row._replace(good=(*before.good, turn.now)[-LONGEST_ROW:] if ok else ())
    row = row._replace(since=(before.since if before.good else turn.now) if ok else 0.0)
    rows[key] = row if ok is None else _judged(row, ok)
    if rows[key].flaps and not before.flaps:
        _freeze(turn, rows[key])


def _judged(row: Row, ok: bool) -> Row:
    states = (*row.states, ok)[-STATES:]
    changed = percent(states)
    return row._replace(states=states, flaps=changed > STEADY if row.flaps else changed > FLAPS)


def percent(states: tuple[bool, ...]) -> float:
    """How much of what could change did, the latest counting most; in percent of STATES answers, however few there are yet."""
    missing = STATES - len(states)
    step = (HEAVY - LIGHT) / (STATES - 2)
    changes = (at for at, (one, other) in enumerate(pairwise(states), missing) if one is not other)
    return sum(LIGHT + at * step for at in changes) * 100 / (STATES - 1)


def _freeze(turn: Turn, row: Row) -> None:
    """It comes and goes: what was made because of it holds its whole time."""
    agent = turn.agent
    for incident in list(agent.state.incidents.values()):
        policy = agent.policies.get(incident.policy)
        if incident.over or policy is None or row not in _rows(agent, policy, incident.target):
            continue
        ends = [one.until for one in active(turn, incident)]
        if ends:
            until = max((one for one in ends if one is not None), default=turn.now + WITHIN)
            body = {"policy": incident.policy, "target": incident.target, "until": until, "because": f"{row.name} flaps"}
            turn.note("release_frozen", body, incident=incident.id)


# Which checks an incident is about ----------------------------------------------------------------------------------------


def named(agent: Agent, policy: Policy) -> tuple[str, ...]:
    """The checks that its `verify` names, and those of the hooks it runs; empty where its clauses say which."""
    hooks = [step.literal.get("hook") for step in policy.then if step.action.name == _HOOK]
    checks = [name for one in hooks for name in agent.settings.hooks.get(str(one), ())]
    return tuple(dict.fromkeys((*policy.recover.verify, *checks)))


def lacking(agent: Agent, incident: Incident, proof: Proof, since: float) -> str:
    """Why the checks that an incident is about do not say that all is well; empty where they do, or where there are none."""
    policy = agent.policies.get(incident.policy)
    if policy is None:
        return ""
    silent = _silent(agent, policy, incident.target)
    if silent:
        return f"{silent[0]} has not answered yet"
    return next((why for row in _rows(agent, policy, incident.target) if (why := row.lacks(proof, since))), "")


def checked(agent: Agent, incident: Incident) -> tuple[str, ...]:
    """The names of the checks that an incident is about, as far as they are there."""
    policy = agent.policies.get(incident.policy)
    if policy is None:
        return ()
    names = (*_silent(agent, policy, incident.target), *(row.name for row in _rows(agent, policy, incident.target)))
    return tuple(dict.fromkeys(names))


def _rows(agent: Agent, policy: Policy, target: str) -> list[Row]:
    """The answers that count: of those of one check only what was asked about last, since a mount or a unit may be gone."""
    names, rows = named(agent, policy), agent.answers.values()
    ours = [row for row in rows if (row.name in names if names else _of_clauses(agent, policy, row, target))]
    latest: dict[str, float] = {}
    for row in rows:
        latest[row.name] = max(row.last, latest.get(row.name, 0.0))
    return [row for row in ours if latest[row.name] - row.last < 1.0]


def _of_clauses(agent: Agent, policy: Policy, row: Row, target: str) -> bool:
    for clause in _clauses(policy):
        key = " ".join(str(row.fields.get(field)) for field in clause.by) or agent.settings.host
        if key == target and _chooses(agent, clause, row.fields, _WHICH):
            return True
    return False


def _clauses(policy: Policy) -> Iterator[Clause]:
    return (one for one in policy.when if any(part.event == CHECK.name for part in one.parts))


def _chooses(agent: Agent, clause: Clause, fields: Mapping[str, Any], by: frozenset[str]) -> bool:
    event = Event(CHECK.name, 0.0, dict(fields))
    parts = ([test for test in part.match if test.field in by] for part in clause.parts if part.event == CHECK.name)
    return any(matcher(tests, agent.watch.lists)(event) for tests in parts)


def _silent(agent: Agent, policy: Policy, target: str) -> list[str]:
    """Checks of agent.yaml that it is about and that have said nothing since the start."""
    heard = {row.name for row in agent.answers.values()}
    names = named(agent, policy)
    return [
        name
        for name, kind in agent.settings.checks.items()
        if name not in heard and (name in names if names else _may_be(agent, policy, {"name": name, "check": kind}, target))
    ]


def _may_be(agent: Agent, policy: Policy, fields: Mapping[str, str], target: str) -> bool:
    for clause in _clauses(policy):
        named_so = "name" not in clause.by or fields["name"] in target
        if named_so and _chooses(agent, clause, fields, frozenset({"name", "check"})):
            return True
    return False
