"""Reads Sigma's files: each document as a rule or a correlation of rules, with every reason why one cannot be carried over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.event import Kind
from agent.grammar.located import Node, Place, Problem, did_you_mean, scan
from agent.sigma.detection import read_detection
from agent.sigma.facts import Tree
from agent.sigma.sources import Source, find

LEVELS: Final = {"critical": "P1", "high": "P2", "medium": "P3", "low": "P3", "informational": "P3"}
_KINDS_OF_RULES: Final = {
    "filter": "a Sigma filter changes other rules; write its lines into those rules",
    "action": "`action: global` and its like are Sigma's old collections; write every rule out",
}
_LOGSOURCE: Final = ("product", "service", "category")
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True)
class Head:
    """What a rule says of itself, for people."""

    place: Place
    title: str = ""
    id: str = ""
    name: str = ""
    level: str = ""
    status: str = ""
    author: str = ""
    description: str = ""
    definition: str = ""
    references: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.title or self.name or self.id or "a rule without a title"


@dataclass(frozen=True)
class Rule:
    """A rule about single events; `tree` is missing where it cannot be carried over."""

    head: Head
    source: Source | None = None
    tree: Tree | None = None
    generate: bool = False
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Correlation:
    """A rule about several events, not yet read any further."""

    head: Head
    node: Node
    generate: bool = False
    problems: tuple[Problem, ...] = field(default=())


def read_rules(files: Mapping[str, str], kinds: Mapping[str, Kind]) -> Iterator[Rule | Correlation]:
    """Every document of some files (name → text), in order."""
    for name, text in files.items():
        documents, found = scan(text, name)
        starts = [one.place.line for one in documents]
        if not documents:
            place = Place(name, 1, 1)
            yield Rule(Head(place), problems=tuple(found) or (Problem(place, "there is no rule in this file"),))
        for at, document in enumerate(documents):
            until = starts[at + 1] if at + 1 < len(starts) else float("inf")
            since = starts[at] if at else 0
            mine = [one for one in found if since <= one.place.line < until]
            yield _document(document, mine, kinds)


def _document(node: Node, found: list[Problem], kinds: Mapping[str, Kind]) -> Rule | Correlation:
    pairs = node.pairs
    if not isinstance(node.value, dict):
        found.append(Problem(node.place, f"expected a Sigma rule, found {node.shape}", ""))
        return Rule(Head(node.place), problems=tuple(found))
    head = _head(node)
    for key, why in _KINDS_OF_RULES.items():
        if key in pairs:
            found.append(Problem(pairs[key].key.place, "this is no rule of its own", why))
            return Rule(head, problems=tuple(found))
    if not head.title:
        found.append(Problem(node.place, "the rule has no `title`", "give it one; the policy is named after it"))
    _check(node, head, found)
    if "correlation" in pairs:
        inside = pairs["correlation"].value
        generate = any(_text(one.pairs, "generate").lower() == "true" for one in (inside, node))
        return Correlation(head, inside, generate, tuple(found))
    source = _source(node, kinds, found)
    if "detection" not in pairs:
        found.append(Problem(node.place, "the rule has no `detection`", "see sigmahq.io/docs/basics/rules.html"))
    detection = pairs["detection"].value if "detection" in pairs else None
    tree = read_detection(detection, source or Source((), {}), found) if detection and not detection.broken else None
    return Rule(head, source, tree if not found else None, _text(pairs, "generate").lower() == "true", tuple(found))


def _check(node: Node, head: Head, found: list[Problem]) -> None:
    pairs = node.pairs
    if head.level and head.level not in LEVELS:
        found.append(Problem(pairs["level"].value.place, f"there is no level `{head.level}`", did_you_mean(head.level, LEVELS)))
    if head.status == "unsupported":
        found.append(Problem(pairs["status"].value.place, "the rule's author calls it unsupported", ""))
    if _text(pairs, "taxonomy") not in ("", "sigma"):
        hint = "only Sigma's own is known here"
        found.append(Problem(pairs["taxonomy"].value.place, "the rule's fields are named after another taxonomy", hint))


def _source(node: Node, kinds: Mapping[str, Kind], found: list[Problem]) -> Source | None:
    if "logsource" not in node.pairs:
        found.append(Problem(node.place, "the rule has no `logsource`", "as in logsource: {category: webserver}"))
        return None
    inside = node.pairs["logsource"].value
    if inside.broken:
        return None
    if not inside.pairs:
        found.append(Problem(inside.place, f"expected a map, found {inside.shape}", "as in logsource: {category: webserver}"))
        return None
    for name, pair in inside.pairs.items():
        if name not in (*_LOGSOURCE, "definition"):
            text = f"`{name}` of a log source cannot be carried over"
            found.append(Problem(pair.key.place, text, did_you_mean(name, _LOGSOURCE)))
    given = {key: said for key in _LOGSOURCE if (said := _text(inside.pairs, key))}
    source = find(given, kinds)
    if isinstance(source, Source):
        return source
    text, hint = source
    found.append(Problem(node.pairs["logsource"].key.place, text, hint))
    return None


def _head(node: Node) -> Head:
    pairs = node.pairs
    source = pairs["logsource"].value.pairs if "logsource" in pairs else {}
    return Head(
        node.place,
        title=_text(pairs, "title"),
        id=_text(pairs, "id"),
        name=_text(pairs, "name"),
        level=_text(pairs, "level").lower(),
        status=_text(pairs, "status").lower(),
        author=_text(pairs, "author"),
        description=_text(pairs, "description"),
        definition=_text(source, "definition"),
        references=_texts(pairs, "references"),
        falsepositives=_texts(pairs, "falsepositives"),
        tags=_texts(pairs, "tags"),
    )


def _text(pairs: Mapping[str, object], key: str) -> str:
    """One line of text; empty where there is none."""
    value = getattr(getattr(pairs.get(key), "value", None), "value", "")
    return _SPACES.sub(" ", value).strip() if isinstance(value, str) else ""


def _texts(pairs: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = getattr(getattr(pairs.get(key), "value", None), "value", "")
    items = [one.value for one in value] if isinstance(value, list) else [value]
    return tuple(_SPACES.sub(" ", one).strip() for one in items if isinstance(one, str) and one.strip())
