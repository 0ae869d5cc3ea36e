"""How long a line can keep an expression busy, roughly: by which power of the line's length the work can grow.

A repeat without end is open where what follows it may begin with what it repeats: then the engine tries each place where it could
stop. With two open ones behind each other that is the square of the line's length: up to half a second for 4 KiB, and a sixteenth
of that for QUICK. With three it is a minute, and one inside of another has no end. Rather too often than too seldom it is called
risky: that only costs time (agent/fail2ban/apart.py), and tests/fail2ban/worst.py looks for what this misses. What
agent/grammar/backtracking.py works out exactly is for expressions that ops may write.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from agent.fail2ban.shape import ASCII, ONE, REPEATS, characters, tree

_FEW: Final = 256
_MOST: Final = 2
QUICK: Final = 1024
"""Characters of a text that an expression which is not risky may see beside all others; longer ones are rare."""
_NO_END: Final = 9

Items = list[tuple[str, Any]]


@lru_cache(maxsize=1024)
def risky(pattern: re.Pattern[str]) -> bool:
    """Whether a text no longer than QUICK could keep it busy for longer than a moment."""
    return _Walk(pattern).power() > _MOST


def _never_fails(items: Items) -> bool:
    """`^(?:optional)*.+$` takes every line at its first try, and tries nothing again."""
    inner = [(name, detail) for name, detail in items if name != "AT"]
    if not inner or inner[-1][0] != "MAX_REPEAT" or [str(one[0]) for one in inner[-1][1][2]] != ["ANY"]:
        return False
    return all(name in REPEATS and int(detail[0]) == 0 for name, detail in inner[:-1])


class _Walk:
    """Over one expression's tree."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._skipped = {number for name, number in pattern.groupindex.items() if name.startswith("skiplines")}

    def power(self) -> int:
        """Open repeats one behind the other; one more where a match may begin anywhere."""
        items = self._items(tree(self._pattern))
        if _never_fails(items):
            return 0
        anywhere = not items or items[0][0] != "AT"
        return self._open(items, []) + anywhere

    def _items(self, each: Any) -> Items:
        found: Items = []
        for operation, detail in each:
            name = str(operation)
            if name == "SUBPATTERN" and detail[0] not in self._skipped:
                found += self._items(detail[3])
            elif name != "SUBPATTERN":
                found.append((name, detail))
        return found

    def _open(self, items: Items, rest: Items) -> int:
        found = 0
        for at, (name, detail) in enumerate(items):
            behind = [*items[at + 1 :], *rest]
            if name in REPEATS:
                found += self._of_repeat(int(detail[1]), self._items(detail[2]), behind)
            elif name == "BRANCH":
                found += max(self._open(self._items(one), behind) for one in detail[1])
            elif name == "GROUPREF_EXISTS":
                found += max(self._open(self._items(one), behind) for one in detail[1:] if one is not None)
            elif name in ("ASSERT", "ASSERT_NOT"):
                found += self._open(self._items(detail[1]), [])
            elif name == "ATOMIC_GROUP":
                found += self._open(self._items(detail), [])
        return found

    def _of_repeat(self, most: int, body: Items, behind: Items) -> int:
        if most <= 1:
            return self._open(body, behind)
        if most <= _FEW:
            return most * self._open(body, [*body, *behind])
        if self._open(body, body) or self._forks(body):
            return _NO_END
        first = self._first(body)
        return int(bool(behind) and bool(first & self._first(behind)))

    def _forks(self, items: Items) -> bool:
        """Whether two alternatives in these can begin alike."""
        for name, detail in items:
            if name == "BRANCH":
                parts = [self._items(one) for one in detail[1]]
                first = [self._first(one) for one in parts]
                if any(one & other for at, one in enumerate(first) for other in first[:at]) or any(map(self._forks, parts)):
                    return True
            elif name in REPEATS and self._forks(self._items(detail[2])):
                return True
        return False

    def _first(self, items: Sequence[tuple[str, Any]]) -> frozenset[int]:
        """What these can begin with, as far as it is ASCII; nothing at the end of a line."""
        found: frozenset[int] = frozenset()
        for name, detail in items:
            if name in ONE:
                return found | characters(name, detail, self._pattern.flags)
            if name in ("ASSERT", "ASSERT_NOT"):
                continue
            if name == "AT":
                if str(detail).startswith("AT_END"):
                    return found
                continue
            if name == "BRANCH":
                parts = [self._items(one) for one in detail[1]]
            elif name in REPEATS:
                parts = [self._items(detail[2])]
            else:
                return ASCII
            found |= frozenset[int]().union(*(self._first(one) for one in parts))
            if (name == "BRANCH" and all(parts)) or (name in REPEATS and int(detail[0]) > 0):
                return found
        return found
