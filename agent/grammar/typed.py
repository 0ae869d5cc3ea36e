"""Located nodes into typed values: frozen dataclasses say which keys there are, pydantic reads the values.

What cannot be read is None and has its problem in `found`; nothing is raised, so that one reading names every mistake.
YAML's `null` never gets here, so None has no other meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, PlainValidator, TypeAdapter, ValidationError

from agent.grammar.located import Node, Pair, Place, Problem, did_you_mean, nearest
from agent.schema import About, Ttl

T = TypeVar("T")

_SPELLED: Final[Mapping[Any, tuple[re.Pattern[str], str]]] = {
    int: (re.compile(r"[-+]?\d{1,18}"), "a whole number"),
    float: (re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?"), "a number"),
    bool: (re.compile(r"true|false"), "true or false"),
}
"""How numbers are written here, which is less than pydantic takes (`1_000`, ` 5 `, `yes`, `inf`)."""


_MEND: Final = re.compile(r"; (?=(?:[^`]*`[^`]*`)*[^`]*$)")
_OF_TYPES: Final = {
    Ttl: About("how long the mitigation stays: 1h, `1h x2 up to 7d` for repeat offenders, or forever", "1h x2 up to 7d")
}
"""What types say that mean the same wherever they are."""
_BOUNDS: Final = {
    "greater_than": "not more than",
    "greater_than_equal": "less than",
    "less_than": "not less than",
    "less_than_equal": "more than",
}


@dataclass(frozen=True, slots=True)
class Later:
    """A key, or only some of its values (by their first word), that a later version will know. `instead` says what to do now."""

    instead: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a map may have: its name in YAML, the attribute that holds it, and what its value must be."""

    name: str
    attribute: str
    hint: Any
    required: bool
    about: str = ""
    later: Later | None = None
    example: str = ""
    """A value as it stands in YAML."""
    default: Any = None


_KEYS: dict[type[Any], dict[str, Key]] = {}


def keys(cls: type[Any]) -> dict[str, Key]:
    """The keys of a map that is read as `cls`, by name; a trailing _ in the attribute keeps Python's own words free (`for_`)."""
    if cls not in _KEYS:
        hints = get_type_hints(cls, include_extras=True)
        _KEYS[cls] = {one.name.rstrip("_"): _key(one, hints[one.name]) for one in fields(cls)}
    return _KEYS[cls]


def _key(one: Field[Any], hint: Any) -> Key:
    hint, notes = _notes(hint)
    about = next((note for note in notes if isinstance(note, About)), _OF_TYPES.get(hint, About("")))
    later = next((note for note in notes if isinstance(note, Later)), None)
    required = one.default is MISSING and one.default_factory is MISSING
    made = one.default_factory() if one.default_factory is not MISSING else one.default
    default = None if required else made
    return Key(one.name.rstrip("_"), one.name, hint, required, about.text, later, about.example, default)


def supported(cls: Any) -> dict[str, Key]:
    """The keys that have an effect in this version."""
    return {name: key for name, key in keys(cls).items() if key.later is None or key.later.values}


# Values ---------------------------------------------------------------------------------------------------------------


def read(node: Node, hint: Any, found: list[Problem]) -> Any:
    """A node as a value of the type `hint`: a scalar, a dataclass, `tuple[X, …]`, `Mapping[str, X]`, or `Node` as it is."""
    hint, _ = _notes(hint)
    if node.broken:
        return None
    if hint is Node:
        return node
    if node.empty:
        found.append(Problem(node.place, f"`{node.place.word}` has no value", "write it after the colon, or leave the line out"))
        return None
    if is_record(hint):
        return record(node, cast("type[Any]", hint), found)
    if get_origin(hint) in (tuple, list, frozenset):
        return _list(node, hint, found)
    if _is_mapping(hint):
        return _mapping(node, get_args(hint)[1], found)
    return _scalar(node, hint, found)


def record(node: Node, cls: type[T], found: list[Problem], excused: Iterable[str] = (), owner: Node | None = None) -> T | None:
    """A map as an instance of a dataclass; None if any key of it could not be read. `excused` keys may be missing."""
    before = len(found)
    values = values_of(node, cls, found, excused, owner)
    if not isinstance(node.value, dict) or len(found) > before or any(value is None for value in values.values()):
        return None
    try:
        return cls(**{keys(cls)[name].attribute: value for name, value in values.items()})
    except ValueError as error:  # a rule across keys, from __post_init__
        place = next((pair.value.place for name, pair in node.value.items() if str(error).startswith(f"{name} ")), node.place)
        found.append(Problem(place, *_halves(str(error))))
        return None


def values_of(
    node: Node, cls: type[Any], found: list[Problem], excused: Iterable[str] = (), owner: Node | None = None
) -> dict[str, Any]:
    """The values of a map by key, as far as they could be read; the keys are those of the dataclass `cls`."""
    return {key.name: value_of(key, pair, found) for key, pair in known_pairs(node, cls, found, excused, owner)}


def value_of(key: Key, pair: Pair, found: list[Problem]) -> Any:
    """The value of one key; a problem that has no hint gets the line that the key has for ops."""
    before = len(found)
    value = read(pair.value, key.hint, found)
    for number, one in enumerate(found[before:], before):
        if not one.hint and one.place == pair.value.place:
            found[number] = replace(one, hint=key.about)
    return value


def known_pairs(
    node: Node,
    cls: type[Any],
    found: list[Problem],
    excused: Iterable[str] = (),
    owner: Node | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> list[tuple[Key, Pair]]:
    """The pairs of a map whose keys `cls` knows; unknown, missing and not yet supported ones become problems.

    `owner` is the key that the map belongs to, where a missing key is better said of it: "`block_ip` needs `ttl`".
    `elsewhere` are hints for keys that belong somewhere else.
    """
    if not isinstance(node.value, dict):
        found += [] if node.broken else [Problem(node.place, f"expected a map, found {node.shape}", f"write {sketch(cls)}")]
        return []
    known, pairs = keys(cls), []
    unknown = {name: pair for name, pair in node.value.items() if name not in known}
    hints = {name: (elsewhere or {}).get(name) or misplaced(cls, name) for name in unknown}
    meant = {name: nearest(name, supported(cls)) for name in unknown if not hints[name]}
    missing = _missing_keys(node, known, {*excused, *(name for name in meant.values() if name)})
    lost = [name for name, guess in meant.items() if guess is None]
    if len(lost) == len(missing) == 1:  # what is missing is what was meant
        meant[lost[0]] = missing.pop().name
    for name, pair in unknown.items():
        hint = hints[name] or (f"did you mean `{meant[name]}`?" if meant[name] else did_you_mean("", supported(cls)))
        found += [] if pair.key.broken else [Problem(pair.key.place, f"unknown key `{name}`", hint)]
    for name, pair in node.value.items():
        late = _not_yet(known[name], pair) if name in known else None
        if late is not None:
            found.append(late)
        elif name in known:
            pairs.append((known[name], pair))
    found += [_missing(key, owner, node.place) for key in missing]
    return pairs


def _missing_keys(node: Node, known: Mapping[str, Key], meant: set[str]) -> list[Key]:
    if node.broken or not isinstance(node.value, dict):
        return []
    return [key for key in known.values() if key.required and key.name not in node.value and key.name not in meant]


def misplaced(cls: type[Any], name: str) -> str:
    """The hint that a dataclass keeps in its `elsewhere` for words of other places or other tools."""
    return cast("Mapping[str, str]", getattr(cls, "elsewhere", {})).get(name, "")


def sketch(cls: type[Any]) -> str:
    """How a map of this type begins: {ip: …, ttl: …}."""
    names = [key.name for key in supported(cls).values() if key.required] or [*supported(cls)][:1]
    return f"{{{', '.join(f'{name}: …' for name in names)}}}"


def _missing(key: Key, owner: Node | None, place: Place) -> Problem:
    if owner is None:
        return Problem(place, f"`{key.name}` is missing", key.about)
    return Problem(owner.place, f"`{owner.written}` needs `{key.name}`", key.about or _described(key.hint))


def _not_yet(key: Key, pair: Pair) -> Problem | None:
    if key.later is None:
        return None
    if not key.later.values:
        return Problem(pair.key.place, f"`{key.name}` is not supported yet", key.later.instead)
    word = pair.value.value.split(" ")[0] if isinstance(pair.value.value, str) else ""
    if word not in key.later.values:
        return None
    return Problem(pair.key.place, f"`{key.name}: {pair.value.written}` is not supported yet", key.later.instead)


# Containers and scalars ---------------------------------------------------------------------------------------------------


def _list(node: Node, hint: Any, found: list[Problem]) -> Any:
    if not isinstance(node.value, list):
        found.append(Problem(node.place, f"expected a list, found {node.shape}", f"write [{node.written}]"))
        return None
    before = len(found)
    items = [read(item, get_args(hint)[0], found) for item in node.value]
    whole = len(found) == before and all(item is not None for item in items)
    return cast("type[Any]", get_origin(hint))(items) if whole else None


def _mapping(node: Node, hint: Any, found: list[Problem]) -> dict[str, Any] | None:
    if not isinstance(node.value, dict):
        found.append(Problem(node.place, f"expected a map, found {node.shape}", "write {name: …}"))
        return None
    return {name: read(pair.value, hint, found) for name, pair in node.value.items()}


def _scalar(node: Node, hint: Any, found: list[Problem]) -> Any:
    base = _base(hint)
    pattern, expected = (None, "text") if _reads_itself(hint) else _SPELLED.get(base, (None, "text"))
    if not isinstance(node.value, str):
        found.append(Problem(node.place, f"expected {expected}, found {node.shape}", _described(hint)))
        return None
    if get_origin(base) is not Literal and (problem := node.ambiguous) is not None:
        found.append(problem)
        return None
    if pattern is not None and not pattern.fullmatch(node.value):
        found.append(Problem(node.place, f"`{node.value}` is not {expected}", "" if base is bool else _described(hint)))
        return None
    try:
        value = _adapter(hint).validate_python(node.value)
    except ValidationError as error:
        found.append(Problem(node.place, *_why(error, node.value, hint)))
        return None
    if isinstance(value, Path):
        return Path(node.place.file).parent / value  # a path is relative to the file in which it stands
    return value


def _why(error: ValidationError, text: str, hint: Any) -> tuple[str, str]:
    detail = error.errors(include_url=False)[0]
    if isinstance(reason := detail.get("ctx", {}).get("error"), ValueError):
        said, mend = _halves(str(reason))
        return said, mend or _described(hint)
    if get_origin(_base(hint)) is Literal:
        known = [str(one) for one in get_args(_base(hint))]
        close = nearest(text, known)
        return f"`{text}` is not one of {', '.join(known)}", f"did you mean `{close}`?" if close else ""
    if detail["type"] in _BOUNDS:
        limit = next(iter(detail.get("ctx", {}).values()), "")
        return f"`{text}` is {_BOUNDS[detail['type']]} {limit}", _described(hint)
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value ")
    return f"`{text}` does not fit: expected {message}", _described(hint)


def _halves(sentence: str) -> tuple[str, str]:
    """Our own ValueErrors say what is wrong, and after '; ' how to mend it; between backticks stand ops' own words."""
    text, *hint = _MEND.split(sentence, maxsplit=1)
    return text, "".join(hint)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _described(hint: Any) -> str:
    """What the type says about itself in JSON Schema."""
    if hint is Node or is_record(hint) or get_origin(hint) in (tuple, list, frozenset) or _is_mapping(hint):
        return ""
    return str(_adapter(hint).json_schema().get("description", ""))


def _notes(hint: Any) -> tuple[Any, list[Any]]:
    """The type without `| None`, and without our notes, which are returned beside it."""
    notes: list[Any] = []
    while True:
        if get_origin(hint) is Annotated:
            base, *metadata = get_args(hint)
            notes += [one for one in metadata if isinstance(one, About | Later)]
            rest = [one for one in metadata if not isinstance(one, About | Later)]
            if rest and len(rest) == len(metadata):
                return hint, notes
            hint = Annotated[base, *rest] if rest else base
        elif get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
            hint = Union[tuple(one for one in get_args(hint) if one is not NoneType)]  # noqa: UP007 - made at run time
        else:
            return hint, notes


def _reads_itself(hint: Any) -> bool:
    """Whether the type has its own reader of text, as Size and Flag have."""
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(isinstance(one, BeforeValidator | PlainValidator) for one in metadata)


def _base(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def is_record(hint: Any) -> bool:
    """A dataclass that is a map in YAML, and not one that is read from text, as a Ttl is."""
    return is_dataclass(hint) and not hasattr(hint, "__get_pydantic_core_schema__")


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)
