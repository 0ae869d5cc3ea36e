"""The examples and tests of policies, run in virtual time: events in, findings and actions out, an hour in a millisecond. Pure.

What is done about a finding is asked of a `Decider`. `Rehearsal` is the plain one: it binds the steps, repeats itself at most
once a minute for each target, and knows no guard, no mode and no mitigation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Protocol

from agent.event import Event, Value
from agent.policy import Policy, Step
from agent.schema import spell
from agent.watching.explain import spell_action
from agent.watching.watch import Hit, Watch

BEGIN: Final = 1_000_000.0
"""The virtual time at which every test starts."""
QUIET: Final = 60.0
"""Seconds in which a rehearsal answers a target once."""
FINDING: Final = "finding"
"""What an example expects of a policy that takes no action."""

DO: Final = "do"
"""How an action went that nothing stood against."""
_GIVEN: Final = re.compile(r"(?P<name>\w+)=(?P<value>.*?)(?:, *(?=\w+=)|$)")

Lists = Mapping[str, Sequence[IPv4Network | IPv6Network]]


@dataclass(frozen=True, slots=True)
class Done:
    """Something that came of the events.

    `what` is an action as spell_action writes it, and `state` how it went; or `finding`, and `state` is the severity.
    """

    at: float
    policy: str
    what: str
    state: str = DO


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come: `what` as in `Done`, or `none` for nothing at all. `at` is in seconds from the start."""

    what: str
    at: float | None = None
    times: int | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One test: events to some policies. `exact` cases allow no action that is not expected."""

    title: str
    policies: tuple[Policy, ...]
    events: tuple[tuple[float, Event], ...]
    expect: tuple[Expectation, ...]
    exact: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """How one test went; `because` is empty where it is ok."""

    title: str
    place: str
    because: str

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"FAIL  {where}{self.title}\n      {self.because}" if self.because else f"ok    {where}{self.title}"


@dataclass(frozen=True, slots=True)
class Report:
    """How all tests went, and which policies none of them has seen fire."""

    rows: tuple[Row, ...]
    coverage: str

    @property
    def failed(self) -> int:
        """How many tests failed."""
        return sum(1 for row in self.rows if row.because)


class Decider(Protocol):
    """What the agent does about findings, in virtual time."""

    def found(self, hit: Hit, now: float) -> Iterable[Done]:
        """A policy's condition holds."""

    def passed(self, now: float) -> Iterable[Done]:
        """It is `now`; what has come due is done."""


def examples(policies: Sequence[Policy]) -> list[Case]:
    """The `examples` of the policies, each for its own policy alone."""
    return [
        Case(one.title, (policy,), one.events, tuple(Expectation(what) for what in one.expect), True, one.place or policy.place)
        for policy in policies
        for one in policy.examples
    ]


def run(cases: Sequence[Case], lists: Lists, decider: Callable[[], Decider] | None = None) -> Report:
    """Run the tests, each with empty windows. A policy that is off, or in dry run, is tested as if it were enforced."""
    fired: set[tuple[str, int]] = set()
    rows = tuple(_run(case, lists, (decider or Rehearsal)(), fired) for case in cases)
    policies = {policy.name: policy for case in cases for policy in case.policies}
    return Report(rows, coverage(tuple(policies.values()), fired))


def _run(case: Case, lists: Lists, decider: Decider, fired: set[tuple[str, int]]) -> Row:
    watch = Watch([replace(policy, mode="enforce") for policy in case.policies], lists)
    done: list[Done] = []
    for at, event in sorted(case.events, key=lambda pair: pair[0]):
        now = BEGIN + at
        done += decider.passed(now)
        for hit in watch.feed(event._replace(seen=now, ts=now), now):
            fired.add((hit.policy.name, hit.clause))
            done += decider.found(hit, now)
    done += decider.passed(float("inf"))
    return Row(case.title, case.place, "; ".join(_failures(case, [replace(one, at=one.at - BEGIN) for one in done])))


class Rehearsal:
    """The plain decider."""

    def __init__(self) -> None:
        """Start with nothing found."""
        self._answered: dict[tuple[str, tuple[Value, ...]], float] = {}
        self._last: dict[tuple[str, tuple[Value, ...]], float] = {}
        self._later: list[tuple[float, float, Hit, Step]] = []

    def found(self, hit: Hit, now: float) -> Iterator[Done]:
        """Answer a finding, unless its target was answered a moment ago or is to be left alone."""
        if hit.unless:
            return
        target = (hit.policy.name, hit.key)
        self._last[target] = now
        if now - self._answered.get(target, float("-inf")) < QUIET:
            return
        self._answered[target] = now
        yield Done(now, hit.policy.name, FINDING, hit.policy.severity)
        for step in hit.policy.then:
            if step.after is None:
                yield from _bound(hit, step, now)
            else:
                self._later.append((now + step.after.total_seconds(), now, hit, step))

    def passed(self, now: float) -> Iterator[Done]:
        """Do the steps with `after:` whose time has come, where the condition has held again since."""
        due = sorted((one for one in self._later if one[0] <= now), key=lambda one: one[0])
        self._later = [one for one in self._later if one[0] > now]
        for at, since, hit, step in due:
            if self._last[(hit.policy.name, hit.key)] > since:
                yield from _bound(hit, step, at)


def _bound(hit: Hit, step: Step, now: float) -> Iterator[Done]:
    bound = step.bind(hit.event)
    if not isinstance(bound, str):
        yield Done(now, hit.policy.name, spell_action(bound))
    elif not step.optional:
        yield Done(now, hit.policy.name, step.action.name, f"refused: {bound}")


# Held against what was expected --------------------------------------------------------------------------------------------


def _failures(case: Case, done: Sequence[Done]) -> Iterator[str]:
    wanted = [one for one in case.expect if one.what != "none"]
    if not wanted:
        if done:
            yield f"expected nothing, got {_told(done)}"
        return
    for one in wanted:
        yield from _missing(one, done)
    if case.exact:
        extra = [one for one in done if one.what != FINDING and not any(_same(each.what, one.what) for each in wanted)]
        if extra:
            yield f"did not expect {_told(extra)}"


def _missing(wanted: Expectation, done: Sequence[Done]) -> Iterator[str]:
    same = [one for one in done if _same(wanted.what, one.what) and wanted.state in (None, one.state)]
    met = [one for one in same if wanted.at is None or one.at == wanted.at]
    if wanted.times is None and met:
        return
    if wanted.times is not None and len(met) == wanted.times:
        return
    when = f" at {_time(wanted.at)}" if wanted.at is not None else ""
    often = f" {wanted.times} times" if wanted.times is not None else ""
    state = f" ({wanted.state})" if wanted.state else ""
    yield f"expected {wanted.what}{state}{when}{often}, got {_told(done)}"


def _same(wanted: str, got: str) -> bool:
    """Whether two actions are the same, in whatever order their parameters stand."""
    return _read_call(wanted) == _read_call(got)


def _read_call(text: str) -> tuple[str, frozenset[tuple[str, str]]]:
    name, _, given = text.partition("(")
    return name, frozenset((one["name"], one["value"].replace(" ", "")) for one in _GIVEN.finditer(given.removesuffix(")")))


def _told(done: Sequence[Done]) -> str:
    """What came, in a line: the first few, with their times."""
    if not done:
        return "nothing"
    shown = [f"{one.what} at {_time(one.at)}{'' if one.state == DO else f' ({one.state})'}" for one in done[:4]]
    return ", ".join(shown) + (f" and {len(done) - 4} more" if len(done) > 4 else "")


def _time(seconds: float) -> str:
    return spell(timedelta(seconds=seconds))


def coverage(policies: Sequence[Policy], fired: set[tuple[str, int]]) -> str:
    """`7 of 8 policies fired in some test; shop-down clause 2 never`."""
    idle = [policy.name for policy in policies if not any(name == policy.name for name, _ in fired)]
    clauses = [
        f"{policy.name} clause {number + 1}"
        for policy in policies
        for number in range(len(policy.when))
        if len(policy.when) > 1 and policy.name not in idle and (policy.name, number) not in fired
    ]
    never = f"; {', '.join(idle + clauses)} never" if idle or clauses else ""
    return f"{len(policies) - len(idle)} of {len(policies)} policies fired in some test{never}"
