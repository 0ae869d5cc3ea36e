"""Reads `correlation:`: so many events, so many different values, or rules in order, as a clause with a window.

A window of ours counts one clause. So the rules that are counted must each come to a single one: no `or` between fields, one
kind of event. An event without one of the fields of `group-by` belongs to no group, here as in Sigma's converters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.event import Kind
from agent.grammar.located import Node, Place, Problem, did_you_mean
from agent.sigma.clauses import Lines, selected
from agent.sigma.detection import our_field
from agent.sigma.facts import Cannot
from agent.sigma.rules import Correlation, Rule

_KNOWN: Final = ("type", "rules", "group-by", "timespan", "condition", "aliases", "generate")
_TYPES: Final = ("event_count", "value_count", "temporal_ordered")
_SPAN: Final = re.compile(r"[1-9]\d{0,6}[smhd]")
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,6}")


@dataclass(frozen=True)
class _Reader:
    node: Node
    rules: Mapping[str, Rule | Correlation]
    found: list[Problem]

    def _value(self, key: str) -> Node | None:
        pair = self.node.pairs.get(key)
        return pair.value if pair else None

    def _refuse(self, place: Place, text: str, hint: str = "") -> None:
        self.found.append(Problem(place, text, hint))

    def read(self) -> Lines | None:
        """The clause, as it is written in a policy."""
        for name, pair in self.node.pairs.items():
            if name not in _KNOWN:
                self._refuse(pair.key.place, f"`{name}` of a correlation cannot be carried over", did_you_mean(name, _KNOWN))
        what, kind = self._value("type"), ""
        if what is None or what.value not in _TYPES:
            said = what.shape if what else "none"
            self._refuse(what.place if what else self.node.place, f"the type of correlation {said} cannot be carried over",
                         f"those that can: {', '.join(_TYPES)}")  # fmt: skip
        else:
            kind = str(what.value)
        span, named = self._span(), self._named()
        least, counted = self._condition(kind)
        if not named or not kind or span is None or least is None or self.found:
            return None
        if kind != "temporal_ordered":
            return self._window(named, (least, span), counted)
        return self._sequence(named, span)

    def _span(self) -> str | None:
        node = self._value("timespan")
        if node is None or not isinstance(node.value, str) or not _SPAN.fullmatch(node.value):
            self._refuse(
                node.place if node else self.node.place, "a correlation needs a `timespan`", "as in timespan: 5m; s, m, h or d"
            )
            return None
        return node.value

    def _named(self) -> list[tuple[str, Rule]]:
        node = self._value("rules")
        nodes = node.value if node and isinstance(node.value, list) else [node] if node else []
        if not nodes:
            self._refuse(self.node.place, "a correlation needs `rules`", "the names or ids of the rules that it counts")
        found: list[tuple[str, Rule]] = []
        for one in nodes:
            rule = self.rules.get(str(one.value))
            if rule is None:
                self._refuse(one.place, f"no rule here is called {one.shape}", "name its file on the command line, too")
            elif isinstance(rule, Correlation):
                self._refuse(one.place, "a correlation of correlations cannot be carried over")
            elif rule.tree is None:
                self._refuse(one.place, f"the rule `{rule.head}` cannot be carried over", f"see {rule.head.place}")
            elif any(rule is other for _, other in found):
                self._refuse(one.place, "the same rule twice")
            else:
                found.append((str(one.value), rule))
        return found if len(found) == len(nodes) else []

    def _condition(self, kind: str) -> tuple[int | None, Node | None]:
        """The least number, and the field whose values are counted."""
        node = self._value("condition")
        if kind == "temporal_ordered":
            if node is not None:
                self._refuse(
                    node.place, "a condition of temporal_ordered cannot be carried over", "all rules must come, in their order"
                )
            return 0, None
        if node is None or not node.pairs:
            self._refuse(
                node.place if node else self.node.place, "the correlation needs a `condition`", "as in condition: {gte: 10}"
            )
            return None, None
        least: int | None = None
        for name, pair in node.pairs.items():
            if (
                name in ("gte", "gt")
                and isinstance(pair.value.value, str)
                and _NUMBER.fullmatch(pair.value.value)
                and least is None
            ):
                least = int(pair.value.value) + (name == "gt")
            elif not (name == "field" and kind == "value_count" and isinstance(pair.value.value, str)):
                self._refuse(
                    pair.key.place,
                    f"`{name}: {pair.value.written}` cannot be carried over",
                    "a window counts at least so many: gte or gt",
                )
        if least == 0:
            self._refuse(node.place, "at least 0 is always true")
        if least is None and not self.found:
            self._refuse(node.place, "the condition says no least number", "as in gte: 10")
        counted = node.pairs["field"].value if "field" in node.pairs else None
        if kind == "value_count" and counted is None:
            self._refuse(node.place, "value_count needs a field", "as in condition: {field: user, gte: 5}")
        return least, counted

    # Clauses --------------------------------------------------------------------------------------------------------------

    def _window(self, named: Sequence[tuple[str, Rule]], window: tuple[int, str], counted: Node | None) -> Lines:
        if len(named) > 1:
            raise Cannot(
                self.node.place, "events of several rules are not counted together here", "write one correlation for each rule"
            )
        ((reference, rule),) = named
        by = self._by(reference, rule)
        field = self._ours(str(counted.value), rule, counted.place) if counted is not None else ""
        part = self._part(rule, {*by, *([field] if field else [])})
        least, span = window
        count = {"count": f">= {least} in {span}"} if not field else {"distinct": f"{field} >= {least} in {span}"}
        return {**part, **({"by": by} if by else {}), **count}

    def _sequence(self, named: Sequence[tuple[str, Rule]], span: str) -> Lines:
        if len(named) < 2:
            raise Cannot(self.node.place, "an order needs at least two rules")
        each = [self._by(reference, rule) for reference, rule in named]
        by = each[0]
        if any(one != by for one in each):
            raise Cannot(self.node.pairs["group-by"].key.place, "the rules are grouped by fields that are different ones here",
                         f"they are {' and '.join(', '.join(one) for one in each)}")  # fmt: skip
        return {
            **({"by": by} if by else {}),
            "within": span,
            "sequence": [self._part(rule, set(by)) for _, rule in named],
        }

    def _part(self, rule: Rule, there: set[str]) -> Lines:
        assert rule.tree is not None and rule.source is not None  # noqa: S101, PT018 - _named saw to it
        kinds: tuple[Kind, ...] = rule.source.kinds
        made = selected(rule.tree, rule.source.always | there, rule.head.place, spares=False)
        if len(kinds) > 1:
            hint = f"name one as `service` of its logsource: {', '.join(one.name for one in kinds)}"
            raise Cannot(rule.head.place, f"`{rule.head}` is about several kinds of events, and a window counts one", hint)
        if len(made.matches) > 1:
            text = f"`{rule.head}` comes to {len(made.matches)} clauses here, and a window counts one"
            raise Cannot(rule.head.place, text, "an `or` between fields, or a `not` of a field that may be absent, makes several")
        match = made.matches[0]
        return {"event": kinds[0].name, **({"match": match} if match else {})}

    def _by(self, reference: str, rule: Rule) -> list[str]:
        node = self._value("group-by")
        nodes = node.value if node and isinstance(node.value, list) else [node] if node else []
        aliases = self.node.pairs["aliases"].value.pairs if "aliases" in self.node.pairs else {}
        found: list[str] = []
        for one in nodes:
            name = str(one.value)
            if name in aliases:
                each = aliases[name].value.pairs
                if reference not in each:
                    raise Cannot(aliases[name].key.place, f"the alias `{name}` says nothing of `{reference}`")
                one, name = each[reference].value, str(each[reference].value.value)  # noqa: PLW2901 - the field behind the alias
            found.append(self._ours(name, rule, one.place))
        return list(dict.fromkeys(found))

    def _ours(self, name: str, rule: Rule, place: Place) -> str:
        assert rule.source is not None  # noqa: S101 - _named saw to it
        return our_field(name, rule.source, place)[0].ours


def clause(correlation: Correlation, rules: Mapping[str, Rule | Correlation]) -> Lines | tuple[Problem, ...]:
    """The clause that a correlation is, or why there is none. `rules` are all there are, by their names and ids."""
    found = list(correlation.problems)
    made: dict[str, Any] | None = None
    try:
        made = _Reader(correlation.node, rules, found).read()
    except Cannot as cannot:
        found.append(cannot.problem)
    return made if made is not None and not found else tuple(found)
