"""Reads `then:`: the actions of a policy, their parameters, and whether each `$field` can fill the one it stands for.

Whether a field exists and fits is settled when the file is read, never in the middle of an attack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, get_args, get_origin

from agent.event import Catalogue, FieldType
from agent.grammar.located import Node, Pair, Place, Problem, nearest
from agent.grammar.pick import Picked, Shelf, pick
from agent.grammar.policy_keys import StepOptions
from agent.grammar.policy_match import SAID, Fields
from agent.grammar.policy_when import Heard
from agent.grammar.typed import Key, keys, known_pairs, read, sketch
from agent.policy import Step
from agent.schema import Means, Ttl

_VARIABLE: Final = re.compile(r"\$(?P<name>[A-Za-z_][\w.]*)")
_BRACED: Final = re.compile(r"\$\{(?P<name>[\w.]+)\}")
MOST_STEPS: Final = 50
_FITTING: Final[Mapping[Any, frozenset[FieldType]]] = {
    str: frozenset({"text", "unit", "address"}),
    int: frozenset({"integer", "port"}),
    float: frozenset({"number", "integer", "port"}),
    bool: frozenset({"flag"}),
}
_MEANING: Final[Mapping[str, frozenset[FieldType]]] = {
    "address": frozenset({"address"}),
    "port": frozenset({"port"}),
    "unit": frozenset({"unit"}),
}


@dataclass(frozen=True)
class Planned:
    """`then:` as far as it could be read."""

    steps: tuple[Step, ...] = ()
    used: tuple[str, ...] = ()
    """The fields that `$field`s take their values from."""
    forever: tuple[Node, ...] = ()
    """Where a ttl is `forever`, which needs `recover: {after: manual}`."""
    actions: tuple[tuple[type[Any], Node], ...] = ()
    whole: tuple[tuple[Step, Node], ...] = ()
    """Every step that could be read, and where its action stands."""


def fitting(hint: Any) -> frozenset[FieldType]:
    """The types of event fields that fit a parameter of this type: those that mean the same."""
    while get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
        for one in metadata:
            if isinstance(one, Means):
                return _MEANING.get(one.name, frozenset())
    return _FITTING.get(hint, frozenset())


def read_then(node: Node, heard: Sequence[Heard], catalogue: Catalogue, found: list[Problem]) -> Planned:
    """The steps of `then:`, in order; an empty one has none."""
    if node.broken or node.empty:
        return Planned()
    if not isinstance(node.value, list):
        hint = "begin each step with a dash: - block_ip: {…}" if isinstance(node.value, dict) else "as in - block_ip: {…}"
        found.append(Problem(node.place, f"`then` is a list of steps, found {node.shape}", hint))
        return Planned()
    if len(node.value) > MOST_STEPS:
        found.append(Problem(node.place, f"more than {MOST_STEPS} steps", "split the policy"))
    shelf = Shelf("action", "step", catalogue.actions, StepOptions)
    made = [_StepReader(shelf, heard, found).read(item) for item in node.value[:MOST_STEPS]]
    return Planned(
        tuple(step for one in made for step in one.steps),
        tuple(use for one in made for use in one.used),
        tuple(place for one in made for place in one.forever),
        tuple(pair for one in made for pair in one.actions),
        tuple(pair for one in made for pair in one.whole),
    )


class _StepReader:
    """Reads one step; whatever is wrong goes to `found`."""

    def __init__(self, shelf: Shelf, heard: Sequence[Heard], found: list[Problem]) -> None:
        self.shelf, self.heard, self.found = shelf, heard, found
        self.literal: dict[str, Any] = {}
        self.variable: dict[str, str] = {}
        self.forever: list[Node] = []
        self.places: dict[str, Place] = {}

    def read(self, node: Node) -> Planned:
        before = len(self.found)
        picked = pick(node, self.shelf, self.found)
        if picked is None or picked.name is None:
            return Planned()
        action = self.shelf.choices[picked.name]
        optional = bool(picked.options.get("optional"))
        for key, pair in self._parameters(action, picked):
            self._parameter(f"{picked.name}.{key.name}", key, pair, optional)
        clean = len(self.found) == before
        step = (self._step(action, picked, optional),) if clean else ()
        whole = tuple((one, picked.key) for one in step)
        return Planned(step, tuple(self.variable.values()), tuple(self.forever), ((action, picked.key),), whole)

    def _step(self, action: type[Any], picked: Picked, optional: bool) -> Step:
        options, places = picked.options, {"": picked.key.place, **self.places}
        after, timeout, on_error = options.get("after"), options.get("timeout"), options.get("on_error", "stop")
        unasked, asks = (options.get("approve") == one for one in ("never", "required"))
        return Step(action, self.literal, self.variable, optional, on_error, after, timeout, unasked, asks, places)

    def _parameters(self, action: type[Any], picked: Picked) -> list[tuple[Key, Pair]]:
        given = picked.given
        if given.empty:
            given = Node({}, picked.key.place)
        if not isinstance(given.value, dict) and not given.broken:
            first = next(iter(fields(action)), None)
            example = sketch(action)
            if first is not None and isinstance(given.value, str):
                example = example.replace(f"{first.name}: …", f"{first.name}: {given.value}", 1)
            text = f"the parameters of `{picked.name}` stand in braces, found {given.shape}"
            self.found.append(Problem(given.place, text, f"write {picked.name}: {example}"))
            return []
        owner = Node(picked.name or "", picked.key.place)
        beside = {name: f"`{name}` stands beside `{picked.name}`, not inside its braces" for name in keys(StepOptions)}
        return known_pairs(given, action, self.found, picked.excused, owner, beside)

    # Parameters ---------------------------------------------------------------------------------------------------------

    def _parameter(self, name: str, key: Key, pair: Pair, optional: bool) -> None:
        value = pair.value
        if value.broken:
            return
        self.places[key.attribute] = value.place
        if isinstance(value.value, str) and (variable := _VARIABLE.fullmatch(value.value)):
            self._field(name, key, variable["name"], value, optional)
            return
        if self._mixed(value):
            return
        literal = read(value, key.hint, self.found)
        if isinstance(literal, Ttl) and literal.first is None:
            self.forever.append(value)
        self.literal[key.attribute] = literal

    def _mixed(self, node: Node) -> bool:
        """Whether a `$field` stands where it cannot: inside a text, a list or braces."""
        if isinstance(node.value, list):
            inside = [self._in_list(item) for item in node.value]  # all of them, so that each is told
            return any(inside)
        if not isinstance(node.value, str):
            return False
        if braced := _BRACED.search(node.value):
            hint = f"write ${braced['name']}"
            self.found.append(Problem(node.place, "a `$field` is written without braces", hint))
            return True
        if inner := _VARIABLE.search(node.value):
            text = f"`{inner[0]}` inside a text: a `$field` is only ever the whole value"
            self.found.append(Problem(node.place, text, f"write {inner[0]} alone"))
            return True
        return False

    def _in_list(self, node: Node) -> bool:
        if not isinstance(node.value, str) or not _VARIABLE.search(node.value):
            return False
        text = f"`{node.value}` in a list: a `$field` is only ever the whole value"
        self.found.append(Problem(node.place, text, "write the values, or use a parameter that takes one"))
        return True

    def _field(self, name: str, key: Key, field: str, node: Node, optional: bool) -> None:
        """A `$field`: each clause must have it, in one of its kinds, and it must mean what the parameter means."""
        self.variable[key.attribute] = field
        wanted = fitting(key.hint)
        without = 0
        for number, one in enumerate(self.heard, 1):
            known = Fields.of(*one.kinds)
            if known.types is None:
                continue
            if field not in known.types:
                without += 1
                if not optional or without == len(self.heard):
                    self._absent(field, node, number, known, wanted)
                    return
            elif known.types[field] not in wanted:
                self._unfit(name, field, node, known, wanted)
                return

    def _absent(self, field: str, node: Node, number: int, known: Fields, wanted: frozenset[FieldType]) -> None:
        elsewhere = any(field in (Fields.of(*one.kinds).types or {}) for one in self.heard)
        if elsewhere:
            text = f"`${field}` is not a field of {known.whose}, by which clause {number} fires"
            hint = "add `optional: true` to skip the step then, or split the policy"
            self.found.append(Problem(node.place, text, hint))
            return
        every = Fields.of(*(kind for one in self.heard for kind in one.kinds))
        close = nearest(field, every.types or {})
        hint = f"did you mean `${close}`?" if close else _that_fit(every, wanted)
        self.found.append(Problem(node.place, f"`${field}` is not a field of {every.whose or known.whose}", hint))

    def _unfit(self, name: str, field: str, node: Node, known: Fields, wanted: frozenset[FieldType]) -> None:
        is_ = SAID[(known.types or {})[field]]
        wants = " or ".join(SAID[one] for one in sorted(wanted)) or "a value written out"
        text = f"`${field}` is {is_}, and `{name}` takes {wants}"
        self.found.append(Problem(node.place, text, _that_fit(known, wanted)))


def _that_fit(known: Fields, wanted: frozenset[FieldType]) -> str:
    fit = [f"${name}" for name, kind in sorted((known.types or {}).items()) if kind in wanted]
    if not wanted:
        return "write the value itself; no field of an event is one"
    return f"fields that fit: {', '.join(fit)}" if fit else f"no field of {known.whose} fits; write the value itself"
