"""How much work a text can make of a regular expression: a bound on what Python's engine tries, worked out from its parse tree.

The engine backtracks. What a repeat may give back depends on what follows it: in `[^"]*"` no character fits both, and there is
one way; in `.*: ` every `: ` of the text is a way, and whatever comes behind is tried again for each. So we walk the tree and
multiply the ways. The bound is not tight, but what it calls quick is quick; the unit is half a nanosecond to a nanosecond.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

_PARSER: Final[Any] = importlib.import_module("re._parser")
_COMPILER: Final[Any] = importlib.import_module("re._compiler")
"""The engine's own, so that we see what it sees."""

Item = tuple[str, Any]
Characters = frozenset[int]

_NESTED: Final = "a repeat inside a repeat, or alternatives inside one, can be slow; write it as one repeat, or use glob"
_ONE: Final = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
_REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_ENDS: Final = ("AT_END", "AT_END_STRING", "AT_END_LINE")
_SET: Final = 4
"""What a character costs in a run of a set like `[\\w-]`; a run of `.` or of one letter costs 1."""
_AGAIN: Final = 8
"""What it costs to try at one character of a run how the expression goes on."""
_FEW: Final = 256
"""A repeat of at most so many is bounded."""
_ANYTHING: Final[Item] = ("ANYTHING", None)
"""Stands for text that may go on in any way."""
_WHOLE: Final[Item] = ("AT", "AT_END_STRING")


def cost(pattern: re.Pattern[Any], longest: int, *, search: bool, whole: bool = False) -> int:
    """The most units of work for a text of so many characters.

    `search` tries at each place of the text, else only at its start; `whole` is for fullmatch.

    Raises:
        ValueError: repeats inside repeats, or back-references, whose work may be beyond all bounds; the sentence says which.
    """
    walk = _Walk(pattern, longest)
    tree = walk.whole
    rest = [_WHOLE] if whole else []
    one = walk.sequence(tree, rest, frozenset())
    if not search or walk.starts_once(tree):
        return longest + one.steps
    starts = longest // walk.period(tree) + 1
    if one.shared:
        return longest + starts * one.steps // (2 if one.steps > longest else 1)
    bare = _Walk(pattern, 1).sequence(tree, rest, frozenset())
    return longest + starts * bare.steps + 2 * one.steps


def power(pattern: re.Pattern[Any]) -> float:
    """By which power of the text's length the work of a search grows: 1 is linear."""
    return math.log2(cost(pattern, 1 << 17, search=True) / cost(pattern, 1 << 16, search=True))


@dataclass(frozen=True)
class _Cost:
    """`steps` of one try, in how many `ways` it goes on, what it may end with, and whether two tries can walk over one run."""

    steps: int = 0
    ways: int = 1
    after: Characters = frozenset()
    shared: bool = False


@dataclass
class _Walk:
    """Over one expression's tree, for texts of one length."""

    pattern: re.Pattern[Any]
    longest: int
    _known: dict[str, Characters] = field(default_factory=dict)
    _flags: int = 0

    def __post_init__(self) -> None:
        self._flags = self.pattern.flags
        self.whole = self.items(_PARSER.parse(self.pattern.pattern, self.pattern.flags))
        self._every = list(self._all(self.whole))  # and with them, the flags of every group

    def items(self, tree: Any) -> list[Item]:
        """A part of the tree as operations with their names; groups without meaning of their own are opened."""
        found: list[Item] = []
        for operation, detail in tree:
            if str(operation) == "SUBPATTERN":
                self._flags |= detail[1] & (re.IGNORECASE | re.DOTALL)  # those of one group count for all: it only adds ways
                found += self.items(detail[3])
            else:
                found.append((str(operation), detail))
        return found

    def sequence(self, items: Sequence[Item], rest: Sequence[Item], before: Characters) -> _Cost:
        """One after another: what comes later is tried once for each way that leads to it."""
        steps, ways, shared = 0, 1, False
        for at, item in enumerate(items):
            one = self._item(item, [*items[at + 1 :], *rest], before)
            steps, ways, before, shared = steps + ways * one.steps, ways * one.ways, one.after, shared or one.shared
        return _Cost(steps, ways, before, shared)

    def starts_once(self, items: Sequence[Item]) -> bool:
        """Whether a search finds one place to start; lines count as texts of their own if nothing goes over their end."""
        if not items or items[0][0] != "AT":
            return False
        by_line = str(items[0][1]) == "AT_BEGINNING" and self.pattern.flags & re.MULTILINE
        return str(items[0][1]).startswith("AT_BEGINNING") and not (by_line and self._crosses_lines())

    def period(self, items: Sequence[Item]) -> int:
        """How far apart two places must be at which these may begin: 5 for `union.*`, 1 for `aa`."""
        sets = self._lead(items)
        fit = (by for by in range(1, len(sets)) if all(a & b for a, b in zip(sets, sets[by:], strict=False)))
        return next(fit, max(1, len(sets)))

    def _lead(self, items: Sequence[Item]) -> list[Characters]:
        """The characters that these must begin with, one after another."""
        sets: list[Characters] = []
        for operation, detail in items:
            if operation in _ONE:
                sets.append(self._characters((operation, detail)))
                continue
            body = self.items(detail[2]) if operation in _REPEATS else []
            if len(body) != 1 or body[0][0] not in _ONE:
                break
            sets += [self._characters(body[0])] * min(int(detail[0]), _FEW)
            if detail[0] != detail[1]:
                break
        return sets

    def _ways(self, span: int, these: Characters, rest: Sequence[Item]) -> int:
        """At how many characters of a run what follows may begin; only at its end if it needs a character that no run holds."""
        lead = self._lead(rest)
        outside = next((at for at, one in enumerate(lead) if not one & these), None)
        return min(span, span // self.period(rest) + 1 if outside is None else outside + 1)

    def _item(self, item: Item, rest: Sequence[Item], before: Characters) -> _Cost:
        operation, detail = item
        if operation in _ONE:
            return _Cost(1, 1, self._characters(item))
        if operation in _REPEATS:
            least, most, body = int(detail[0]), int(detail[1]), self.items(detail[2])
            if len(body) == 1 and body[0][0] in _ONE:
                return self._run(operation, (least, most), body[0], rest, before)
            return self._again(operation, (least, most), body, rest, before)
        if operation == "BRANCH":
            return self._branch([self.items(one) for one in detail[1]], rest, before)
        if operation == "ATOMIC_GROUP":
            inside = self.sequence(self.items(detail), [_ANYTHING], before)
            return _Cost(inside.steps, 1, inside.after, inside.shared)
        if operation in ("ASSERT", "ASSERT_NOT"):
            inside = self.sequence(self.items(detail[1]), [_ANYTHING], before)
            return _Cost(inside.steps, 1, before, inside.shared)
        if operation == "AT":
            return _Cost(1, 1, before)
        raise ValueError("back-references can be slow; write the text out, or use two lines")

    def _run(self, operation: str, many: tuple[int, int], one: Item, rest: Sequence[Item], before: Characters) -> _Cost:
        """A repeat of one character."""
        least, most = many
        span, these = min(most, self.longest), self._characters(one)
        after = these if least else these | before
        if not rest:  # nothing can fail any more
            return _Cost(min(least, span) + 1, 1, after)
        follows, _ = self._first(rest)
        overlap = bool(follows & these)
        done = len(rest) == 1 and rest[0][0] in _ONE
        slow = operation == "MIN_REPEAT" or rest[0][0] != "LITERAL" or (overlap and not done)
        steps = span * ((_SET if one[0] == "IN" else 1) + (_AGAIN if slow else 0))
        ways = self._ways(span - min(least, span) + 1, these, rest) if overlap else 1
        shared = span > _FEW and (not before or bool(before & these))
        return _Cost(steps, 1 if operation == "POSSESSIVE_REPEAT" else ways, after, shared)

    def _again(
        self, operation: str, many: tuple[int, int], body: Sequence[Item], rest: Sequence[Item], before: Characters
    ) -> _Cost:
        """A repeat, or the choice, of something longer."""
        least, most = many
        begins, empty = self._first(body)
        exclusive = not (begins & self._first(rest)[0]) and not empty
        if most <= 1:
            inside = self.sequence(body, rest, before)
            ways = inside.ways if exclusive else inside.ways + (least == 0)
            return _Cost(inside.steps + 1, ways, inside.after | before, inside.shared)
        inside = self.sequence(body, [("FORK", (body, rest))], before)
        unbounded = any(name in _REPEATS and int(detail[1]) > _FEW for name, detail in self._all(body))
        if unbounded or (inside.ways > 1 and most > _FEW):
            raise ValueError(_NESTED)
        times = min(most, self.longest)
        tries = times if inside.ways == 1 else inside.ways ** min(times, _FEW)
        ways = inside.ways ** min(times, _FEW) * (1 if exclusive else times - min(least, times) + 1)
        alone = operation == "POSSESSIVE_REPEAT"
        return _Cost(inside.steps * tries, 1 if alone else ways, inside.after | before, inside.shared)

    def _branch(self, each: Sequence[Sequence[Item]], rest: Sequence[Item], before: Characters) -> _Cost:
        costs = [self.sequence(one, rest, before) for one in each]
        begins = [self._first([*one, *rest])[0] for one in each]
        exclusive = all(not (a & b) for at, a in enumerate(begins) for b in begins[:at])
        ways = max(one.ways for one in costs) if exclusive else sum(one.ways for one in costs)
        after = frozenset[int]().union(*(one.after for one in costs))
        return _Cost(sum(one.steps for one in costs) + len(costs), ways, after, any(one.shared for one in costs))

    def _first(self, items: Sequence[Item]) -> tuple[Characters, bool]:
        """What these can begin with, and whether they can be empty. An end of the text begins with nothing."""
        found: Characters = frozenset()
        for operation, detail in items:
            if operation in _ONE:
                return found | self._characters((operation, detail)), False
            if operation == "ANYTHING":
                return self._alphabet, False
            if operation == "AT" and str(detail) in _ENDS:
                return found, False
            begins, empty = self._first_of(operation, detail)
            found |= begins
            if not empty:
                return found, False
        return found, True

    def _first_of(self, operation: str, detail: Any) -> tuple[Characters, bool]:
        if operation in _REPEATS:
            begins, empty = self._first(self.items(detail[2]))
            return begins, empty or int(detail[0]) == 0
        if operation in ("BRANCH", "FORK"):
            parts = [self.items(one) for one in detail[1]] if operation == "BRANCH" else detail
            each = [self._first(one) for one in parts]
            return frozenset[int]().union(*(one for one, _ in each)), any(empty for _, empty in each)
        if operation == "ATOMIC_GROUP":
            return self._first(self.items(detail))
        return frozenset(), True  # it looks around, and takes nothing

    def _all(self, items: Sequence[Item]) -> Iterable[Item]:
        """Every operation in these, however deep."""
        for operation, detail in items:
            yield operation, detail
            pieces = detail if isinstance(detail, tuple | list) else (detail,)
            nested = [two for one in pieces for two in (one if isinstance(one, list) else [one])]
            for piece in nested:
                if isinstance(piece, _PARSER.SubPattern):
                    yield from self._all(self.items(piece))

    def _crosses_lines(self) -> bool:
        return any(10 in self._characters(one) for one in self._every if one[0] in _ONE)

    @cached_property
    def _alphabet(self) -> Characters:
        """The first 256 characters and those that the expression names; all others are alike to it."""
        if isinstance(self.pattern.pattern, bytes):
            return frozenset(range(256))
        named = {code for item in self._every for code in _codes(item)}
        return frozenset(range(256)) | named | {ord(case) for code in named for case in _cases(chr(code))} | {0x10FFFF}

    def _characters(self, item: Item) -> Characters:
        """Which characters of the alphabet this one takes."""
        key = repr(item)
        if key not in self._known:
            tree = _PARSER.SubPattern(_PARSER.State(), [(getattr(_PARSER, item[0]), item[1])])
            tree.state.str = self.pattern.pattern
            made = _COMPILER.compile(tree, self._flags)
            text = isinstance(self.pattern.pattern, str)
            self._known[key] = frozenset(at for at in self._alphabet if made.match(chr(at) if text else bytes([at])))
        return self._known[key]


def _codes(item: Item) -> Iterable[int]:
    """The characters that stand in one operation by name, or at an end of a range."""
    operation, detail = item
    if operation in ("LITERAL", "NOT_LITERAL"):
        return [int(detail)]
    if operation != "IN":
        return []
    named = [one for what, one in detail if str(what) in ("LITERAL", "RANGE")]
    return [code for one in named for code in (one if isinstance(one, tuple) else (int(one),))]


def _cases(character: str) -> Iterable[str]:
    return [one for one in (character.lower(), character.upper()) if len(one) == 1]
