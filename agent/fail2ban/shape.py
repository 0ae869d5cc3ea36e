"""What every match of an expression is like, seen from its parse tree: how it begins, and which groups hold something."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

_PARSER: Final[Any] = importlib.import_module("re._parser")
"""The engine's own, so that we see what it sees."""
_COMPILER: Final[Any] = importlib.import_module("re._compiler")
ONE: Final = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_NOTHING: Final = ("AT", "ASSERT", "ASSERT_NOT")
ASCII: Final = frozenset(range(128))


@lru_cache(maxsize=64)
def tree(pattern: re.Pattern[Any]) -> Any:
    """An expression's parse tree, as the engine has it: pairs of an operation and its detail. Nobody may change it."""
    return _PARSER.parse(pattern.pattern, pattern.flags)


def begins(pattern: re.Pattern[str]) -> frozenset[int] | None:
    """The ASCII codes that a match can begin with, if it begins with one of these; None where it can be empty."""
    found, empty = _begins(list(tree(pattern)), pattern.flags)
    return None if empty else found


def _begins(items: Sequence[Any], flags: int) -> tuple[frozenset[int], bool]:
    """The codes, and whether these items can also match nothing."""
    found: frozenset[int] = frozenset()
    for operation, detail in items:
        name = str(operation)
        if name in _NOTHING:
            continue
        more, empty = _of_item(name, detail, flags)
        found |= more
        if not empty:
            return found, False
    return found, True


def _of_item(name: str, detail: Any, flags: int) -> tuple[frozenset[int], bool]:
    if name in ONE:
        return characters(name, detail, flags), False
    if name == "SUBPATTERN":
        return _begins(list(detail[3]), (flags | detail[1]) & ~detail[2])
    if name == "ATOMIC_GROUP":
        return _begins(list(detail), flags)
    if name in REPEATS:
        more, empty = _begins(list(detail[2]), flags)
        return more, empty or int(detail[0]) == 0
    if name == "BRANCH":
        parts = [_begins(list(one), flags) for one in detail[1]]
        return frozenset[int]().union(*(more for more, _ in parts)), any(empty for _, empty in parts)
    return ASCII, True


def characters(name: str, detail: Any, flags: int) -> frozenset[int]:
    """The ASCII codes that an item for one character takes; the engine itself is asked."""
    return _characters(name, tuple(map(tuple, detail)) if isinstance(detail, list) else detail, flags)


@lru_cache(maxsize=4096)
def _characters(name: str, detail: Any, flags: int) -> frozenset[int]:
    one = _PARSER.SubPattern(_PARSER.State(), [(getattr(_PARSER, name), list(detail) if isinstance(detail, tuple) else detail)])
    one.state.str = ""
    made = _COMPILER.compile(one, flags)
    return frozenset(code for code in ASCII if made.match(chr(code)))


def sets(pattern: re.Pattern[str]) -> frozenset[str]:
    """The groups that hold some text after every match."""
    names = {number: name for name, number in pattern.groupindex.items()}
    return frozenset(names[number] for number in _sets(tree(pattern)) if number in names)


def _sets(items: Any) -> set[int]:
    found: set[int] = set()
    for operation, detail in items:
        if str(operation) == "SUBPATTERN":
            found |= _sets(detail[3])
            if detail[0] is not None and detail[3].getwidth()[0] > 0:
                found.add(detail[0])
    return found
