"""Reads `detection:`: each selection as a tree of facts about our fields, and the condition that joins them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from typing import Any, Final

import yaml

from agent.event import FieldType
from agent.grammar.located import Node, Pair, Place, Problem, did_you_mean
from agent.grammar.pattern import regular
from agent.grammar.policy_match import SAID
from agent.schema import canonical
from agent.sigma.condition import read_condition
from agent.sigma.facts import All, Cannot, Compares, Either, Fact, Fits, Inside, Is, Not, OneOf, There, Tree
from agent.sigma.sources import Name, Source
from agent.sigma.texts import Wanted, expression, searched, wanted

_TEXTUAL: Final = ("contains", "startswith", "endswith")
_COMPARING: Final = ("gt", "gte", "lt", "lte")
_OPERATORS: Final = (*_TEXTUAL, *_COMPARING, "re", "cidr", "exists")
_RE_FLAGS: Final = ("i", "m", "s")
_MODIFIERS: Final = (*_OPERATORS, *_RE_FLAGS, "all", "cased")
_INTEGER: Final = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,14})\.\d{1,6}")
_OCTETS: Final = re.compile(r"((?:\d{1,3}\.){1,3})\*?")
_NUMBERS: Final = ("integer", "number", "port")
_MOST_VALUES: Final = 1_000
Scalar = str | int | float | bool | None


def read_detection(node: Node, source: Source, found: list[Problem]) -> Tree | None:
    """What the detection says of one event; what cannot be carried over goes to `found`."""
    if not isinstance(node.value, dict):
        found.append(Problem(node.place, f"expected a map of selections, found {node.shape}", "see sigmahq.io/docs"))
        return None
    reader = _Reader(source, found)
    trees = {name: reader.selection(pair.value) for name, pair in node.pairs.items() if name not in ("condition", "timeframe")}
    if "timeframe" in node.pairs:
        hint = "write a correlation of the type event_count, with a timespan"
        found.append(Problem(node.pairs["timeframe"].key.place, "`timeframe` belongs to Sigma's old aggregations", hint))
    if "condition" not in node.pairs:
        found.append(Problem(node.place, "the detection has no `condition`", "as in condition: selection"))
        return None
    return read_condition(node.pairs["condition"].value, trees, found)


def our_field(name: str, source: Source, place: Place) -> tuple[Name, FieldType]:
    """What a field of the rule's is here.

    Raises:
        Cannot: our events have no such field, or not all of the kinds that the rule is about.
    """
    known = source.names.get(name)
    if known is None:
        raise Cannot(place, f"no field of {_whose(source)} is what `{name}` is", did_you_mean(name, source.names))
    types = {kind.field(known.ours) for kind in source.kinds}
    if None in types:
        have = [kind.name for kind in source.kinds if kind.field(known.ours)]
        hint = f"if one of them is meant, write service: {have[0]}; those that have it: {', '.join(have)}"
        raise Cannot(place, f"not all of {_whose(source)} have `{known.ours}`", hint)
    return known, next(one for one in types if one)


def _whose(source: Source) -> str:
    return ", ".join(kind.name for kind in source.kinds)


@dataclass(frozen=True)
class _Reader:
    source: Source
    found: list[Problem]

    def selection(self, node: Node) -> Tree | None:
        """A map (all of it), or a list of maps (any of them)."""
        if node.broken:
            return None
        if isinstance(node.value, dict):
            return _joined(All, [self._item(pair) for pair in node.value.values()])
        if isinstance(node.value, list) and node.value:
            return _joined(Either, [self._one_of(one) for one in node.value])
        self._refuse(node, f"expected a map, or a list of maps, found {node.shape}", "")
        return None

    def _one_of(self, node: Node) -> Tree | None:
        if isinstance(node.value, dict):
            return self.selection(node)
        if not node.broken:
            hint = "name the field it stands in, as in cs-uri-stem|contains: …"
            self._refuse(node, "keywords are searched for in the raw line, which our events do not have", hint)
        return None

    def _item(self, pair: Pair) -> Tree | None:
        if pair.value.broken:
            return None
        try:
            return self._read(pair)
        except Cannot as cannot:
            self.found.append(cannot.problem)
        return None

    def _refuse(self, node: Node, text: str, hint: str) -> None:
        self.found.append(Problem(node.place, text, hint))

    def _read(self, pair: Pair) -> Tree | None:
        place = pair.key.place
        field, *modifiers = str(pair.key.value).split("|")
        operator, flags = _modified(modifiers, place)
        if not self.source.kinds:
            return All(())
        known, kind = our_field(field, self.source, place)
        nodes = pair.value.value if isinstance(pair.value.value, list) else [pair.value]
        if "all" in modifiers and len(nodes) < 2:
            raise Cannot(place, "`all` needs a list of several values", "take it away")
        if not nodes or len(nodes) > _MOST_VALUES:
            raise Cannot(place, "a list of no values, or of more than 1000", "split the rule into several")
        item = _Item(known, kind, operator, flags, "cased" in modifiers, place)
        facts: list[Tree] = []
        before = len(self.found)
        for node in nodes:
            try:
                facts.append(item.fact(node))
            except Cannot as cannot:
                self.found.append(cannot.problem)
        if len(self.found) > before:
            return None
        return All(tuple(_any_of([one]) for one in facts)) if "all" in modifiers else _any_of(facts)


def _joined(how: Callable[[tuple[Tree, ...]], Tree], trees: Sequence[Tree | None]) -> Tree | None:
    known = tuple(one for one in trees if one is not None)
    return how(known) if len(known) == len(trees) else None


def _modified(modifiers: Sequence[str], place: Place) -> tuple[str, str]:
    """The operator among the modifiers, and the flags of an expression.

    Raises:
        Cannot: one of them is unknown here, or they do not go together.
    """
    for one in modifiers:
        if one not in _MODIFIERS:
            raise Cannot(place, f"the modifier `{one}` cannot be carried over", f"those that can: {', '.join(_MODIFIERS)}")
    operators = [one for one in modifiers if one in _OPERATORS]
    flags = "".join(one for one in modifiers if one in _RE_FLAGS)
    operator = operators[0] if operators else ""
    clash = (
        len(operators) > 1
        or len(set(modifiers)) < len(modifiers)
        or (flags and operator != "re")
        or ("cased" in modifiers and operator not in ("", *_TEXTUAL))
        or ("all" in modifiers and operator in (*_COMPARING, "exists"))
    )
    if clash:
        raise Cannot(place, f"the modifiers {', '.join(modifiers)} do not go together", "write one operator for each line")
    return operator, flags


def _any_of(facts: Sequence[Tree]) -> Tree:
    """Values of one list as few facts: exact values, ways for a text to fit, and networks each as one."""
    rest: list[Tree] = []
    values: list[Fact] = []
    for one in facts:
        if isinstance(one, Fact) and isinstance(one.what, OneOf | Fits | Inside):
            values.append(one)
        else:
            rest.append(one)
    parts = (*_merged(values), *rest)
    return Either(parts) if len(parts) > 1 else parts[0]


def _merged(facts: Sequence[Fact]) -> Iterator[Fact]:
    if not facts:
        return
    name, place = facts[0].field, facts[0].place
    ways = tuple(dict.fromkeys(way for one in facts if isinstance(one.what, Fits) for way in one.what.ways))
    values = frozenset[Any]().union(*(one.what.values for one in facts if isinstance(one.what, OneOf)))
    networks = frozenset[Any]().union(*(one.what.networks for one in facts if isinstance(one.what, Inside)))
    for some in _chunks(ways, place):
        yield Fact(name, Fits(some), place=place)
    if values:
        yield Fact(name, OneOf(values), place=place)
    if networks:
        yield Fact(name, Inside(networks), place=place)


def _chunks(ways: Sequence[Wanted], place: Place) -> Iterator[tuple[Wanted, ...]]:
    """The ways in as few expressions as are allowed here; none may be long or slow."""
    some: tuple[Wanted, ...] = ()
    for one in ways:
        if some and _refused((*some, one)):
            yield some
            some = ()
        some = (*some, one)
        if len(some) == 1 and (why := _refused(some)):
            reason, _, hint = why.partition("; ")
            raise Cannot(place, reason, hint)
    if some:
        yield some


def _refused(ways: Sequence[Wanted]) -> str:
    try:
        regular(searched(ways))
    except ValueError as error:
        return str(error)
    return ""


# One value ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    """A field with its modifiers."""

    name: Name
    kind: FieldType
    operator: str
    flags: str
    cased: bool
    place: Place

    def fact(self, node: Node) -> Tree:
        """What one value says.

        Raises:
            Cannot: it does not fit, or cannot be said here.
        """
        if not isinstance(node.value, str):
            raise Cannot(node.place, f"expected one value, found {node.shape}", "")
        if any(ord(one) > 0xFFFF and not one.isprintable() for one in node.value):
            raise Cannot(node.place, "a character that cannot be seen, and not be written", "")
        value = _scalar(node)
        what = self._what(value, node)
        truths = {what.holds(one) for one in (*self.name.blank, "")} if self.name.blank else set()
        if len(truths) > 1:
            said = ", ".join("nothing" if one is None else f"`{one}`" for one in self.name.blank)
            hint = "leave this value out, or write the policy by hand"
            raise Cannot(node.place, f"where the log has {said}, `{self.name.ours}` is the empty text here", hint)
        made = Fact(self.name.ours, what, place=node.place)
        absent = value is None or (self.operator == "exists" and value is False)
        return Not(made) if absent else made

    def _what(self, value: Scalar, node: Node) -> Is:
        """What the field is; where the value is null, that it is there, to be denied."""
        if self.operator == "exists":
            if not isinstance(value, bool):
                raise self._wrong(node, "`exists` takes true or false")
            return There()
        if value is None:
            if self.operator:
                raise self._wrong(node, f"`{self.operator}` of nothing")
            return There()
        if self.operator in _COMPARING:
            return self._compares(value, node)
        if self.kind == "text":
            return self._text(value, node)
        if self.kind == "address":
            return self._address(str(node.value), node)
        return self._exact(value, node)

    def _wrong(self, node: Node, text: str, hint: str = "") -> Cannot:
        return Cannot(node.place, text, hint)

    def _compares(self, value: Scalar, node: Node) -> Is:
        if self.kind not in _NUMBERS:
            raise self._wrong(self._at(), f"`{self.operator}` compares numbers, and `{self.name.ours}` is {SAID[self.kind]}")
        if isinstance(value, bool) or not isinstance(value, int | float if self.kind == "number" else int):
            raise self._wrong(node, f"{node.shape} is not {SAID[self.kind]}")
        return Compares(self.operator, value)

    def _at(self) -> Node:
        return Node("", self.place)

    def _text(self, value: Scalar, node: Node) -> Is:
        if self.operator == "cidr":
            raise self._wrong(self._at(), f"`cidr` is for addresses, and `{self.name.ours}` is text")
        if isinstance(value, bool | float):
            raise self._wrong(node, f"{node.shape} is not text", "put it into quotes, if the log has it so")
        text = str(value)
        if self.operator == "re":
            try:
                return Fits((expression(text, self.flags),))
            except ValueError as error:
                reason, _, hint = str(error).partition("; ")
                raise self._wrong(node, reason, hint) from None
        before, after = self.operator in ("contains", "endswith"), self.operator in ("contains", "startswith")
        if self.operator and not text:
            raise self._wrong(node, f"`{self.operator}` of an empty text")
        way = wanted(text, before, after, self.cased)
        if way is None:
            return There()
        return OneOf(frozenset({way.plain[1]})) if way.plain and way.plain[0] == "is" else Fits((way,))

    def _address(self, text: str, node: Node) -> Is:
        if self.operator == "cidr":
            try:
                return Inside(frozenset({ip_network(text)}))
            except ValueError as error:
                raise self._wrong(node, str(error)) from None
        if text and not text.strip("*") and not self.operator:
            return There()
        octets = _OCTETS.fullmatch(text) if self.operator == "startswith" or (not self.operator and text.endswith("*")) else None
        if octets:
            parts = octets[1].split(".")[:-1]
            if all(str(int(one)) == one and int(one) < 256 for one in parts):
                whole = ".".join([*parts, *["0"] * (4 - len(parts))])
                return Inside(frozenset({ip_network(f"{whole}/{8 * len(parts)}")}))
        known = canonical(text)
        if self.operator or known is None:
            raise self._wrong(
                node, f"`{self.name.ours}` is an address, and `{text}` is none", "for a network write |cidr: 10.0.0.0/8"
            )
        if known != text.lower():
            raise self._wrong(node, f"an event has this address as {known}", "write it so")
        return OneOf(frozenset({known}))

    def _exact(self, value: Scalar, node: Node) -> Is:
        """A number, a port or a flag."""
        if self.operator or self.cased:
            raise self._wrong(self._at(), f"this modifier is for text, and `{self.name.ours}` is {SAID[self.kind]}")
        if isinstance(value, str):
            if value and not value.strip("*"):
                return There()
            value = int(value) if _INTEGER.fullmatch(value) else value
        fits = isinstance(value, bool) if self.kind == "flag" else isinstance(value, int) and not isinstance(value, bool)
        if not fits and not (self.kind == "number" and isinstance(value, float)):
            raise self._wrong(node, f"{node.shape} is not {SAID[self.kind]}")
        assert value is not None  # noqa: S101 - null was answered before
        return OneOf(frozenset({value}))


@cache
def _resolver() -> Any:
    return yaml.resolver.Resolver()


def _scalar(node: Node) -> Scalar:
    """A value as YAML reads it, where all YAMLs read it alike.

    Raises:
        Cannot: YAML 1.1 and 1.2 differ on it.
    """
    text = str(node.value)
    if not node.plain:
        return text
    if text == "":
        return None
    tag = _resolver().resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]
    if tag == "str":
        return text
    if tag == "null":
        return None
    if tag == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if tag == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if tag == "float" and _NUMBER.fullmatch(text):
        return float(text)
    raise Cannot(node.place, f"`{text}` is read differently by different readers of YAML", f'if it is a text, write "{text}"')
