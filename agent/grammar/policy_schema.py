"""JSON Schema (draft-07) of policy files, for editors: made of the same classes and registries that check them.

It is looser than the checker where an editor could only say something confusing: texts may look like numbers, `$fields` are
allowed wherever one may fit. Whatever the checker accepts, the schema accepts; unknown and missing keys and wrong words of a
fixed set it refuses. draft-07 is what yaml-language-server reads, and `oneOf` is avoided for its messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import TypeAdapter

from agent.event import COMMON, Catalogue, FieldType
from agent.grammar.located import Node
from agent.grammar.policy_keys import ClauseKeys, ExampleKeys, PartKeys, PolicyKeys, StepOptions
from agent.grammar.policy_match import OPERATORS
from agent.grammar.policy_people import EscalateKeys, IncidentKeys
from agent.grammar.policy_steps import fitting
from agent.grammar.typed import Key, is_record, keys, supported

Schema = dict[str, Any]

_TIME: Final = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
_TEXT: Final[Schema] = {"type": ["string", "number", "boolean"]}
"""YAML that looks like a number or a truth is text here."""
_FIELD_MAP: Final[Schema] = {"$ref": "#/definitions/fields"}
_SCALARS: Final[Mapping[str, Schema]] = {
    "integer": {"type": ["integer", "string"], "pattern": r"^[-+]?\d+$"},
    "number": {"type": ["number", "string"], "pattern": r"^[-+]?[\d.]+([eE][-+]?\d+)?$"},
    "boolean": {"type": ["boolean", "string"], "enum": [True, False, "true", "false"]},
}
_FIELDS: Final[Mapping[FieldType, Schema]] = {
    "integer": _SCALARS["integer"],
    "port": _SCALARS["integer"],
    "number": _SCALARS["number"],
    "flag": _SCALARS["boolean"],
    "address": {"type": "string"},
    "text": _TEXT,
    "unit": _TEXT,
}


def schema(catalogue: Catalogue) -> Schema:
    """The schema of one policy document, with every kind, field, action and list of this host in it."""
    maker = _Maker(catalogue)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "containment policy",
        **maker.of_keys(PolicyKeys),
        "definitions": {"fields": maker.field_map(), "clause": maker.clause(), **maker.operands},
    }


class _Maker:
    """Makes the schemas of the values that depend on what this host knows."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.kinds = {name: kind.about for name, kind in sorted(catalogue.kinds.items())}
        self.fields: dict[str, set[FieldType]] = {name: {made} for name, made in COMMON.items()}
        for kind in catalogue.kinds.values():
            for name, made in kind.fields.items():
                self.fields.setdefault(name, set()).add(made)
        self.operands: dict[str, Schema] = {}
        self.open = sorted({re.escape(kind.open) for kind in catalogue.kinds.values() if kind.open})
        self.composed: Mapping[tuple[type[Any], str], Callable[[], Schema]] = {
            (PolicyKeys, "when"): self._when,
            (PolicyKeys, "unless"): lambda: dict(_FIELD_MAP),
            (PolicyKeys, "then"): lambda: {"type": ["array", "null"], "items": self._step()},
            (PolicyKeys, "examples"): lambda: {"type": "array", "items": self.of_keys(ExampleKeys)},
            (PolicyKeys, "notify"): lambda: {"anyOf": [{"enum": ["off"]}, self._several(self.catalogue.channels)]},
            (PolicyKeys, "escalate"): lambda: {"type": "array", "items": self.of_keys(EscalateKeys)},
            (PolicyKeys, "incident"): lambda: self.of_keys(IncidentKeys),
            (EscalateKeys, "to"): lambda: self._several(self.catalogue.channels),
            (IncidentKeys, "group"): lambda: {"anyOf": [{"enum": ["alone"]}, {"type": "array", "items": self._named()}]},
            (IncidentKeys, "impact"): lambda: self._several(self.catalogue.checks),
            (IncidentKeys, "inhibits"): lambda: self._several(None),
            (ClauseKeys, "sequence"): lambda: {"type": "array", "minItems": 2, "items": self.of_keys(PartKeys)},
            (ClauseKeys, "by"): lambda: _one_or_more(self._named()),
            (ExampleKeys, "events"): lambda: {"type": "array", "items": self._event()},
            (ExampleKeys, "expect"): lambda: {"type": "array", "items": {"type": "string"}},
        }

    def of_keys(self, cls: type[Any]) -> Schema:
        """The schema of a map whose keys a dataclass knows."""
        known = supported(cls).values()
        return _closed(
            {key.name: _said(self._value(cls, key), key.about) for key in known},
            [key.name for key in known if key.required],
            (cls.__doc__ or "").strip(),
        )

    def _value(self, cls: type[Any], key: Key) -> Schema:
        if (cls, key.name) in self.composed:
            return self.composed[cls, key.name]()
        if key.name == "event":
            return _described_enum(self.kinds)
        if key.name == "match":
            return dict(_FIELD_MAP)
        if key.name == "never":
            return {"type": "array", "items": {"enum": sorted(self.catalogue.lists)}}
        if is_record(key.hint):
            return self.of_keys(key.hint)
        return _value_of(key.hint)

    def _when(self) -> Schema:
        """One clause or a list of them, without `anyOf`: `properties` is about maps, `items` about lists."""
        return self.clause() | {"type": ["object", "array"], "items": {"$ref": "#/definitions/clause"}, "minItems": 1}

    def clause(self) -> Schema:
        """One clause of `when`."""
        return self.of_keys(ClauseKeys) | {"dependencies": {"sequence": ["within"], "within": ["sequence"]}}

    # Field maps --------------------------------------------------------------------------------------------------------

    def field_map(self) -> Schema:
        """Every field of every kind: a schema cannot tell which kind the lines are about."""
        made = _closed({name: self._operand(types) for name, types in sorted(self.fields.items())}, [])
        return made | self._opened(self._operand({"text"}))

    def _named(self) -> Schema:
        """A field's name."""
        return {"enum": sorted(self.fields)} if not self.open else {"anyOf": [{"enum": sorted(self.fields)}, *self._prefixed()]}

    def _prefixed(self) -> list[Schema]:
        return [{"type": "string", "pattern": f"^{one}."} for one in self.open]

    def _opened(self, one: Schema) -> Schema:
        """Names under a prefix, as in labels.job, that no kind lists."""
        return {"patternProperties": {f"^{prefix}.": one for prefix in self.open}} if self.open else {}

    def _operand(self, types: Iterable[FieldType]) -> Schema:
        """What may stand after a field: the same for all fields of a type, so it is written down once."""
        name = "-or-".join(sorted(set(types)))
        self.operands.setdefault(name, self._operand_of(types))
        return {"$ref": f"#/definitions/{name}"}

    def _operand_of(self, types: Iterable[FieldType]) -> Schema:
        """An editor completes operators only where it sees one object with properties."""
        known = {name: self._operator(name, types) for name in OPERATORS}
        return {
            "type": ["string", "number", "boolean", "array", "object"],
            "items": _TEXT,
            "properties": known,
            "additionalProperties": False,
        }

    def _operator(self, name: str, types: Iterable[FieldType]) -> Schema:
        if name == "list":
            return _one_or_more({"enum": sorted(self.catalogue.lists)})
        if name == "exists":
            return dict(_SCALARS["boolean"])
        if name in ("gt", "gte", "lt", "lte"):
            return dict(_SCALARS["number"])
        if name in ("re", "glob", "has"):
            return dict(_TEXT)
        one = [_FIELDS[kind] for kind in sorted(set(types))]
        return {"type": [*_TEXT["type"], "array"], "items": one[0] if len(one) == 1 else _TEXT}

    def _several(self, known: frozenset[str] | None) -> Schema:
        """Names of channels or checks; any, where no agent.yaml says which there are."""
        return {"type": "array", "items": dict(_TEXT) if known is None else {"enum": sorted(known)}}

    # Steps ----------------------------------------------------------------------------------------------------------------

    def _step(self) -> Schema:
        actions = {name: self._action(made) for name, made in sorted(self.catalogue.actions.items())}
        options = self.of_keys(StepOptions)["properties"]
        step = _closed(actions | options, [], "one action with its parameters, and step options beside it")
        return step | {"minProperties": 1}

    def _action(self, made: type[Any]) -> Schema:
        known = keys(made)
        required = [key.name for key in known.values() if key.required]
        properties = {name: _said(_parameter(key), key.about) for name, key in known.items()}
        shape = _closed(properties, required, (made.__doc__ or "").strip())
        return shape if required else shape | {"type": ["object", "null"]}

    # Examples ---------------------------------------------------------------------------------------------------------------

    def _event(self) -> Schema:
        own: dict[str, Schema] = {
            "at": {"type": "string", "pattern": _TIME, "description": "seconds after the start, as in 90s"},
            "repeat": {"type": "string", "pattern": r"^\d+ +every +\S+$", "description": "as in 12 every 10s; # counts them"},
            "event": _described_enum(self.kinds),
            "log": {"type": "string", "description": "a raw line, for the parser"},
            "parser": {"type": "string", "description": "the parser's name, as in sshd"},
        }
        event = _closed({name: dict(_TEXT) for name in sorted(self.fields)} | own, [])
        return event | self._opened(dict(_TEXT)) | {"dependencies": {"log": ["parser"], "parser": ["log"]}}


def _value_of(hint: Any) -> Schema:
    """As pydantic says it, loosened for YAML: text may look like a number, and numbers may stand in quotes."""
    if hint is Node:
        return {}
    if get_origin(hint) in (tuple, list, frozenset):
        return {"type": "array", "items": _value_of(get_args(hint)[0])}
    made = TypeAdapter(hint).json_schema()
    kind, description = str(made.get("type")), made.get("description", "")
    if kind in _SCALARS:
        return _said(dict(_SCALARS[kind]), description)
    if kind == "string" and not made.keys() & {"enum", "const", "pattern"}:
        return _said(dict(_TEXT), description)
    return {name: value for name, value in made.items() if name not in ("title", "default")}


def _parameter(key: Key) -> Schema:
    """A parameter's value, or a `$field` where one can fit."""
    made = _value_of(key.hint)
    if not fitting(key.hint) or "string" not in made.get("type", []):
        return made
    if "enum" in made:
        made = {name: value for name, value in made.items() if name != "enum"} | {"pattern": "^(true|false)$"}
    if "pattern" in made:
        made["pattern"] = rf"({made['pattern']})|(^\$[A-Za-z_])"
    return made


def _closed(properties: Mapping[str, Schema], required: list[str], description: str = "") -> Schema:
    made: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return _said(made | ({"required": required} if required else {}), description)


def _one_or_more(one: Schema) -> Schema:
    """`anyOf`, since an `enum` would speak about the list too."""
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _described_enum(known: Mapping[str, str]) -> Schema:
    """`enumDescriptions` is what editors show beside each value; validators ignore it."""
    return {"enum": list(known), "enumDescriptions": list(known.values())}


def _said(made: Schema, description: str) -> Schema:
    if not description:
        return made
    more = made.get("description", "")
    return made | {"description": f"{description} ({more})" if more and more not in description else description}
