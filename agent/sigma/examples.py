"""An event that a policy fires on, and one that it does not: made up from its tests, and kept only where they prove true."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from agent.event import Catalogue, Kind, Value
from agent.grammar.located import Problems
from agent.grammar.policy_reader import read_policies
from agent.policy import Clause, Count, Distinct, Part, Policy, Test
from agent.schema import spell
from agent.sigma.written import flow
from agent.watching import policy_tests
from agent.watching.match import holds

_PARSER: Final[Any] = importlib.import_module("re._parser")
_DEFAULTS: Final[Mapping[str, tuple[Value, ...]]] = {
    "address": ("203.0.113.7", "198.51.100.7", "2001:db8::7"),
    "text": ("something-else", "x", ""),
    "integer": (7, 1, 0),
    "number": (7, 0.5, 0),
    "port": (4711, 1, 0),
    "flag": (True, False),
}
_EACH: Final = {"address": "203.0.113.#", "text": "name-#", "integer": "#", "number": "#", "port": "#"}
_CATEGORIES: Final = {"DIGIT": "0", "SPACE": " ", "WORD": "w"}
_OTHERS: Final = "x0 -_/.A\t"
_MOST_TRIED: Final = 12
_LONGEST: Final = 500
Fields = dict[str, Any]


class _Try(NamedTuple):
    title: str
    events: list[Fields]
    expect: list[str]

    def lines(self) -> Iterator[str]:
        yield f"  - title: {flow(self.title)}"
        yield "    events:"
        for one in self.events:
            yield f"      - {flow(one)}"
        yield f"    expect: {flow(self.expect)}"


def shown(policy: Policy, text: str, catalogue: Catalogue) -> str:
    """The lines `examples:` of a policy whose other lines are `text`; none where no example could be made."""
    firing = [one for number in range(len(policy.when)) if (one := _firing(policy, number, catalogue.kinds))][:4]
    tries = [*firing, *([] if not firing else _quiet(policy, firing[0], catalogue.kinds))][:_MOST_TRIED]
    proven = _proven(text, tries, catalogue)
    kept = [next((one for one in proven if bool(one.expect) == fires), None) for fires in (True, False)]
    lines = [line for one in kept if one for line in one.lines()]
    return "\n".join(["examples:", *lines]) + "\n" if lines else ""


def _proven(text: str, tries: Sequence[_Try], catalogue: Catalogue) -> list[_Try]:
    if not tries:
        return []
    written = "\n".join(["examples:", *(line for one in tries for line in one.lines())])
    try:
        policies, _ = read_policies({"-": f"{text}{written}\n"}, catalogue)
    except Problems:
        return _proven(text, tries[:1], catalogue) if len(tries) > 1 else []
    report = policy_tests.run(policy_tests.examples(policies), catalogue.lists)
    return [one for one, row in zip(tries, report.rows, strict=True) if not row.because]


# One that fires -----------------------------------------------------------------------------------------------------------


def _firing(policy: Policy, number: int, kinds: Mapping[str, Kind]) -> _Try | None:
    clause = policy.when[number]
    events = [_event(part, clause, policy.unless, kinds) for part in clause.parts]
    if any(one is None for one in events):
        return None
    known = [one for one in events if one is not None]
    if len(known) > 1:
        return _Try("one after the other", [{"at": f"{at}s", **one} for at, one in enumerate(known)], ["finding"])
    window = clause.parts[0].window
    if isinstance(window, Count | Distinct):
        every = spell(timedelta(seconds=min(10.0, window.span.total_seconds() / (2 * window.least))))
        return _Try(f"{window.least} within {spell(window.span)}", [_repeated(known[0], window.least, every)], ["finding"])
    return _Try("what the rule is about", [{"at": "0s", **known[0]}], ["finding"])


def _repeated(event: Fields, times: int, every: str) -> Fields:
    return {"at": "0s", **({"repeat": f"{times} every {every}"} if times > 1 else {}), **event}


def _event(part: Part, clause: Clause, unless: Sequence[Test], kinds: Mapping[str, Kind]) -> Fields | None:
    kind, fields = kinds[part.event], Fields()
    for name in dict.fromkeys([*(one.field for one in part.match), *clause.by]):
        tests, spared = ([one for one in each if one.field == name] for each in (part.match, unless))
        value = _value(tests, spared, kind.field(name) or "text")
        if value is None and not any(one.operator == "exists" and not one.operand for one in tests):
            return None
        fields |= {name: value} if value is not None else {}
    if isinstance(part.window, Distinct):
        fields[part.window.field] = _EACH.get(kind.field(part.window.field) or "text", "#")
    return {"event": part.event, **fields}


def _value(tests: Sequence[Test], spared: Sequence[Test], kind: str) -> Value:
    """A value for which all tests hold, and no line of `unless`; None where none was found."""
    wanted, unwanted = ([holds(one, {}) for one in each] for each in (tests, spared))
    guesses: list[Value] = [value for test in tests for value in _guesses(test)]
    for one in (*guesses, *_DEFAULTS.get(kind, ())):
        if all(told(one) for told in wanted) and not any(told(one) for told in unwanted):
            return one
    return None


def _guesses(test: Test) -> Iterator[Any]:
    operand = test.operand
    match test.operator:
        case "is" | "has" | "gte" | "lte":
            yield operand
        case "in":
            yield from sorted(operand, key=str)[:5]
        case "gt":
            yield operand + 1
        case "lt":
            yield operand - 1
        case "cidr":
            yield from (str(one.network_address + min(7, one.num_addresses - 1)) for one in operand[:5])
        case "re" | "glob":
            yield "".join(_sampled(_PARSER.parse(operand.pattern, operand.flags)))[:_LONGEST]


def _sampled(tree: Iterable[Any]) -> Iterator[str]:  # noqa: C901 - one case for each operation of the engine
    """A text that an expression may find; what it looks ahead for comes first."""
    for operation, detail in tree:
        match str(operation):
            case "LITERAL":
                yield chr(detail)
            case "NOT_LITERAL":
                yield next(one for one in _OTHERS if ord(one) != detail)
            case "ANY":
                yield "x"
            case "IN":
                yield _of_set(detail)
            case "BRANCH":
                yield from _sampled(detail[1][0])
            case "SUBPATTERN":
                yield from _sampled(detail[3])
            case "ATOMIC_GROUP":
                yield from _sampled(detail)
            case "ASSERT":
                yield from _sampled(detail[1])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield "".join(_sampled(detail[2])) * min(int(detail[0]), _LONGEST)


def _of_set(detail: Sequence[Any]) -> str:
    if str(detail[0][0]) == "NEGATE":
        literal = {value for what, value in detail[1:] if str(what) == "LITERAL"}
        return next((one for one in _OTHERS if ord(one) not in literal), "~")
    what, value = detail[0]
    if str(what) == "CATEGORY":
        return _CATEGORIES.get(str(value).removeprefix("CATEGORY_"), "x")
    return chr(value[0] if str(what) == "RANGE" else value)


# One that does not --------------------------------------------------------------------------------------------------------


def _quiet(policy: Policy, firing: _Try, kinds: Mapping[str, Kind]) -> Iterator[_Try]:
    """The same, but for one thing."""
    last = firing.events[-1]
    if "repeat" in last:
        times, _, every = str(last["repeat"]).partition(" every ")
        yield _Try("one fewer does nothing", [_repeated(_bare(last), int(times) - 1, every)], [])
        return
    if len(firing.events) > 1:
        yield _Try("the last one alone does nothing", [last], [])
        return
    kind = kinds[last["event"]]
    for test in policy.unless:
        for value in (*_guesses(test), *_DEFAULTS.get(kind.field(test.field) or "text", ())):
            if kind.field(test.field) and holds(test, {})(value):
                yield _Try(f"with this {test.field} it is left alone", [{**last, test.field: value}], [])
                break
    for name in [one for one in last if one not in ("at", "event")]:
        for other in _DEFAULTS.get(kind.field(name) or "text", ()):
            yield _Try(f"with another {name} it is nothing", [{**last, name: other}], [])


def _bare(event: Fields) -> Fields:
    return {name: value for name, value in event.items() if name not in ("at", "repeat")}
