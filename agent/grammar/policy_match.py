"""Reads field maps: the `match:` of a part and the `unless:` of a policy, each operand typed by its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from agent.event import COMMON, Catalogue, FieldType, Kind
from agent.grammar.located import Node, Pair, Problem, did_you_mean, nearest
from agent.grammar.pattern import glob, regular
from agent.grammar.typed import read
from agent.policy import Operator, Test
from agent.schema import Address, Flag, Port, Unit, address, canonical

OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
MEANINGS: Final[Mapping[Operator, tuple[str, str]]] = {
    "is": ("that value; the same as no operator at all", "{user: root}"),
    "not": ("none of these values", "{user: {not: [alice, bob]}}"),
    "in": ("one of these values; the same as a list", "{user: [root, admin]}"),
    "gt": ("more than this number", "{rps: {gt: 100}}"),
    "gte": ("this number or more", "{rps: {gte: 100}}"),
    "lt": ("less than this number", "{error_ratio: {lt: 0.1}}"),
    "lte": ("this number or less", "{error_ratio: {lte: 0.1}}"),
    "re": ("a regular expression is found somewhere in the text", "{path: {re: ^/admin}}"),
    "has": ("the text stands somewhere in it, whatever its case", "{say: {has: timeout}}"),
    "glob": ("the whole text fits a pattern with * and ?", "{unit: {glob: nginx*}}"),
    "exists": ("whether the event has the field at all", "{user: {exists: false}}"),
    "cidr": ("the address is in one of these networks", "{src.ip: {cidr: 10.0.0.0/8}}"),
    "list": ("the address is on one of these lists of agent.yaml, or of those that others keep", "{src.ip: {list: office}}"),
}
"""What each operator holds for, and how it is written."""
_SYMBOL: Final = re.compile(r"(?P<sign>>=|<=|==|!=|>|<|=|!)\s*(?P<value>\S.*)")
_SIGNS: Final = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt", "!=": "not", "!": "not"}


def _one_address(text: Any) -> str:
    known = canonical(str(text))
    if known is not None:
        return known
    network = address(text)  # says what is wrong with it, unless it is a network
    raise ValueError(f"an event has one address, and {network} is a network; write {{cidr: {network}}}")


TYPES: Final[Mapping[FieldType, Any]] = {
    "address": Annotated[str, BeforeValidator(_one_address)],
    "text": str,
    "integer": int,
    "number": float,
    "flag": Flag,
    "port": Port,
    "unit": Unit,
}
"""How a field's value is read from text; an event holds an address as its canonical text."""
SAID: Final[Mapping[FieldType, str]] = {
    "address": "an address",
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "port": "a port",
    "unit": "a systemd unit",
}
_REGULAR: Final = Annotated[re.Pattern[str], PlainValidator(regular), WithJsonSchema({"description": "as in ^api-"})]
_GLOB: Final = Annotated[re.Pattern[str], PlainValidator(glob), WithJsonSchema({"description": "as in api-*"})]
_TEXTS: Final[frozenset[FieldType]] = frozenset({"text", "unit"})
_NUMBERS: Final[frozenset[FieldType]] = frozenset({"integer", "number", "port"})
_ADDRESSES: Final[frozenset[FieldType]] = frozenset({"address"})
_ONLY: Final[Mapping[str, tuple[frozenset[FieldType], str, str]]] = {
    "gt": (_NUMBERS, "compares numbers", ""),
    "gte": (_NUMBERS, "compares numbers", ""),
    "lt": (_NUMBERS, "compares numbers", ""),
    "lte": (_NUMBERS, "compares numbers", ""),
    "re": (_TEXTS, "searches text", "; for networks write {cidr: 10.0.0.0/8}"),
    "glob": (_TEXTS, "matches text", "; for networks write {cidr: 10.0.0.0/8}"),
    "has": (_TEXTS, "searches text", "; for networks write {cidr: 10.0.0.0/8}"),
    "cidr": (_ADDRESSES, "is for addresses", ""),
    "list": (_ADDRESSES, "is for addresses", "; for several values write [one, other]"),
}


@dataclass(frozen=True)
class Fields:
    """The fields that may be named, with their types. `whose` says it in sentences; `types` is None where nothing is known;
    under each prefix of `open` any name is a text."""

    whose: str
    types: Mapping[str, FieldType] | None
    open: tuple[str, ...] = ()

    @classmethod
    def of(cls, *kinds: Kind | None) -> Fields:
        """All fields of some kinds; nothing is known as soon as one kind is not."""
        known = [kind for kind in kinds if kind is not None]
        if len(known) < len(kinds) or not kinds:
            return cls("", None)
        types = dict(COMMON) | {name: made for kind in reversed(known) for name, made in kind.fields.items()}
        open_ = tuple(dict.fromkeys(kind.open for kind in known if kind.open))
        return cls(" or ".join(dict.fromkeys(kind.name for kind in known)), types, open_)

    def find(self, name: str, node: Node, found: list[Problem]) -> FieldType | None:
        """The type of a field; None where there is none of that name (then it is a problem) or nothing is known."""
        if self.types is None:
            return None
        if name.startswith(self.open) and name not in self.open:
            return "text"
        if name not in self.types:
            close = nearest(name, self.types)
            hint = f"did you mean `{close}`?" if close else f"its fields: {', '.join(sorted(self.types))}"
            found.append(Problem(node.place, f"`{name}` is not a field of {self.whose}", hint))
        return self.types.get(name)


def read_field_map(node: Node, fields: Fields, catalogue: Catalogue, found: list[Problem]) -> tuple[Test, ...]:
    """The lines of a field map as tests; what is wrong with them is added to `found`."""
    if node.broken:
        return ()
    if not isinstance(node.value, dict):
        hint = "write lines of `field: value`, as in {user: root}"
        found.append(Problem(node.place, f"expected a map, found {node.shape}", hint))
        return ()
    tests: list[Test] = []
    for name, pair in node.value.items():
        before = len(found)
        kind = fields.find(name, pair.key, found)
        if len(found) == before and not pair.value.broken:
            tests += _Line(name, kind, fields.whose, catalogue, found).tests(pair)
    return tuple(tests)


@dataclass(frozen=True)
class _Line:
    """One `field: …` of a map."""

    field: str
    kind: FieldType | None
    whose: str
    catalogue: Catalogue
    found: list[Problem]

    @property
    def type(self) -> Any:
        return TYPES[self.kind] if self.kind else str

    def tests(self, pair: Pair) -> list[Test]:
        value = pair.value
        if isinstance(value.value, dict):
            return self._operators(value, value.value)
        operator: Operator = "in" if isinstance(value.value, list) else "is"
        if operator == "is" and self._sign(value):
            return []
        return self._test(operator, value)

    def _operators(self, whole: Node, pairs: Mapping[str, Pair]) -> list[Test]:
        if not pairs:
            self.found.append(Problem(whole.place, f"no operator for `{self.field}`", f"one of {', '.join(OPERATORS)}"))
        tests = []
        for name, pair in pairs.items():
            if name not in OPERATORS:
                self.found.append(Problem(pair.key.place, f"unknown operator `{name}`", did_you_mean(name, OPERATORS)))
            elif self._fits(name, pair.key):
                tests += self._test(next(one for one in OPERATORS if one == name), pair.value)
        return tests

    def _fits(self, operator: str, key: Node) -> bool:
        types, does, more = _ONLY.get(operator, (None, "", ""))
        if types is None or self.kind is None or self.kind in types:
            return True
        possible = [name for name in OPERATORS if name not in _ONLY or self.kind in _ONLY[name][0]]
        hint = f"{self._is()}; it takes {', '.join(possible)}{more if self.kind == 'address' or operator == 'list' else ''}"
        self.found.append(Problem(key.place, f"`{operator}` {does}, `{self.field}` is {SAID[self.kind]}", hint))
        return False

    def _test(self, operator: Operator, node: Node) -> list[Test]:
        operand = _READERS.get(operator, _value)(self, node)
        return [] if operand is None else [Test(self.field, operator, operand, node.written)]

    def _sign(self, node: Node) -> bool:
        """`rps: "> 100"`: people who know other tools write it so."""
        found = _SYMBOL.fullmatch(str(node.value))
        if not found or self.kind in _TEXTS:
            return False
        operator = _SIGNS.get(found["sign"])
        hint = f"write {{{operator}: {found['value']}}}" if operator else f"write {found['value']}"
        self.found.append(Problem(node.place, f"`{node.value}` is not {SAID[self.kind] if self.kind else 'a value'}", hint))
        return True

    def _is(self) -> str:
        return f"`{self.field}` of {self.whose} is {SAID[self.kind]}" if self.kind else ""

    def read(self, node: Node, hint: Any) -> Any:
        """One operand; a problem without a hint of its own gets the field's type as its hint."""
        before = len(self.found)
        value = read(node, hint, self.found)
        for number in range(before, len(self.found)):
            problem = self.found[number]
            if not problem.hint and self._is():
                self.found[number] = Problem(problem.place, problem.text, self._is())
        return value


def _value(line: _Line, node: Node) -> Any:
    value = line.read(node, line.type)
    if isinstance(value, str) and line.kind in _TEXTS and "*" in value:
        hint = f'for a pattern write {{glob: "{value}"}}'
        line.found.append(Problem(node.place, f"`{value}` is compared letter for letter", hint, "warning"))
    return value


def _values(line: _Line, node: Node) -> Any:
    values = line.read(node, _many(line.type))
    if values == ():
        line.found.append(Problem(node.place, "an empty list matches nothing", "write at least one value"))
    return frozenset(values) if values else None


def _either(line: _Line, node: Node) -> Any:
    if isinstance(node.value, list):
        return _values(line, node)
    value = line.read(node, line.type)
    return None if value is None else frozenset({value})


def _several(hint: Any) -> Callable[[_Line, Node], Any]:
    return lambda line, node: line.read(node if isinstance(node.value, list) else Node([node], node.place), _many(hint))


def _many(hint: Any) -> Any:
    return tuple[hint, ...]


def _lists(line: _Line, node: Node) -> Any:
    nodes = node.value if isinstance(node.value, list) else [node]
    names = [name for one in nodes if (name := list_name(one, line.catalogue, line.found)) is not None]
    return tuple(names) if len(names) == len(nodes) else None


def list_name(node: Node, catalogue: Catalogue, found: list[Problem]) -> str | None:
    """The name of a list of agent.yaml, or None with a problem."""
    name: str | None = read(node, str, found)
    if name is None or name in catalogue.lists:
        return name
    hint = did_you_mean(name, catalogue.lists) or f"make it in agent.yaml, even if empty: lists: {{{name}: []}}"
    if canonical(name.partition("/")[0]) is not None:
        hint = "an address is put on a list in agent.yaml, under `lists:`; here stands the list's name"
    found.append(Problem(node.place, f"no list is called `{name}`", hint))
    return None


_READERS: Final[Mapping[str, Callable[[_Line, Node], Any]]] = {
    "in": _values,
    "not": _either,
    "re": lambda line, node: line.read(node, _REGULAR),
    "glob": lambda line, node: line.read(node, _GLOB),
    "has": lambda line, node: line.read(node, str),
    "exists": lambda line, node: line.read(node, Flag),
    "cidr": _several(Address),
    "list": _lists,
}
