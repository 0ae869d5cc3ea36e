"""Field maps made quick: each test becomes a small function once, when a policy is loaded. Pure.

One rule for what is absent: a field that an event does not have makes every test false, except `exists: false`. So an
unknown answer (a check without `ok`) matches neither `ok: false` nor `ok: {not: true}`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from agent.event import Event, Value
from agent.policy import Test
from agent.visible import visible
from agent.watching.networks import Network, Networks

Holds = Callable[[Value], bool]
Matches = Callable[[Event], bool]

LONGEST_TEXT: Final = 4096
"""Characters a pattern looks at: ops' patterns may backtrack, and log text is a stranger's."""


class Finds(Protocol):
    """A list that can be asked: one of agent.yaml, or one that others keep, which changes meanwhile."""

    def find(self, text: Value) -> str:
        """The listed network that holds all of this address or network, as people write it; empty where none does."""
        ...


Lists = Mapping[str, Finds]


def index_lists(lists: Mapping[str, Sequence[Network] | Finds]) -> dict[str, Finds]:
    """The named lists, ready to be asked; one that is ready already stays as it is."""
    return {name: Networks(one) if isinstance(one, Sequence) else one for name, one in lists.items()}


# One test --------------------------------------------------------------------------------------------------------------

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def holds(test: Test, lists: Lists) -> Holds:  # noqa: C901 - one case for each operator of the grammar
    """The test as a function of the field's value. `lists` has every list that the test names."""
    wanted = test.operand
    match test.operator:
        case "is":
            return lambda value: bool(value == wanted)
        case "in":
            return lambda value: value in wanted
        case "not":
            unwanted = wanted if isinstance(wanted, frozenset) else frozenset([wanted])
            return lambda value: value is not None and value not in unwanted
        case "exists":
            return lambda value: (value is not None) == wanted
        case "gt" | "gte" | "lt" | "lte":
            compare = _COMPARE[test.operator]
            return lambda value: isinstance(value, int | float) and compare(value, wanted)
        case "has":
            return lambda value: isinstance(value, str) and wanted in value
        case "re":
            return lambda value: isinstance(value, str) and wanted.search(value[:LONGEST_TEXT]) is not None
        case "glob":
            return lambda value: isinstance(value, str) and wanted.match(value[:LONGEST_TEXT]) is not None
        case "cidr":
            inside = Networks(wanted).find
            return lambda value: bool(inside(value))
        case "list":
            asked = [lists[name].find for name in wanted]
            return lambda value: any(find(value) for find in asked)


def why(test: Test, value: Value, lists: Lists) -> str:
    """The value and what it was held against, for people: `src.ip = 198.51.100.4, which is on the list office`."""
    seen = f"{test.field} = {shown(value)}" if value is not None else f"{test.field} is absent"
    if test.operator == "list":
        on = [f"{name} ({network})" for name in test.operand if (network := lists[name].find(value))]
        return f"{seen}, which is on the list {' and '.join(on)}" if on else seen
    return seen


def shown(value: object) -> str:
    """A value as ops write it (`false`, not `False`), on one line, harmless and not too long."""
    return str(value).lower() if isinstance(value, bool) else visible(value, 200)


# All lines of a map ------------------------------------------------------------------------------------------------------


def matcher(tests: Sequence[Test], lists: Lists) -> Matches:
    """A function that says of an event whether every line holds. No lines: always."""
    pairs = [(one.field, holds(one, lists)) for one in tests]
    if not pairs:
        return always
    if any(name == "source" for name, _ in pairs):  # the one field that is not in `fields`
        return lambda event: all(told(event.get(name)) for name, told in pairs)
    if len(pairs) == 1:
        ((only, told),) = pairs
        if tests[0].operator == "is":  # the usual line: one call for each event instead of two
            wanted = tests[0].operand
            return lambda event: bool(event.fields.get(only) == wanted)
        return lambda event: told(event.fields.get(only))

    def every(event: Event) -> bool:
        get = event.fields.get
        for name, told in pairs:  # noqa: SIM110 - all() with a generator costs three times as much, and this is the hot path
            if not told(get(name)):
                return False
        return True

    return every


def always(_: Event) -> bool:
    """What a map without lines says of every event."""
    return True
