"""YAML that remembers where every value stands, so that each problem can name its file, line and column.

Values stay text: what a text means is decided by the type it is read as, never by YAML 1.1, for which `on` is true, `NO`
is false and `22:30` is 1350. Anchors, aliases, merge keys and tags are refused: nine lines of them can fill a memory, and
a policy should say what it says where one reads it. Reading goes on after a mistake, so that one reading finds them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import yaml

from agent.grammar.problem import Place, Problem, Problems, did_you_mean, in_order, nearest
from agent.grammar.yaml_syntax import explain

__all__ = ["Node", "Pair", "Place", "Problem", "Problems", "did_you_mean", "in_order", "nearest", "read", "scan"]

LARGEST: Final = 1024 * 1024
DEEPEST: Final = 20
MOST_NODES: Final = 50_000
MOST_DOCUMENTS: Final = 1_000
_MOST_MISTAKES: Final = 50
FASTEST: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_AMBIGUOUS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false", "~": "nothing", "null": "nothing"}
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_NEXT_DOCUMENT: Final = re.compile(r"---(?=\s|$)")
_TOP_KEY: Final = re.compile(r"(?P<key>[A-Za-z_][\w.-]*)\s*:(?=\s|$)")
_UNSEEN: Final = re.compile(
    "[^\t\x20-\x7e\xa1-\xac\xae-\u200a\u2010-\u2027\u202f-\u205f\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What nobody can see or a parser may not read: control characters, no-break and zero-width spaces, the marks that turn the
direction of writing (a line would not say what it shows), and the lone surrogates that stand for bytes that are no UTF-8."""


class Pair(NamedTuple):
    """A key and its value, each with its place."""

    key: Node
    value: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place. `value` is text, a list of nodes, or key → pair.

    `plain` text stands without quotes. A `broken` node, or some keys of a broken map, could not be read and have their
    problem already: say nothing more of them. Only on the outermost node: `source` is the text of the document, which is
    `flawed` where YAML's own rules, or ours, are broken anywhere in it.
    """

    value: str | list[Node] | dict[str, Pair]
    place: Place
    plain: bool = False
    broken: bool = False
    source: str = ""
    flawed: bool = False

    @property
    def shape(self) -> str:
        """What it is, for sentences: 'found a list'."""
        if isinstance(self.value, str):
            return "nothing" if self.empty else f"`{self.value}`" if len(self.value) <= 60 else "a text"
        return "a list" if isinstance(self.value, list) else "a map"

    @property
    def empty(self) -> bool:
        """Nothing at all was written; quoted empty text is something."""
        return self.plain and self.value == ""

    @property
    def pairs(self) -> dict[str, Pair]:
        """The pairs of a map; none where it is something else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def ambiguous(self) -> Problem | None:
        """The problem with a plain word that people read as one thing and YAML 1.1 as another."""
        meant = _AMBIGUOUS.get(self.value.lower()) if isinstance(self.value, str) and self.plain else None
        if meant is None:
            return None
        instead = "leave the whole line out" if meant == "nothing" else f"write {meant}"
        hint = f'{instead}, or for the text "{self.value}" with quotes'
        return Problem(self.place, f"`{self.value}` is ambiguous: YAML reads it as {meant}", hint)

    @property
    def written(self) -> str:
        """The value on one line, as ops would write it."""
        if isinstance(self.value, str):
            return self.value if self.value else '""'
        if isinstance(self.value, list):
            return f"[{', '.join(item.written for item in self.value)}]"
        return f"{{{', '.join(f'{name}: {pair.value.written}' for name, pair in self.value.items())}}}"


def read(text: str, name: str) -> list[Node]:
    """The documents of a YAML file, outermost node of each.

    Raises:
        Problems: the file breaks YAML's rules, or ours; all places at once.
    """
    documents, found = scan(text, name)
    if found:
        raise Problems(found)
    return documents


def scan(text: str, name: str, loader: Any = FASTEST) -> tuple[list[Node], list[Problem]]:
    """What could be read of a YAML file, and all its problems. What could not be read is there as `broken` nodes."""
    if len(text) > LARGEST:
        return [], [Problem(Place(name, 1, 1), f"the file is larger than {LARGEST // 1024} KiB", "split it into several files")]
    written = _LINE_END.split(text.removeprefix("\ufeff"))
    found = _unseen(written, name)
    lines = [_UNSEEN.sub(" ", line) for line in written]
    starts = sorted({0, *(number for number, line in enumerate(lines) if _NEXT_DOCUMENT.match(line))})
    if len(starts) > MOST_DOCUMENTS:
        place = Place(name, starts[MOST_DOCUMENTS] + 1, 1, "---")
        return [], [Problem(place, f"more than {MOST_DOCUMENTS} documents in one file", "split it into several files")]
    documents: list[Node] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        documents += _Document(name, lines, start, end, loader).read(found)
    return documents, found


def _unseen(lines: list[str], name: str) -> list[Problem]:
    found = []
    for number, line in enumerate(lines, 1):
        for one in _UNSEEN.finditer(line):
            code = ord(one[0])
            place = Place(name, number, one.start() + 1, _UNSEEN.sub(" ", line))
            if 0xDC80 <= code <= 0xDCFF:
                found.append(Problem(place, f"the byte 0x{code - 0xDC00:02X} is not UTF-8", "save the file as UTF-8"))
            else:
                hint = "often copied from a web page; type the line anew"
                found.append(Problem(place, f"a character that cannot be seen (U+{code:04X})", hint))
    return found[:_MOST_MISTAKES]


class _TooMuch(Exception):  # noqa: N818 - never leaves this module
    """The document is larger than anything sensible; `problem` says in what."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _Document:
    """The lines of one document. Where one top-level block breaks YAML's rules, it is noted and the rest still read."""

    def __init__(self, name: str, lines: list[str], start: int, end: int, loader: Any) -> None:
        self.name, self.lines, self.start, self.end, self.loader = name, lines, start, end, loader
        self.text = [_NEXT_DOCUMENT.sub("   ", line, count=1) for line in lines[start : start + 1]] + lines[start + 1 : end]
        self.broken: list[tuple[str, Place]] = []
        self.problems: list[Problem] = []
        self.unseen: dict[int, list[int]] = {}
        self.nodes = 0

    def read(self, found: list[Problem]) -> list[Node]:
        """The outermost nodes (usually one); problems are added to `found`, in which those of single characters stand already."""
        for one in found:
            self.unseen.setdefault(one.place.line, []).append(one.place.column)
        source = "\n".join(self.text).strip()
        for _ in range(_MOST_MISTAKES):
            self.problems, self.nodes = [], 0
            try:
                roots = list(self._compose())
            except _TooMuch as much:
                found.append(much.problem)
                return []
            except yaml.MarkedYAMLError as error:
                problem = explain(error, self.name, self.lines, self.start)
                found.append(problem)
                self._take_out(problem.place)
                continue
            found += self.problems
            flawed = any(self.start < one.place.line <= self.end for one in found)
            return [replace(self._with_broken(root), source=source, flawed=flawed) for root in roots or self._only_broken()]
        return []

    def _take_out(self, place: Place) -> None:
        """Blank the top-level block around a mistake, so that the next try can read the others."""
        at = min(place.line - 1 - self.start, len(self.text) - 1)
        first, last = at, at + 1
        while first > 0 and not self._begins_block(first):
            first -= 1
        while last < len(self.text) and not self._begins_block(last):
            last += 1
        if found := _TOP_KEY.match(self.text[first]):
            line = self.start + first
            self.broken.append((found["key"], Place(self.name, line + 1, 1, self.lines[line], len(found["key"]))))
        else:
            self.broken.append(("", place))
        self.text[first:last] = [""] * (last - first)

    def _begins_block(self, number: int) -> bool:
        line = self.text[number]
        return bool(line.strip()) and line[0] not in " \t#-]}"

    def _only_broken(self) -> list[Node]:
        return [Node({}, self.broken[0][1])] if self.broken else []

    def _with_broken(self, root: Node) -> Node:
        """The blocks that were taken out, as broken values of their keys; one without a key breaks the whole map."""
        if not self.broken or not isinstance(root.value, dict):
            return replace(root, broken=bool(self.broken))
        for key, place in self.broken:
            node = Node(key, place)
            root.value.setdefault(key, Pair(node, Node("", place, broken=True)))
        nameless = root.value.pop("", None)
        return replace(root, broken=nameless is not None)

    # From the parser's events --------------------------------------------------------------------------------------

    def _compose(self) -> Iterator[Node]:
        events = iter(yaml.parse("\n".join(self.text) + "\n", Loader=self.loader))
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = self._node(next(events), events, 0)
                if not root.empty:
                    yield root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        place = self._place(event)
        self.nodes += 1
        if depth > DEEPEST:
            raise _TooMuch(
                Problem(place, f"nested deeper than {DEEPEST} levels", "nothing here needs so many; look at the brackets")
            )
        if self.nodes > MOST_NODES:
            raise _TooMuch(Problem(place, f"more than {MOST_NODES} values in one document", "split it into several files"))
        broken = self._refuse(event, place)
        if isinstance(event, yaml.ScalarEvent):
            return Node(event.value, place, plain=bool(event.implicit[0]) and not broken, broken=broken)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._list(events, depth), place, broken=broken)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._map(events, depth), place, broken=broken)
        return Node("", place, broken=True)

    def _list(self, events: Iterator[yaml.Event], depth: int) -> list[Node]:
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._seen(self._node(event, events, depth + 1)))
        return items

    def _map(self, events: Iterator[yaml.Event], depth: int) -> dict[str, Pair]:
        pairs: dict[str, Pair] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, depth + 1)
            before = len(self.problems)
            value = self._seen(self._node(next(events), events, depth + 1))
            if isinstance(name := self._key(key, pairs, before), str):
                pairs[name] = Pair(self._seen(key), replace(value, place=key.place) if value.empty else value)
        return pairs

    def _key(self, key: Node, pairs: dict[str, Pair], before: int) -> str | None:
        """The key's text, or None where the pair cannot stay; then the problems of its value are dropped with it."""
        name = key.value
        if key.broken:
            return None
        if not isinstance(name, str) or name == "":
            problem = Problem(key.place, "a key must be plain text", "write `key: value`")
        elif key.plain and name == "<<":
            problem = Problem(key.place, "merge keys are not used here", "write the lines out")
        elif key.plain and name.lower() in _AMBIGUOUS:
            problem = Problem(key.place, f"`{name}` is ambiguous as a key", f'if it is a name, quote it: "{name}"')
        elif name in pairs:
            problem = Problem(key.place, f"`{name}` is given twice", f"first at line {pairs[name].key.place.line}")
        else:
            return name
        self.problems[before:] = [problem]
        return None

    def _seen(self, node: Node) -> Node:
        """The value, broken where a character in it cannot be seen: it was told already, and nothing else is wrong with it."""
        place = node.place
        hidden = any(place.column <= column < place.column + place.width for column in self.unseen.get(place.line, ()))
        return replace(node, broken=True) if hidden and isinstance(node.value, str) else node

    def _refuse(self, event: yaml.Event, place: Place) -> bool:
        """Whether the event is one we do not read, with the problem noted."""
        text = place.word
        if isinstance(event, yaml.AliasEvent):
            hint = f'for a text that begins with * write "{text}" with quotes'
            self.problems.append(Problem(place, f"`{text}` is a YAML alias; aliases are not used here", hint))
        elif getattr(event, "anchor", None) is not None:
            hint = f'for a text that begins with & write "{text}" with quotes'
            self.problems.append(Problem(place, "anchors are not used here", hint if place.width > 1 else "write the lines out"))
        elif getattr(event, "tag", None) is not None:
            hint = f'for a text that begins with ! write "{text}" with quotes; for the opposite in a match, {{not: …}}'
            self.problems.append(Problem(place, "tags are not used here", hint if place.width > 1 else "take the tag away"))
        else:
            return False
        return True

    def _place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        line = start.line + self.start
        source = self.lines[line] if line < len(self.lines) else ""
        width = end.column - start.column if end.line == start.line else 1
        return Place(self.name, line + 1, start.column + 1, source, max(1, width))
