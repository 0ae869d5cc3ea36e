"""A policy as data: what ops wrote in a file, checked and typed. `policy_reader.py` makes these, `watch.py` runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from agent.action import Impact, impact_of
from agent.event import Event
from agent.recovery.rungs import Recover
from agent.schema import spell

if TYPE_CHECKING:
    from agent.grammar.problem import Place
    from agent.notifying.routes import Escalation

Severity = Literal["P0", "P1", "P2", "P3"]
Mode = Literal["enforce", "dry_run", "off"]
Class = Literal["security", "availability", "data", "other"]
"""What an incident is about: an attack or a breach; a service that is not there; a database; none of these."""
Regime = Literal["nis2", "dora", "gdpr"]
"""Laws that set a clock for telling an authority (detection.md, response/regimes.py)."""
Operator = Literal["is", "not", "in", "gt", "gte", "lt", "lte", "re", "has", "glob", "exists", "cidr", "list"]


ROUND: Final = "agent.round"
"""The policy of the agent's own canary (canary.py). It counts against nobody's limits and shows only where all is asked for."""
LOST_ROUND: Final = "agent.canary"
"""The policy that finds a canary lost."""
BUILT_IN: Final = frozenset({ROUND, LOST_ROUND})
"""Policies that no file holds, and none can: their names have a dot."""

# When ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Test:
    """One line of a field map. `operand` is already typed, as the events of the kind hold it:

    is: one value · in, not: a frozenset of values · gt, gte, lt, lte: a number · has: text · exists: a bool ·
    re: a pattern to `search` · glob: a pattern to `match` · cidr: a tuple of networks · list: a tuple of names of lists.
    A lone address is its canonical text. A map that names a field with two operators makes two tests.
    """

    field: str
    operator: Operator
    operand: Any
    written: str
    """The operand as ops wrote it, for explanations."""


@dataclass(frozen=True, slots=True)
class Count:
    """`>= 8 in 2m`: at least `least` events within `span`."""

    least: int
    span: timedelta

    def __str__(self) -> str:
        return f">= {self.least} in {spell(self.span)}"


@dataclass(frozen=True, slots=True)
class Distinct:
    """`user >= 5 in 1h`: at least `least` different values of `field` within `span`."""

    field: str
    least: int
    span: timedelta

    def __str__(self) -> str:
        return f"{self.field} >= {self.least} in {spell(self.span)}"


@dataclass(frozen=True, slots=True)
class Of:
    """`3 of 5`: true in at least `least` of the last `last` events of this key."""

    least: int
    last: int

    def __str__(self) -> str:
        return f"{self.least} of {self.last}"


@dataclass(frozen=True, slots=True)
class Held:
    """`2m`: true in every event of this key for `span`."""

    span: timedelta

    def __str__(self) -> str:
        return spell(self.span)


Window = Count | Distinct | Of | Held


@dataclass(frozen=True, slots=True)
class Part:
    """Events of one kind whose fields hold; with a window, so many of them. Without one, a single event is enough."""

    event: str
    match: tuple[Test, ...] = ()
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """One way for a policy to fire: one part, or several in order `within` a time. One window for each value of `by`."""

    parts: tuple[Part, ...]
    by: tuple[str, ...] = ()
    within: timedelta | None = None


# Then ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One action with its parameters: `literal` ones are typed already, `variable` ones name a field of the event."""

    action: type[Any]
    literal: Mapping[str, Any] = field(default_factory=dict)
    variable: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    on_error: Literal["stop", "continue"] = "stop"
    after: timedelta | None = None
    timeout: timedelta | None = None
    unasked: bool = False
    """`approve: never`: what is destructive waits for nobody, where two independent sources speak for it."""
    asks: bool = False
    """`approve: required`: it waits for a person, however mild it is."""
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)
    """Where each parameter stands in its file, and the action itself by the name ""; a policy that no file holds has none."""

    @property
    def impact(self) -> Impact:
        """How much the step may break; parameters that come from the event count as given."""
        return impact_of(self.action, {**self.literal, **{name: f"${field}" for name, field in self.variable.items()}})

    def bind(self, event: Event) -> Any:
        """The action with every parameter filled, or a sentence saying which field was empty or unfit.

        The sentence is a str; anything else is the bound action.
        """
        from agent.action import typed

        values = dict(self.literal)
        for name, source in self.variable.items():
            given = event.get(source)
            if given is None or given == "":
                return f"${source} is empty in this event"
            try:
                values[name] = typed(self.action, name, given)
            except ValueError as error:
                return f"${source} does not fit {self.action.name}.{name}: {error}"
        return self.action(**values)


@dataclass(frozen=True, slots=True)
class Rate:
    """`20 per 10m`: at most `most` in any `span`."""

    most: int
    span: timedelta

    @property
    def per_second(self) -> float:
        """The same as a number, to compare two of them."""
        return self.most / self.span.total_seconds()

    def __str__(self) -> str:
        return f"{self.most} per {spell(self.span)}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The `guard:` of a policy; what it leaves open is taken from agent.yaml, which always wins where it is tighter."""

    max: Rate | None = None
    max_active: int | None = None
    cooldown: timedelta | None = None
    never: tuple[str, ...] = ()
    share: float | None = None
    """At most this part of the clients that are connected, and of the containers that run: 0 to 1."""
    above: Rate | None = None
    """Beyond this rate a person must say yes."""
    overflow: tuple[Step, ...] = ()
    """What is done, once for all of them, when there are more targets than may be acted on."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """`incident:` of a policy: what its incidents are about, and which of them people see as one.

    Those of one policy that come within `window` of each other are one for people, with `by` all that have the same values of
    these fields, whatever their policies; `alone` ones are never. While one of it is open, those of the policies that it
    `inhibits` are told with it. `impact` are the checks whose bad answers are downtime, `regimes` the laws whose clocks begin.
    """

    about: Class = "other"
    by: tuple[str, ...] = ()
    alone: bool = False
    window: timedelta = timedelta(minutes=30)
    impact: tuple[str, ...] = ()
    inhibits: tuple[str, ...] = ()
    regimes: tuple[Regime, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """An `examples:` entry: events in, actions out, in virtual time. `policy_tests.py` runs them."""

    title: str
    events: tuple[tuple[float, Event], ...]
    expect: tuple[str, ...]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """One threat and what is done about it."""

    name: str
    severity: Severity
    when: tuple[Clause, ...]
    then: tuple[Step, ...] = ()
    title: str = ""
    mode: Mode | None = None
    unless: tuple[Test, ...] = ()
    guard: Limits = Limits()
    owner: str = ""
    runbook: str = ""
    tags: tuple[str, ...] = ()
    recover: Recover = field(default_factory=Recover)
    gathering: Gathering = Gathering()
    notify: tuple[str, ...] | None = None
    """The channels that are told; empty: nobody; None: as agent.yaml says for the severity."""
    escalate: tuple[Escalation, ...] | None = None
    on_evidence_failure: Literal["act", "refuse"] | None = None
    """Whether it acts while evidence cannot be written; None: as agent.yaml says, else only at P0 and P1."""
    examples: tuple[Example, ...] = field(default=(), compare=False)
    place: str = field(default="", compare=False)
    digest: str = ""
    """sha256 of the policy's own YAML text: the authority that evidence names."""
    text: str = field(default="", compare=False, repr=False)
    """That text."""

    @property
    def page(self) -> str:
        """Where its runbook is: an address, or a path, which a policy may give from where its own file is; empty without one."""
        if not self.runbook or "://" in self.runbook or not self.place:
            return self.runbook
        return str(PurePosixPath(self.place.rpartition(":")[0]).parent / self.runbook)

    def kinds(self) -> frozenset[str]:
        """The kinds of events that can move this policy."""
        return frozenset(part.event for clause in self.when for part in clause.parts)
