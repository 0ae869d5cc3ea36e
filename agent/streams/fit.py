"""A value out of somebody's JSON as the value of a field: of the field's type, of bounded length, harmless to show. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.event import FieldType, Value
from agent.schema import canonical
from agent.visible import visible

MOST: Final = 300
"""Characters of a text, before those that do not print are written out."""
_BITS: Final = 1 << 63
_EXACT: Final = 1 << 53
"""Beyond it a float is no exact whole number."""
_WHOLE: Final = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,3})?", re.ASCII)
_UNIT: Final = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|socket|device|mount|automount|swap|target|path|timer|slice|scope)"
)


def fit(value: Any, kind: FieldType, most: int = MOST) -> Value:
    """The value as a field of this type holds it, or None where it is not of the type; an empty text says nothing, too.

    Numbers and flags may be written as text, as in all labels; an address becomes its one spelling.
    """
    return _FITS[kind](value, most)


def text(value: Any, most: int = MOST) -> str:
    """A value as one line of text; empty where it is an object, a list or nothing."""
    return str(fit(value, "text", most) or "")


def _text(value: Any, most: int) -> Value:
    if isinstance(value, str):
        return visible(value, most) or None
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _number(value, most)
    return None if number is None else str(value)


def _address(value: Any, _: int) -> Value:
    return canonical(value) if isinstance(value, str) and len(value) <= 64 else None


def _integer(value: Any, _: int) -> Value:
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if abs(value) < _EXACT and value.is_integer() else None
    return value if isinstance(value, int) and -_BITS <= value < _BITS else None


def _number(value: Any, _: int) -> Value:
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and -_BITS <= value < _BITS else None


def _flag(value: Any, _: int) -> Value:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None


def _port(value: Any, most: int) -> Value:
    number = _integer(value, most)
    return number if isinstance(number, int) and 0 < number < 65536 else None


def _unit(value: Any, _: int) -> Value:
    return value if isinstance(value, str) and _UNIT.fullmatch(value) else None


_FITS: Final[Mapping[FieldType, Callable[[Any, int], Value]]] = {
    "text": _text,
    "address": _address,
    "integer": _integer,
    "number": _number,
    "flag": _flag,
    "port": _port,
    "unit": _unit,
}
