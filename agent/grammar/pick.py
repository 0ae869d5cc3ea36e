"""Which one thing a map names: a step its action, a sensor or a check its type, each with options beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.grammar.located import Node, Pair, Problem, did_you_mean, nearest
from agent.grammar.typed import keys, misplaced, sketch, supported, values_of


@dataclass(frozen=True, slots=True)
class Picked:
    """What `- name: {…}` names, with the options beside it. `name` is None where nothing like it is known."""

    name: str | None
    key: Node
    given: Node
    options: dict[str, Any]
    excused: frozenset[str] = frozenset()
    """Parameters that stand beside the name by mistake; their problem is noted, so they are not missing too."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Things of one sort to pick from by name (actions, sensors, checks), and the options that may stand beside any of them."""

    noun: str
    whole: str
    choices: Mapping[str, type[Any]]
    options: type[Any]


def pick(node: Node, shelf: Shelf, found: list[Problem]) -> Picked | None:
    """The one thing of the shelf that a map names; problems where it names none, two, an unknown one, or strange options."""
    if node.broken:
        return None
    if not isinstance(node.value, dict):
        text = f"a {shelf.whole} is a map with one {shelf.noun}, found {node.shape}"
        found.append(Problem(node.place, text, _example(shelf, node.written)))
        return None
    names = [name for name in node.value if name not in keys(shelf.options)]
    if not names:
        found.append(Problem(node.place, f"this {shelf.whole} names no {shelf.noun}", did_you_mean("", shelf.choices)))
        return None
    chosen = _chosen(names, node.value, shelf)
    key, given = node.value[chosen]
    name = chosen if chosen in shelf.choices else nearest(chosen, shelf.choices)
    if chosen not in shelf.choices:
        hint = misplaced(shelf.options, chosen) or did_you_mean(chosen, shelf.choices)
        found.append(Problem(key.place, f"no {shelf.noun} is called `{chosen}`", hint))
        if misplaced(shelf.options, chosen):  # another tool's way to write it, as a whole
            return None
    excused = {_beside(node.value[other].key, name, shelf, found) for other in names if other != chosen}
    beside = Node({n: pair for n, pair in node.value.items() if n in keys(shelf.options)}, node.place)
    return Picked(name, key, given, values_of(beside, shelf.options, found), frozenset(excused))


def _example(shelf: Shelf, word: str) -> str:
    """How it is written, with what was probably meant."""
    for name, cls in shelf.choices.items():
        return f"write {word}: {sketch(shelf.choices[word])}" if word in shelf.choices else f"as in {name}: {sketch(cls)}"
    return ""


def _chosen(names: list[str], pairs: Mapping[str, Pair], shelf: Shelf) -> str:
    exact = [name for name in names if name in shelf.choices]
    close = [name for name in names if nearest(name, shelf.choices)]
    foreign = [name for name in names if misplaced(shelf.options, name)]
    maps = [name for name in names if isinstance(pairs[name].value.value, dict)]
    return (exact or close or foreign or maps or names)[0]


def _beside(key: Node, name: str | None, shelf: Shelf, found: list[Problem]) -> str:
    """Note what does not belong beside the chosen one; the parameter that was meant, or ''."""
    word = str(key.value)
    if word in shelf.choices:
        hint = f"give `{word}` a {shelf.whole} of its own"
        found.append(Problem(key.place, f"a {shelf.whole} has one {shelf.noun}; `{word}` is a second", hint))
        return ""
    inside = nearest(word, keys(shelf.choices[name])) if name else None
    option = nearest(word, supported(shelf.options))
    if inside and word != option and (inside == word or option is None):
        hint = f"`{inside}` goes inside `{name}: {{…}}`"
    else:
        hint = misplaced(shelf.options, word) or did_you_mean(word, supported(shelf.options))
    found.append(Problem(key.place, f"unknown {shelf.whole} option `{word}`", hint))
    return inside or ""
