"""Reads `when:`: the clauses of a policy, with their kinds of events, windows and sequences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agent.event import FIRING, Catalogue, Kind
from agent.grammar.located import Node, Problem, did_you_mean, nearest
from agent.grammar.policy_keys import ClauseKeys, PartKeys
from agent.grammar.policy_match import Fields, read_field_map
from agent.grammar.typed import read, values_of
from agent.policy import Clause, Count, Distinct, Held, Of, Part, Test, Window
from agent.schema import spell

WINDOWS: Final = ("count", "distinct", "for")
KEPT: Final = timedelta(days=7)
"""Events are kept so long; a wider window forgets at a restart."""


@dataclass(frozen=True)
class Heard:
    """A clause as far as it could be read. `kinds` are the kinds of its parts in order, None for an unknown one; they hold
    the nearest known kind for a misspelt one, so that one mistake is told once."""

    node: Node
    kinds: tuple[Kind | None, ...]
    clause: Clause | None


def read_when(node: Node, catalogue: Catalogue, found: list[Problem]) -> tuple[Heard, ...]:
    """The clauses of `when:`, of which any one fires."""
    if node.broken:
        return ()
    if node.value in ([], "") or not isinstance(node.value, list | dict):
        found.append(Problem(node.place, f"`when` wants a clause, found {node.shape}", "write event: … under it, one level in"))
        return ()
    nodes = node.value if isinstance(node.value, list) else [node]
    return tuple(_ClauseReader(one, catalogue, found).read() for one in nodes if not one.broken)


class _ClauseReader:
    """Reads one clause; whatever is wrong goes to `found`."""

    def __init__(self, node: Node, catalogue: Catalogue, found: list[Problem]) -> None:
        self.node, self.catalogue, self.found = node, catalogue, found
        self.before = _errors(found)

    def read(self) -> Heard:
        given = values_of(self.node, ClauseKeys, self.found)
        if not isinstance(self.node.value, dict):
            return Heard(self.node, (None,), None)
        if "sequence" in self.node.pairs:
            return self._sequence(given)
        if "event" not in self.node.pairs:
            return self._without_event()
        kind = self._kind(given.get("event"))
        part = self._part(given, kind, self.node)
        if "within" in given:
            least = given["count"].least if given.get("count") else 5
            hint = f'for events of one kind write count: ">= {least} in {spell(given["within"] or timedelta(minutes=10))}"'
            self._error("within", "`within` goes with `sequence`", hint)
        by = self._by(given.get("by"), (kind,))
        return self._heard((kind,), (part,), by, None)

    def _without_event(self) -> Heard:
        unknown = [name for name in self.node.pairs if nearest(name, ("event", "sequence"))]
        if not unknown:
            self.found.append(Problem(self.node.place, "a clause needs `event` or `sequence`", "as in event: auth.ssh.failure"))
        return Heard(self.node, (None,), None)

    def _heard(self, kinds: tuple[Kind | None, ...], parts: tuple[Part, ...], by: tuple[str, ...], within: Any) -> Heard:
        clean = _errors(self.found) == self.before
        return Heard(self.node, kinds, Clause(parts, by, within) if clean else None)

    # One part -----------------------------------------------------------------------------------------------------------

    def _kind(self, node: Node | None) -> Kind | None:
        name = read(node, str, self.found) if node is not None else None
        if node is None or name is None:
            return None
        known = self.catalogue.kinds
        if name not in known:
            hint = did_you_mean(name, known) or "`contain events kinds` lists them"
            self.found.append(Problem(node.place, f"nothing here makes `{name}` events", hint))
        return known.get(name) or known.get(nearest(name, known) or "")

    def _part(self, given: dict[str, Any], kind: Kind | None, node: Node) -> Part:
        fields = Fields.of(kind)
        match = given.get("match")
        tests = read_field_map(match, fields, self.catalogue, self.found) if match is not None else ()
        if kind and kind.alert and not any(test.field == "status" for test in tests):
            tests = (Test("status", "is", FIRING, FIRING), *tests)  # that it is over is no reason to act
        return Part(kind.name if kind else "", tests, self._window(given, kind, fields, node))

    def _window(self, given: dict[str, Any], kind: Kind | None, fields: Fields, node: Node) -> Window | None:
        pairs = node.pairs
        written = [name for name in pairs if name in WINDOWS]
        for more in written[1:]:
            hint = "for both, write two clauses in a list: any one fires"
            self.found.append(Problem(pairs[more].key.place, f"`{more}` beside `{written[0]}`: a part has one window", hint))
        name = written[0] if written else ""
        window: Window | None = given.get(name)
        if window is None:
            return None
        if isinstance(window, Distinct):
            fields.find(window.field, pairs[name].value, self.found)
        if kind is not None:
            self._suits(window, kind, pairs[name].key)
        span = getattr(window, "span", timedelta())
        if span > KEPT:
            hint = f"write at most {spell(KEPT)}; events are kept so long, and a restart reads them again"
            self.found.append(Problem(pairs[name].value.place, f"a window of {spell(span)} is long", hint, "warning"))
        return window

    def _suits(self, window: Window, kind: Kind, key: Node) -> None:
        """`for` is for what is told again and again, `count` for what happens."""
        if isinstance(window, Of | Held) and not kind.state:
            least, span = (window.least, timedelta(minutes=5)) if isinstance(window, Of) else (3, window.span)
            hint = f'it happens, and can be counted: write count: ">= {least} in {spell(span)}"'
            self.found.append(Problem(key.place, f"`for` asks how long something holds, and `{kind.name}` is no state", hint))
        if isinstance(window, Count) and kind.state:
            text = f"`{kind.name}` is told again and again; `count` counts the tellings"
            self.found.append(Problem(key.place, text, "write for: 3 of 5, or for: 2m", "warning"))

    def _by(self, node: Node | None, kinds: tuple[Kind | None, ...]) -> tuple[str, ...]:
        if node is None or node.broken:
            return ()
        if isinstance(node.value, dict):
            hint = "write by: src.ip, or several as in by: [src.ip, user]"
            self.found.append(Problem(node.place, "`by` is a field or a list of fields, found a map", hint))
            return ()
        nodes = node.value if isinstance(node.value, list) else [node]
        names = [(one, read(one, str, self.found)) for one in nodes]
        for one, name in names:
            if name is not None:
                self._in_each(one, name.removeprefix("$"), kinds)
                self._no_dollar(one, name)
        return tuple(dict.fromkeys(name for _, name in names if name is not None))

    def _in_each(self, node: Node, name: str, kinds: tuple[Kind | None, ...]) -> None:
        for kind in dict.fromkeys(kind.name if kind else "" for kind in kinds):
            before = len(self.found)
            Fields.of(self.catalogue.kinds.get(kind)).find(name, node, self.found)
            if len(self.found) > before:
                return

    def _no_dollar(self, node: Node, name: str) -> None:
        if name.startswith("$"):
            self.found.append(Problem(node.place, f"`by` names a field: `{name}` has a $", f"write {name[1:]}"))

    # Sequences ------------------------------------------------------------------------------------------------------------

    def _sequence(self, given: dict[str, Any]) -> Heard:
        for name in ("event", "match", *WINDOWS):
            if name in self.node.pairs:
                self._error(name, f"`{name}` beside `sequence`", "put it into one of the parts of the sequence")
        if "within" not in self.node.pairs and not any(nearest(name, ("within",)) for name in self.node.pairs):
            self.found.append(Problem(self.node.pairs["sequence"].key.place, "`sequence` needs `within`", "as in within: 10m"))
        nodes = given.get("sequence") or ()
        if given.get("sequence") is not None and len(nodes) < 2:
            hint = "for one part write its lines in place of `sequence`"
            self._error("sequence", "a sequence has at least two parts", hint)
        kinds, parts = [], []
        for node in nodes:
            values = values_of(node, PartKeys, self.found)
            kind = self._kind(values.get("event"))
            kinds.append(kind)
            parts.append(self._part(values, kind, node))
        by = self._by(given.get("by"), tuple(kinds))
        within = given.get("within")
        if within is not None and within > KEPT:
            self._error("within", f"a window of {spell(within)} is long", f"write at most {spell(KEPT)}", warning=True)
        return self._heard(tuple(kinds) or (None,), tuple(parts), by, within)

    def _error(self, key: str, text: str, hint: str, *, warning: bool = False) -> None:
        self.found.append(Problem(self.node.pairs[key].key.place, text, hint, "warning" if warning else "error"))


def _errors(found: list[Problem]) -> int:
    return sum(1 for one in found if one.level == "error")
