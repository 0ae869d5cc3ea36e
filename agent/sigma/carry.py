"""Sigma's rules written as our policies: whole rules only, without an action, in dry run, for people to look at."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from agent.event import Catalogue
from agent.grammar.located import Place, Problem, Problems, in_order
from agent.grammar.policy_reader import read_policies
from agent.sigma import correlate
from agent.sigma.clauses import Lines, selected
from agent.sigma.examples import shown
from agent.sigma.facts import MOST_CLAUSES, Cannot, too_many
from agent.sigma.rules import LEVELS, Correlation, Head, Rule, read_rules
from agent.sigma.written import block, flow
from agent.visible import visible

_LONGEST_NAME: Final = 56
_MOST_LINES: Final = 12


@dataclass(frozen=True)
class Made:
    """A rule as a policy: its name, and the text of its file."""

    rule: str
    place: Place
    policy: str
    text: str


@dataclass(frozen=True)
class Refused:
    """A rule that cannot be carried over, with every reason."""

    rule: str
    place: Place
    problems: tuple[Problem, ...]


def policies(files: Mapping[str, str], catalogue: Catalogue) -> list[Made | Refused]:
    """Each rule of some files (name → text) as a policy, or why it is none; rules that only a correlation counts are neither."""
    rules = list(read_rules(files, catalogue.kinds))
    known = {key: one for one in reversed(rules) for key in (one.head.name, one.head.id) if key}
    counted = _counted(rules)
    names: set[str] = set()
    found: list[Made | Refused] = []
    for one in rules:
        silent = not one.generate and not one.problems and bool(counted & {one.head.name, one.head.id})
        if not silent:
            found.append(_carried(one, known, names, catalogue))
    return found


def _counted(rules: Iterable[Rule | Correlation]) -> set[str]:
    """The names and ids that correlations count."""
    found = set[str]()
    for one in rules:
        pair = one.node.pairs.get("rules") if isinstance(one, Correlation) else None
        if pair is not None:
            nodes = pair.value.value if isinstance(pair.value.value, list) else [pair.value]
            found |= {str(node.value) for node in nodes}
    return found


def _carried(
    rule: Rule | Correlation, known: Mapping[str, Rule | Correlation], names: set[str], catalogue: Catalogue
) -> Made | Refused:
    refused = list(rule.problems)
    try:
        when, unless = _when(rule, known)
    except Cannot as cannot:
        refused.append(cannot.problem)
    except Problems as problems:
        refused = list(problems.found)
    if refused:
        return Refused(str(rule.head), rule.head.place, in_order(dict.fromkeys(refused)))
    name = _name(rule.head, names)
    text = _policy(rule, name, when, unless)
    try:
        (policy,), _ = read_policies({name: text}, catalogue)
    except Problems as problems:
        why = "; ".join(one.text for one in problems.found if one.level == "error")
        return Refused(str(rule.head), rule.head.place, (Problem(rule.head.place, f"no policy can say this: {why}"),))
    names.add(name)
    return Made(str(rule.head), rule.head.place, name, text + shown(policy, text, catalogue))


def _when(rule: Rule | Correlation, known: Mapping[str, Rule | Correlation]) -> tuple[list[Lines] | Lines, Lines]:
    if isinstance(rule, Correlation):
        made = correlate.clause(rule, known)
        if isinstance(made, tuple):
            raise Problems(made)
        return made, {}
    if rule.tree is None or rule.source is None:
        raise Problems(rule.problems)
    said = selected(rule.tree, rule.source.always, rule.head.place, spares=True)
    if len(said.matches) * len(rule.source.kinds) > MOST_CLAUSES:
        raise too_many(rule.head.place)
    each = [{"event": kind.name, **({"match": match} if match else {})} for kind in rule.source.kinds for match in said.matches]
    return each if len(each) > 1 else each[0], said.unless


def _name(head: Head, taken: set[str]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", head.title.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    first = f"sigma-{slug or 'rule'}"
    names = (first if number == 1 else f"{first[:_LONGEST_NAME]}-{number}" for number in count(1))
    return next(one for one in names if one not in taken)


# Text ---------------------------------------------------------------------------------------------------------------------


def _policy(rule: Rule | Correlation, name: str, when: list[Lines] | Lines, unless: Lines) -> str:
    head = rule.head
    pages = [one for one in head.references if one.startswith(("https://", "http://"))]
    lines = [
        "# yaml-language-server: $schema=policy.schema.json",
        *_comments(rule, pages[1:] + [one for one in head.references if one not in pages]),
        f"policy: {name}",
        f"title: {flow(visible(head.title, 200))}",
        f"severity: {LEVELS.get(head.level, 'P3')}",
        "mode: dry_run",
        "owner: security",
        *([f"runbook: {flow(visible(pages[0], 500))}"] if pages else []),
        *([f"tags: {flow([visible(one, 100) for one in head.tags[:30]])}"] if head.tags else []),
        "when:",
        *block(when, "  "),
        *(["unless:", *block(unless, "  ")] if unless else []),
    ]
    return "\n".join(lines) + "\n"


def _comments(rule: Rule | Correlation, more: Sequence[str]) -> Iterator[str]:
    head = rule.head
    level = head.level or "none given"
    known = f" (id {head.id})" if head.id else ""
    by = f", by {head.author}" if head.author else ""
    said = {
        "": f"From the Sigma rule {head.place.file}:{head.place.line}{known}{by}; written by: contain policy import-sigma",
        "Level": f"{level}, here {LEVELS.get(head.level, 'P3')}" + (f"; status {head.status}" if head.status else ""),
        "Description": head.description,
        "Needs": head.definition,
        "False positives": "; ".join(head.falsepositives),
        "See": " ".join(more),
        "Note": rule.source.note if isinstance(rule, Rule) and rule.source else "",
    }
    for word, text in said.items():
        yield from _comment(f"{word}: {text}" if word else text) if text else ()


def _comment(text: str) -> Iterator[str]:
    """A sentence that cannot leave its comment."""
    for line in textwrap.wrap(visible(text, 1500), 118, break_on_hyphens=False)[:_MOST_LINES]:
        yield f"# {line}"
