"""Reads `examples:`: events as ops write them, and the actions or the finding that should come of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agent.action import first_reason, parameters, typed
from agent.event import Catalogue, Event, Kind, Value
from agent.grammar.located import Node, Pair, Problem, did_you_mean, nearest
from agent.grammar.policy_keys import ExampleKeys
from agent.grammar.policy_match import SAID, TYPES, Fields
from agent.grammar.typed import read, values_of
from agent.policy import Example
from agent.schema import Duration
from agent.watching.explain import spell_action

Parse = Callable[[str, str], Sequence[Event]]
"""The events of one raw line, by the parser's name.

Raises:
    LookupError: there is no such parser; the text names those there are.
"""

MOST_EVENTS: Final = 10_000
FINDING: Final = "finding"
_REPEAT: Final = re.compile(r"(\d{1,6}) +every +(\S+)")
_EXPECTED: Final = re.compile(r"(?P<action>\w+)(?:\((?P<given>.*)\))?")
_GIVEN: Final = re.compile(r"\s*(?P<name>\w+)=(?P<value>.*?)\s*(?:,(?=\s*\w+=)|$)")
"""One `name=value` of several; a comma parts two of them only before the next name."""
_OWN: Final = ("at", "repeat", "event", "log", "parser")


def read_example(
    node: Node, catalogue: Catalogue, actions: Sequence[type[Any]], found: list[Problem], parse: Parse | None
) -> Example | None:
    """One example. `actions` are those of the policy's steps. Without `parse`, raw log lines make no events."""
    before = len(found)
    given = values_of(node, ExampleKeys, found)
    reader, events = _EventReader(catalogue, found, parse), []
    for one in given.get("events") or ():
        events += reader.read(one)
        if len(events) > MOST_EVENTS:
            found.append(Problem(one.place, f"more than {MOST_EVENTS} events in one example", "lower a `repeat`"))
            break
    expect = [_expected(one, catalogue, actions, found) for one in given.get("expect") or ()]
    if len(found) > before:
        return None
    events.sort(key=lambda pair: pair[0])
    place = f"{node.place.file}:{node.place.line}"
    return Example(given["title"], tuple(events), tuple(text for text in expect if text), place)


# Events -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Times:
    """At which seconds an event happens."""

    first: float = 0.0
    number: int = 1
    every: float = 0.0
    repeated: bool = False

    def __iter__(self) -> Any:
        return ((round(self.first + self.every * one, 6), str(one)) for one in range(self.number))

    def fill(self, text: str, number: str) -> str:
        """`#` becomes the number of the repetition, counted from 0."""
        return text.replace("#", number) if self.repeated else text


class _EventReader:
    """Reads one line of `events:`; whatever is wrong goes to `found`, once, not for every repetition."""

    def __init__(self, catalogue: Catalogue, found: list[Problem], parse: Parse | None) -> None:
        self.catalogue, self.found, self.parse = catalogue, found, parse

    def read(self, node: Node) -> list[tuple[float, Event]]:
        if node.broken:
            return []
        if not isinstance(node.value, dict):
            hint = "write {at: 0s, event: …} with the event's fields, or {log: …, parser: …}"
            self.found.append(Problem(node.place, f"expected an event, found {node.shape}", hint))
            return []
        pairs = node.value
        times = self._times(pairs)
        if "log" in pairs:
            return self._log(pairs, times)
        if "event" not in pairs:
            if not any(nearest(name, ("event", "log")) for name in pairs):
                hint = "write event: auth.ssh.failure and its fields, or log: and parser:"
                self.found.append(Problem(node.place, "this names no kind of event", hint))
            return []
        if "parser" in pairs:
            self.found.append(Problem(pairs["parser"].key.place, "`parser` goes with `log`", "take it away"))
        kind = self._kind(pairs["event"].value)
        return self._typed(kind, pairs, times) if kind is not None else []

    def _times(self, pairs: Mapping[str, Pair]) -> _Times:
        at = read(pairs["at"].value, Duration, self.found) if "at" in pairs else None
        first = at.total_seconds() if isinstance(at, timedelta) else 0.0
        if "repeat" not in pairs or pairs["repeat"].value.broken:
            return _Times(first)
        node = pairs["repeat"].value
        written = _REPEAT.fullmatch(node.value) if isinstance(node.value, str) else None
        if written is None:
            self.found.append(Problem(node.place, f"cannot read {node.shape} as a repetition", "write 12 every 10s"))
            return _Times(first)
        number = int(written[1])
        if not 0 < number <= MOST_EVENTS:
            self.found.append(Problem(node.place, f"cannot repeat {number} times", f"write 1 to {MOST_EVENTS}"))
            return _Times(first)
        every = read(Node(written[2], node.place), Duration, self.found)
        return _Times(first, number, every.total_seconds() if every else 0.0, repeated=True)

    def _kind(self, node: Node) -> Kind | None:
        name = read(node, str, self.found)
        if name is None or name in self.catalogue.kinds:
            return self.catalogue.kinds.get(name or "")
        hint = did_you_mean(name, self.catalogue.kinds) or "`contain events kinds` lists them"
        self.found.append(Problem(node.place, f"nothing here makes `{name}` events", hint))
        return None

    def _typed(self, kind: Kind, pairs: Mapping[str, Pair], times: _Times) -> list[tuple[float, Event]]:
        fields, known = Fields.of(kind), {}
        for name, pair in pairs.items():
            if name in _OWN:
                continue
            close = nearest(name, [*(fields.types or {}), "at", "repeat"])
            if close in ("at", "repeat"):
                self.found.append(Problem(pair.key.place, f"unknown key `{name}`", f"did you mean `{close}`?"))
            elif fields.find(name, pair.key, self.found) is not None:
                known[name] = pair.value
        made = [(at, self._fields(kind, known, times, number)) for at, number in times]
        return [(at, self._event(kind, at, values)) for at, values in made if values is not None]

    def _fields(self, kind: Kind, known: Mapping[str, Node], times: _Times, number: str) -> dict[str, Value] | None:
        """The fields of one repetition, typed; None after a problem, which is told for the first one only."""
        values: dict[str, Value] = {}
        problems: list[Problem] = []
        for name, node in known.items():
            filled = (
                Node(times.fill(node.value, number), node.place, node.plain, node.broken) if isinstance(node.value, str) else node
            )
            field = kind.field(name) or "text"
            before = len(problems)
            values[name] = read(filled, TYPES[field], problems)
            problems[before:] = [_typed_hint(one, name, kind, field) for one in problems[before:]]
        if not problems:
            return values
        told = {one.place for one in self.found}
        self.found += [one for one in problems if one.place not in told]
        return None

    def _event(self, kind: Kind, at: float, values: Mapping[str, Value]) -> Event:
        fields = {name: value for name, value in values.items() if name != "source"}  # the one field that is not in `fields`
        return Event(kind.name, at, fields, str(values.get("source", "example")), at, forgeable=kind.forgeable)

    def _log(self, pairs: Mapping[str, Pair], times: _Times) -> list[tuple[float, Event]]:
        for name, pair in pairs.items():
            if name not in _OWN:
                hint = "the fields come out of the line"
                self.found.append(Problem(pair.key.place, f"`{name}` beside `log`", hint))
            elif name == "event":
                self.found.append(Problem(pair.key.place, "`event` beside `log`", "the kind comes out of the line"))
        if "parser" not in pairs:
            hint = "the parser's name, as in parser: sshd"
            self.found.append(Problem(pairs["log"].key.place, "`log` needs `parser`", hint))
            return []
        text = read(pairs["log"].value, str, self.found)
        parser = read(pairs["parser"].value, str, self.found)
        if self.parse is None or text is None or parser is None:
            return []
        try:
            return [pair for at, number in times for pair in self._parsed(parser, times.fill(text, number), at)]
        except LookupError as error:
            said = str(error.args[0]) if error.args else ""
            self.found.append(Problem(pairs["parser"].value.place, f"no parser is called `{parser}`", said))
        except _Meaningless:
            hint = "compare it with a line of the real log, from its very first character"
            self.found.append(Problem(pairs["log"].value.place, f"the parser {parser} makes nothing of this line", hint))
        return []

    def _parsed(self, parser: str, text: str, at: float) -> list[tuple[float, Event]]:
        made: list[tuple[float, Event]] = []
        for line in text.splitlines():
            events = self.parse(parser, line) if self.parse and line.strip() else ()
            made += [(at, event._replace(seen=at, ts=at)) for event in events]
        if not made:
            raise _Meaningless
        return made


class _Meaningless(Exception):  # noqa: N818 - never leaves this module
    """The parser found nothing in a line."""


def _typed_hint(problem: Problem, name: str, kind: Kind, field: Any) -> Problem:
    hint = "write one address of it" if "{cidr:" in problem.hint else problem.hint
    return Problem(problem.place, problem.text, hint or f"`{name}` of {kind.name} is {SAID[field]}")


# Expectations -------------------------------------------------------------------------------------------------------------


def _expected(node: Node, catalogue: Catalogue, actions: Sequence[type[Any]], found: list[Problem]) -> str:
    """`finding`, or an action with its parameters; empty after a problem."""
    text = read(node, str, found)
    if text is None or text == FINDING:
        return text or ""
    written = _EXPECTED.fullmatch(text)
    if written is None or written["given"] is None:
        known = written["action"] if written and written["action"] in catalogue.actions else "block_ip"
        hint = f'write {known}(…) with its parameters as in "block_ip(ip=203.0.113.7, ttl=1h)", or finding'
        hint = "did you mean `finding`?" if nearest(text, (FINDING,)) else hint
        found.append(Problem(node.place, f"cannot read `{text}` as what is expected", hint))
        return ""
    name = written["action"]
    if name not in [one.name for one in actions]:
        known = ", ".join(dict.fromkeys(one.name for one in actions))
        close = nearest(name, [one.name for one in actions])
        hint = f"did you mean `{close}`?" if close else f"its steps: {known}" if known else "it has no step; write finding, or []"
        found.append(Problem(node.place, f"this policy has no step `{name}`", hint))
        return ""
    return _canonical(node, catalogue.actions[name], written["given"], found)


def _canonical(node: Node, action: type[Any], text: str, found: list[Problem]) -> str:
    """The expected action as the test run will spell it, so that order and spelling are ours to mind, not ops'."""
    known, before, values = parameters(action), len(found), {}
    for one in _GIVEN.finditer(text):
        name, value = one["name"], one["value"]
        if name not in known:
            hint = did_you_mean(name, known)
            found.append(Problem(node.place, f"`{action.name}` has no parameter `{name}`", hint))
            continue
        try:
            values[name] = typed(action, name, _items(value) if value.startswith("[") else value)
        except ValueError as error:
            reason, _, hint = first_reason(error).partition("; ")
            found.append(Problem(node.place, f"`{name}={value}` does not fit: {reason}", hint))
    missing = [name for name, (_, required) in known.items() if required and f"{name}=" not in text]
    if missing and len(found) == before:
        found.append(
            Problem(node.place, f"`{action.name}(…)` needs `{missing[0]}`", "write every parameter that is not the default")
        )
    return spell_action(action(**values)) if len(found) == before else ""


def _items(text: str) -> list[str]:
    return [one.strip() for one in text.strip("[]").split(",")]
