"""What a line must hold for an expression to match: literals that its parse tree cannot do without.

Lines that hold none of them never reach an expression. Searching a whole chunk for a literal costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.fail2ban.shape import REPEATS, tree

_ALIKE: Final = "iksİıſK"
"""Letters with more cases than two: (?i)k is also the Kelvin sign, which is another byte."""
_SHORTEST: Final = 3
_MOST: Final = 64
_SHARED: Final = 8
_WORD: Final = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True, order=True)
class Needle:
    """A literal; `fold`: in any case."""

    text: str
    fold: bool = False


Needles = frozenset[Needle]
"""A text that holds none of them cannot match."""


def begins_with_text(pattern: re.Pattern[Any]) -> bool:
    """Whether it can match at the start of a text only."""
    items = list(tree(pattern))
    return bool(items) and _opens(items) and not pattern.flags & re.MULTILINE


def _opens(items: Sequence[Any]) -> bool:
    operation, detail = items[0]
    if str(operation) == "SUBPATTERN":
        return bool(detail[3]) and not detail[1] & re.MULTILINE and _opens(list(detail[3]))
    return str(operation) == "AT" and str(detail) in ("AT_BEGINNING", "AT_BEGINNING_STRING")


def behind_no_word(pattern: re.Pattern[Any]) -> bool:
    """Whether the first group stands at the text's start, or behind a character that belongs to no word."""
    before: list[Any] = []
    for operation, detail in tree(pattern):
        if str(operation) == "SUBPATTERN" and detail[0] == 1:
            return _ends_no_word(before)
        before.append((operation, detail))
    return False


def _ends_no_word(items: Sequence[Any]) -> bool:
    if not items:
        return False
    name, detail = str(items[-1][0]), items[-1][1]
    if name == "LITERAL":
        return not (chr(detail).isalnum() or chr(detail) == "_")
    if name == "SUBPATTERN" and detail[0] is None:
        return _ends_no_word(list(detail[3]))
    if name in REPEATS and _ends_no_word(list(detail[2])):
        return int(detail[0]) > 0 or _ends_no_word(items[:-1])
    return name == "AT" and str(detail) in ("AT_BEGINNING", "AT_BEGINNING_STRING")


def needed(pattern: re.Pattern[str], *, words: bool, lead: int = 0) -> Needles | None:
    """The best set of literals of which each match holds one; None where there is none.

    `words`: a date may have stood anywhere between two words of the text that was matched, and of the line only whole words
    can be relied on. `lead`: so many characters that are no letters may have stood before it.
    """
    return _best(_sets(_flat(tree(pattern), bool(pattern.flags & re.IGNORECASE)), words, lead))


def together(each: Iterable[Needles | None]) -> Needles | None:
    """What a text must hold one of for any of these to match; None where one of them may match anything."""
    found: set[Needle] = set()
    for one in each:
        if one is None:
            return None
        found |= one
    return frozenset(_without_longer(found)) if len(found) <= _MOST else None


def better(one: Needles | None, other: Needles | None) -> Needles | None:
    """The set that fewer lines hold something of."""
    return _best([found for found in (one, other) if found])


def fewer(needles: Needles) -> Needles:
    """Fewer to look for, of which a text holds one if it holds one of these: what several begin with stands for all of them."""
    found: list[Needle] = []
    for one in sorted(needles):
        begin = _shared(found[-1].text, one.text) if found and found[-1].fold == one.fold else ""
        if len(begin) >= _SHARED:
            found[-1] = Needle(begin, one.fold)
        else:
            found.append(one)
    return frozenset(_without_longer({*found}))


def _shared(one: str, other: str) -> str:
    size = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:size]


def _without_longer(found: set[Needle]) -> Iterator[Needle]:
    """Those that hold no other one: whoever finds `fail` finds `failed`."""
    for one in found:
        text = one.text.lower()
        if not any(
            other != one and (other.text.lower() in text if other.fold else other.text in one.text and not one.fold)
            for other in found
        ):
            yield one


Item = tuple[str, Any, bool]


def _flat(items: Any, fold: bool) -> list[Item]:
    """A part of the tree as operations, groups without meaning of their own opened, each with whether case counts in it."""
    found: list[Item] = []
    for operation, detail in items:
        name = str(operation)
        if name == "SUBPATTERN":
            found += _flat(detail[3], (fold or bool(detail[1] & re.IGNORECASE)) and not detail[2] & re.IGNORECASE)
        elif name == "ATOMIC_GROUP":
            found += _flat(detail, fold)
        else:
            found.append((name, detail, fold))
    return found


def _sets(items: Iterable[Item], words: bool, lead: int) -> Iterator[Needles]:
    """Every set of literals that these operations, one after another, cannot do without."""
    run, folds = "", False
    for name, detail, fold in items:
        if (
            name == "LITERAL"
            and (not run or fold == folds)
            and chr(detail) not in "\n\ufffd"
            and not (fold and chr(detail) in _ALIKE)
        ):
            run, folds = run + chr(detail), fold
            continue
        yield from _of_run(run, folds, words, lead)
        run = ""
        if name == "LITERAL" and chr(detail) not in "\n\ufffd" and not (fold and chr(detail) in _ALIKE):
            run, folds = chr(detail), fold
        elif name == "BRANCH":
            branches = [_best(_sets(_flat(branch, fold), words, lead)) for branch in detail[1]]
            if (joined := together(branches)) is not None:
                yield joined
        elif name in REPEATS and int(detail[0]) > 0:
            yield from _sets(_flat(detail[2], fold), words, lead)
    yield from _of_run(run, folds, words, lead)


def _of_run(run: str, fold: bool, words: bool, lead: int) -> Iterator[Needles]:
    pieces = _WORD.findall(run) if words else [_without_lead(run, lead)]
    yield from (frozenset({Needle(piece.lower() if fold else piece, fold)}) for piece in pieces if len(piece) >= _SHORTEST)


def _without_lead(run: str, lead: int) -> str:
    while lead and run and not (run[0].isalnum() or run[0] == "_"):
        run, lead = run[1:], lead - 1
    return run


def _best(sets: Iterable[Needles]) -> Needles | None:
    """The set with the longest of shortest literals, as far as that matters; then the smallest."""
    return max(sets, key=lambda one: (min(min(len(needle.text), 12) for needle in one), -len(one)), default=None)
