"""What a Sigma rule says of our fields: facts about one field, and trees of them. `Cannot` is why one cannot be carried over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as kept
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from agent.event import Value
from agent.grammar.located import Place, Problem
from agent.sigma.texts import Wanted, searched

MOST_CLAUSES: Final = 64
_MOST_ON_THE_WAY: Final = 512


class Cannot(Exception):  # noqa: N818 - it says why, and never leaves this package
    """A rule cannot be carried over; `problem` says why and where."""

    def __init__(self, place: Place, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.problem = Problem(place, text, hint)


# What one field is --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class There:
    """The field has a value."""

    def holds(self, value: Value) -> bool:
        """Whether it holds for this value."""
        return value is not None


@dataclass(frozen=True)
class OneOf:
    """Exactly one of these."""

    values: frozenset[str | int | float | bool]

    def holds(self, value: Value) -> bool:
        """Whether it holds for this value."""
        return value in self.values


@dataclass(frozen=True)
class Fits:
    """A text that fits in one of some ways."""

    ways: tuple[Wanted, ...]

    def holds(self, value: Value) -> bool:
        """Whether it holds for this value."""
        return isinstance(value, str) and re.search(searched(self.ways), value) is not None


@dataclass(frozen=True)
class Compares:
    """A number above or below another; `operator` is gt, gte, lt or lte."""

    operator: str
    number: int | float

    def holds(self, value: Value) -> bool:  # noqa: ARG002 - no number is ever blank
        """Whether it holds for a text, which no number is."""
        return False


@dataclass(frozen=True)
class Inside:
    """An address in one of some networks."""

    networks: frozenset[IPv4Network | IPv6Network]

    def holds(self, value: Value) -> bool:
        """Whether it holds for this value."""
        return isinstance(value, str) and any(ip_address(value) in one for one in self.networks)


Is = There | OneOf | Fits | Compares | Inside


@dataclass(frozen=True)
class Fact:
    """One of our fields is so, or (`denied`) is not so. An absent field is never so."""

    field: str
    what: Is
    denied: bool = False
    place: Place = kept(default=Place("", 0, 0), compare=False)

    def opposite(self) -> Fact:
        """What is true exactly where this is not."""
        return Fact(self.field, self.what, not self.denied, self.place)


# Trees --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class All:
    """Every one of these; of none, true."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Either:
    """At least one of these."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Tree


Tree = Fact | All | Either | Not
Case = frozenset[Fact]
"""Facts that are all true together: what one clause says."""


def cases(tree: Tree, place: Place) -> list[Case]:
    """The tree as cases of which any one is enough, none of them held by another.

    Raises:
        Cannot: there would be too many of them.
    """
    return _fewest(_cases(tree, False, place))


def _cases(tree: Tree, denied: bool, place: Place) -> list[Case]:
    if isinstance(tree, Fact):
        return [frozenset({tree.opposite() if denied else tree})]
    if isinstance(tree, Not):
        return _cases(tree.part, not denied, place)
    each = [_cases(one, denied, place) for one in tree.parts]
    if isinstance(tree, Either) != denied:
        return _bounded([case for one in each for case in one], place)
    found: list[Case] = [frozenset()]
    for one in each:
        found = _bounded([case | more for case in found for more in one], place)
    return found


def _bounded(found: list[Case], place: Place) -> list[Case]:
    possible = [one for one in found if not any(fact.opposite() in one for fact in one)]
    if len(possible) > _MOST_ON_THE_WAY:
        raise too_many(place)
    return _fewest(possible)


def _fewest(found: Sequence[Case]) -> list[Case]:
    kept: list[Case] = []
    for one in sorted(dict.fromkeys(found), key=len):
        if not any(other <= one for other in kept):
            kept.append(one)
    order = {case: at for at, case in reversed(list(enumerate(found)))}
    return sorted(kept, key=order.__getitem__)


def too_many(place: Place) -> Cannot:
    """What is said of a rule with more clauses than anybody would read."""
    return Cannot(place, f"this makes more than {MOST_CLAUSES} clauses", "split the rule into several")
