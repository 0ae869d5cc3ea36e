"""Why a policy would act on an event, or would not: line by line, without counting the event in. Pure.

Nov 23 06:00:01 db1 sshd[812]: Failed password for root from 203.0.113.7 port 5112 ssh2
└ sshd → auth.ssh.failure   src.ip=203.0.113.7 user=root method=password   (text can be forged)
  ├ ssh-brute-force   P2   does not fire
  │   yes  event auth.ssh.failure
  │   no   count 3 of 8 in 2m from 203.0.113.7
  └ …
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from agent.event import Event
from agent.policy import Count, Distinct, Policy, Test, Window
from agent.schema import spell, spoken
from agent.visible import visible
from agent.watching.clause import Live, OneLive, SequenceLive
from agent.watching.match import Lists, holds, shown, why
from agent.watching.watch import Watch

Answer = Literal["yes", "no", ""]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at. `answer` is empty for what is only said; `wanted` is what ops wrote."""

    answer: Answer
    say: str
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What one policy makes of the event."""

    policy: str
    severity: str
    fires: bool
    say: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What all policies make of the event. `others` do not listen to its kind."""

    event: Event
    told: tuple[Told, ...]
    others: int


def explain(watch: Watch, event: Event, now: float) -> Explained:
    """What each policy would make of the event if it came now, with all that `watch` has seen so far."""
    beside = watch.beside(event, now)
    concerned = [one for one in watch.policies if event.kind in one.kinds()]
    told = tuple(_policy(one, [live for live in beside.live if live.policy is one], event, beside) for one in concerned)
    return Explained(event, told, len(watch.policies) - len(told))


def _policy(policy: Policy, clauses: Sequence[Live], event: Event, beside: Watch) -> Told:
    if policy.mode == "off":
        return Told(policy.name, policy.severity, False, "off: it is not watched", ())
    lines: list[Line] = []
    whole, left_alone = None, ""
    for live in clauses:
        if event.kind not in live.kinds:
            continue
        if len(policy.when) > 1:
            lines.append(Line("", f"clause {live.number + 1} of {len(policy.when)}"))
        key = live.take(event, beside.clock)
        lines += _clause(live, event, beside, fires=key is not None)
        if key is not None and whole is None:
            whole = live.merged(key, event)
            left_alone = live.left_alone(whole)
    lines += [_test("unless ", one, whole or event, beside.lists) for one in policy.unless]
    lines += [Line("", f"guard: {said}") for said in _guard(policy)]
    lines += [Line("", said) for said in _steps(policy, whole or event)]
    if whole is None:
        return Told(policy.name, policy.severity, False, "does not fire", tuple(lines))
    say = f"fires, but leaves it alone: {left_alone}" if left_alone else "fires"
    return Told(policy.name, policy.severity, not left_alone, say, tuple(lines))


def _clause(live: Live, event: Event, beside: Watch, *, fires: bool) -> Iterator[Line]:
    parts = live.parts if isinstance(live, SequenceLive) else [live] if isinstance(live, OneLive) else []
    for one in parts:
        if one.part.event == event.kind:
            yield Line("yes", f"event {event.kind}")
            yield from (_test("", test, event, beside.lists) for test in one.part.match)
    key = live.key_of(event)
    if key is None:
        absent = [name for name in live.clause.by if event.get(name) is None]
        yield Line("no", f"{' and '.join(absent)} is absent, and `by` needs it")
    elif fires and live.fill(key, beside.clock):
        yield Line("yes", live.because(key, beside.clock))
    elif filled := live.fill(key, beside.clock):
        yield Line(
            "no",
            f"sequence{live.whom(key)}: {filled}" if len(live.clause.parts) > 1 else f"{_word(live)}{filled}{live.whom(key)}",
        )


def _word(live: Live) -> str:
    words: dict[type[Window], str] = {Count: "count ", Distinct: "distinct "}
    return words.get(type(live.clause.parts[0].window), "for: ")  # type: ignore[arg-type]


def _test(prefix: str, test: Test, event: Event, lists: Lists) -> Line:
    value = event.get(test.field)
    wanted = test.written if test.operator in ("is", "in") else f"{test.operator} {test.written}"
    return Line("yes" if holds(test, lists)(value) else "no", f"{prefix}{why(test, value, lists)}", wanted)


def _guard(policy: Policy) -> Iterator[str]:
    guard = policy.guard
    if guard.max:
        yield f"at most {guard.max}"
    if guard.max_active is not None:
        yield f"at most {guard.max_active} in force"
    if guard.cooldown:
        yield f"not again within {spell(guard.cooldown)}"
    if guard.never:
        yield f"never what is on {' or '.join(guard.never)}"


def _steps(policy: Policy, event: Event) -> Iterator[str]:
    if not policy.then:
        yield "then: an incident, no action"
    for step in policy.then:
        bound = step.bind(event)
        later = f", {spell(step.after)} later if it still fires" if step.after else ""
        if isinstance(bound, str):
            yield f"then: {'skips' if step.optional else 'refuses'} {step.action.name}: {visible(bound, 300)}"
        else:
            yield f"then: {spell_action(bound)}{later}"


def spell_action(action: Any) -> str:
    """An action as one writes it in examples: `block_ip(ip=203.0.113.7, ttl=1h x2 up to 7d)`; defaults are left out."""
    given = [(one.name, getattr(action, one.name)) for one in fields(action) if getattr(action, one.name) != one.default]
    given = [(name, value) for name, value in given if value not in (None, MISSING, ())]
    return f"{action.name}({', '.join(f'{name}={spell_value(value)}' for name, value in given)})"


def spell_value(value: Any) -> str:
    """A parameter's value as one writes it in YAML."""
    if isinstance(value, IPv4Network | IPv6Network):
        return spoken(value)
    if isinstance(value, timedelta):
        return spell(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(spell_value(one) for one in value)}]"
    return shown(value)


# For people ----------------------------------------------------------------------------------------------------------------


def text(explained: Explained) -> str:
    """The explanation as a tree for a terminal. Nothing that a log line holds can reach the terminal as it is."""
    event = explained.event
    shown = "   ".join(
        part
        for part in (
            f"{visible(event.source, 80)} → {event.kind}" if event.source else event.kind,
            _fields(event.fields),
            "(text can be forged)" if event.forgeable else "",
        )
        if part
    )
    head = [visible(event.raw, 500), f"└ {shown}"] if event.raw else [shown]
    return "\n".join([*head, *_branches(explained, "  " if event.raw else "")])


def _branches(explained: Explained, indent: str) -> Iterator[str]:
    if not explained.told:
        yield f"{indent}└ no policy listens to {explained.event.kind}"
    for number, told in enumerate(explained.told, 1):
        last = number == len(explained.told)
        yield f"{indent}{'└' if last else '├'} {told.policy}   {told.severity}   {told.say}"
        for line in told.lines:
            wanted = f"   (wanted: {line.wanted})" if line.wanted else ""
            yield f"{indent}{' ' if last else '│'}   {line.answer:<3}  {line.say}{wanted}"


def _fields(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={shown(value)}" for name, value in values.items() if value is not None)
