"""Reads `condition:`: selections joined by and, or, not, `1 of` and `all of`, with brackets (sigma-conditions, "Condition")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.grammar.located import Node, Place, Problem, did_you_mean
from agent.sigma.facts import All, Cannot, Either, Not, Tree

_TOKEN: Final = re.compile(r"\s*(?:(?P<word>[\w*.-]+)|(?P<sign>[()|])|(?P<other>\S))")
_MOST: Final = 300
"""Words of a condition."""
_NOTHING: Final = "the condition ends before it is whole"


def read_condition(node: Node, trees: Mapping[str, Tree | None], found: list[Problem]) -> Tree | None:
    """The tree of a condition, or of a list of them, any of which is enough. None where a problem was found, here or before."""
    if node.broken:
        return None
    nodes = node.value if isinstance(node.value, list) else [node]
    made: list[Tree] = []
    for one in nodes:
        try:
            reader = _Condition(one, trees)
            tree = reader.read()
            made += [] if reader.known else [tree]
        except Cannot as cannot:
            found.append(cannot.problem)
    return Either(tuple(made)) if nodes and len(made) == len(nodes) else None


@dataclass
class _Condition:
    node: Node
    trees: Mapping[str, Tree | None]
    at: int = 0
    tokens: list[tuple[str, Place]] = field(default_factory=list)
    known: bool = False
    """Whether a selection that is named has its problem already."""

    def read(self) -> Tree:
        """The whole of it.

        Raises:
            Cannot: it is not a condition, or not one that can be carried over.
        """
        if not isinstance(self.node.value, str):
            raise Cannot(self.node.place, f"expected a condition, found {self.node.shape}", "as in condition: selection")
        self._split(self.node.value)
        made = self._or()
        if self.at < len(self.tokens):
            word, place = self.tokens[self.at]
            raise Cannot(place, f"cannot read the condition from `{word}` on", "join selections with and, or, not")
        return made

    def _split(self, text: str) -> None:
        for found in _TOKEN.finditer(text):
            word = found[0].strip()
            self.tokens.append((word, self._place(found.end() - len(word), word)))
            if word == "|":
                hint = "write a correlation of the type event_count, with a timespan"
                raise Cannot(self.tokens[-1][1], "Sigma's old aggregations (`| count() …`) cannot be carried over", hint)
            if found["other"]:
                raise Cannot(self.tokens[-1][1], f"`{word}` has no meaning in a condition", "")
        if len(self.tokens) > _MOST:
            raise Cannot(self.node.place, f"a condition of more than {_MOST} words", "split the rule into several")

    def _place(self, offset: int, word: str) -> Place:
        """Where a word stands, as long as the condition is on one line."""
        whole = self.node.place
        start = whole.source.find(str(self.node.value), whole.column - 1)
        if start < 0:
            return whole
        return Place(whole.file, whole.line, start + offset + 1, whole.source, len(word))

    def _peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def _next(self) -> tuple[str, Place]:
        if self.at >= len(self.tokens):
            raise Cannot(self.node.place, _NOTHING, "")
        self.at += 1
        return self.tokens[self.at - 1]

    def _or(self) -> Tree:
        parts = [self._and()]
        while self._peek().lower() == "or":
            self._next()
            parts.append(self._and())
        return Either(tuple(parts)) if len(parts) > 1 else parts[0]

    def _and(self) -> Tree:
        parts = [self._not()]
        while self._peek().lower() == "and":
            self._next()
            parts.append(self._not())
        return All(tuple(parts)) if len(parts) > 1 else parts[0]

    def _not(self) -> Tree:
        word, place = self._next()
        if word.lower() == "not":
            return Not(self._not())
        if word == "(":
            inside = self._or()
            closing, end = self._next()
            if closing != ")":
                raise Cannot(end, f"expected `)` before `{closing}`", "")
            return inside
        if self._peek().lower() == "of":
            return self._of(word, place)
        if word.lower() in ("and", "or", "of", ")"):
            raise Cannot(place, f"expected the name of a selection, found `{word}`", "")
        return self._named(word, place)

    def _of(self, number: str, place: Place) -> Tree:
        self._next()
        pattern, where = self._next()
        if number.lower() not in ("1", "any", "all"):
            raise Cannot(place, f"`{number} of` cannot be carried over", "write 1 of, or all of")
        names = [one for one in self.trees if _means(pattern, one)]
        if not names:
            raise Cannot(where, f"no selection is called `{pattern}`", "")
        parts = tuple(self._named(one, where) for one in names)
        return All(parts) if number.lower() == "all" else Either(parts)

    def _named(self, name: str, place: Place) -> Tree:
        if name not in self.trees:
            raise Cannot(place, f"no selection is called `{name}`", did_you_mean(name, self.trees))
        tree = self.trees[name]
        self.known = self.known or tree is None
        return tree or All(())


def _means(pattern: str, name: str) -> bool:
    """Whether `1 of filter_*` means this selection; `them` are all but those that begin with _."""
    if pattern == "them":
        return not name.startswith("_")
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None
