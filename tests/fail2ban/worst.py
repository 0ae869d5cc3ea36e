"""Searches for the line that costs a filter most: spelled from its own expressions, with one repeat in it as long as it goes.

No longer than what is searched in process.

python -m tests.fail2ban.worst [TRIES]      for every filter that is judged in process
"""

from __future__ import annotations

import importlib
import random
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from agent.fail2ban.filters import WHERE, Filter, load
from agent.fail2ban.judge import Judge, Line
from agent.fail2ban.risk import QUICK
from tests.fail2ban.asking import NOW, samples, shipped, specs

_PARSER: Any = importlib.import_module("re._parser")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_FILLINGS = (
    " ",
    "  ",
    "\t",
    "a",
    "1",
    ".",
    ":",
    '"',
    "[",
    "]",
    "(",
    "<",
    "-",
    "1.1.1.1 ",
    ":1",
    "::",
    "a: ",
    "[1] ",
    " from ",
    "a b ",
)
_WORDS = "a1 .-_:/[]()<>\"'=,;|@A"


class Spelling:
    """Texts that an expression matches, or nearly: one repeat is written out very often, and the end is sometimes cut off."""

    def __init__(self, pattern: re.Pattern[str], chance: random.Random) -> None:
        self._tree = _PARSER.parse(pattern.pattern, pattern.flags)
        self._chance, self._groups = chance, dict[int, str]()
        self._repeats = max(1, pattern.pattern.count("*") + pattern.pattern.count("+"))

    def text(self) -> str:
        """Up to QUICK."""
        self._left, self._pump = QUICK - 60, self._chance.randrange(self._repeats)
        self._groups = {}
        text = "".join(self._of(self._tree))
        cut = self._chance.random()
        return text[: int(len(text) * cut * 2)] if cut < 0.2 else text + self._chance.choice(("", "", "x", "\x01", " x"))

    def _of(self, tree: Any) -> list[str]:
        items, found = list(tree), list[str]()
        for at, (operation, detail) in enumerate(items):
            found.append(self._item(str(operation), detail, items[at + 1 :]))
        return found

    def _item(self, name: str, detail: Any, behind: Sequence[Any]) -> str:
        if name == "LITERAL":
            return chr(detail)
        if name in ("ANY", "NOT_LITERAL", "IN"):
            return self._character(name, detail)
        if name == "SUBPATTERN":
            text = "".join(self._of(detail[3]))
            self._groups[detail[0]] = text
            return text
        if name == "BRANCH":
            return "".join(self._of(self._chance.choice(detail[1])))
        if name in _REPEATS:
            return self._repeat(detail, behind)
        if name == "GROUPREF":
            return self._groups.get(detail, "")
        if name == "GROUPREF_EXISTS":
            return "".join(self._of(self._chance.choice([one for one in detail[1:] if one is not None])))
        return "".join(self._of(detail)) if name == "ATOMIC_GROUP" else ""

    def _character(self, name: str, detail: Any) -> str:
        if name == "IN":
            for kind, value in self._chance.sample(detail, len(detail)):
                if str(kind) == "LITERAL":
                    return chr(value) if str(detail[0][0]) != "NEGATE" else self._chance.choice(_WORDS)
                if str(kind) == "RANGE":
                    return chr(self._chance.randint(*value))
                if str(kind) == "CATEGORY":
                    return {"CATEGORY_SPACE": " ", "CATEGORY_DIGIT": "1"}.get(str(value), self._chance.choice("a1"))
        return self._chance.choice(_WORDS)

    def _repeat(self, detail: Any, behind: Sequence[Any]) -> str:
        least, most = int(detail[0]), int(detail[1])
        if most < 64:
            return "".join("".join(self._of(detail[2])) for _ in range(self._chance.randint(least, min(most, least + 2))))
        self._pump -= 1
        if self._pump != -1 and self._chance.random() < 0.9:
            return "".join("".join(self._of(detail[2])) for _ in range(max(least, self._chance.randrange(3))))
        body = "".join(self._of(detail[2]))
        fill = self._chance.choice((body, body, "".join(self._of(behind[:3])), self._chance.choice(_FILLINGS)))
        text = (fill or "a") * max(1, self._left // 2 // len(fill or "a"))
        self._left -= len(text)
        return text


def cost(one: Filter, line: str) -> float:
    """Milliseconds of CPU for one line, the date included."""
    dates, judge = one.detector(), Judge(one.rules)
    began = time.process_time()
    judge.judge(Line(dates.cut(line, NOW)[0], line), NOW)
    return 1000 * (time.process_time() - began)


def worst(one: Filter, lines: Sequence[str], tries: int, seed: int = 1) -> tuple[float, str]:
    """The worst of so many tries, the best of three times; the same seed tries the same lines."""
    chance = random.Random(f"{seed} {one.spec}")
    search = one.rules.search
    every = [*search.fail, *search.ignore, *([search.prefix] if search.prefix else [])]
    spellings = [Spelling(each.pattern, chance) for each in every]
    heads = ["", *(line[: chance.randrange(16, 60)] for line in lines[:6])]
    found: list[tuple[float, str]] = [(0.0, "")]
    for number in range(tries):
        if number % 3 < 2 or len(found) < 3:
            line = chance.choice(heads) + chance.choice(spellings).text()
        else:
            line = _changed(chance.choice(found)[1], chance)
        line = line.replace("\n", " ").encode()[:QUICK].decode("utf-8", "ignore")
        found = sorted([*found, (cost(one, line), line)], reverse=True)[:8]
    return max((min(cost(one, line) for _ in range(3)), line) for _, line in found)


def _changed(line: str, chance: random.Random) -> str:
    at, end = sorted(chance.randrange(len(line) + 1) for _ in range(2))
    piece = chance.choice((chance.choice(_FILLINGS), line[at : at + chance.randrange(1, 20)]))
    return line[:at] + piece * chance.choice((1, 3, (QUICK - len(line) + end - at) // max(1, len(piece)))) + line[end:]


def in_process() -> list[Filter]:
    """Every filter of the package in each of its modes that is judged beside all others."""
    every = [load(WHERE, spec) for name in shipped() for spec in specs(name)]
    return [one for one in every if not one.risky]


if __name__ == "__main__":
    for one in in_process():
        milliseconds, line = worst(one, samples(one.spec.partition("[")[0]), int(sys.argv[1]) if sys.argv[1:] else 1000)
        click.echo(f"{one.spec:<40} {milliseconds:8.2f} ms  {line[:90]!r} {len(line)}")
