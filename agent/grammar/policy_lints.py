"""What a policy may say, and had better not: warnings, each with what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.event import Catalogue
from agent.grammar import policy_recover
from agent.grammar.located import Node, Place, Problem
from agent.grammar.policy_steps import Planned
from agent.grammar.policy_when import Heard
from agent.policy import Policy


def lints(
    policy: Policy, nodes: Mapping[str, Node], heard: Sequence[Heard], planned: Planned, catalogue: Catalogue
) -> list[Problem]:
    """The warnings of a policy that has no error. `nodes` are its keys as they were written."""
    told = _Lints(policy, nodes, heard, planned, catalogue)
    return [
        *told.people(),
        *told.bounds(),
        *told.empty_lists(),
        *told.let_off_by_others(),
        *told.one_for_all(),
        *told.forged(),
        *told.waiting(),
        *policy_recover.lints(policy, nodes, [step.action for step in policy.then]),
        *told.shown(),
    ]


@dataclass(frozen=True)
class _Lints:
    """One method for each thing that is unwise."""

    policy: Policy
    nodes: Mapping[str, Node]
    heard: Sequence[Heard]
    planned: Planned
    catalogue: Catalogue

    def _warn(self, place: Place, text: str, hint: str) -> Problem:
        return Problem(place, text, hint, "warning")

    @property
    def _name(self) -> Place:
        return self.nodes["policy"].place

    def people(self) -> list[Problem]:
        if self.policy.owner:
            return []
        return [self._warn(self._name, "no `owner`", "name the team to ask about this policy, as in owner: sre")]

    def bounds(self) -> list[Problem]:
        if not self.policy.then or self.policy.guard.max is not None:
            return []
        hint = "bound what a mistake can do, as in guard: {max: 20 per 10m}"
        return [self._warn(self._name, "no `guard.max`", hint)]

    def empty_lists(self) -> list[Problem]:
        if "unless" not in self.nodes:
            return []
        pairs = self.nodes["unless"].pairs
        if not pairs:
            return [
                self._warn(self.nodes["unless"].place, "`unless` is empty", "take it away, or write a line of `field: value`")
            ]
        return [
            self._warn(
                _named(pairs[test.field].value, name).place,
                f"the list `{name}` is empty",
                "nobody is left alone by it; see agent.yaml",
            )
            for test in self.policy.unless
            if test.operator == "list"
            for name in test.operand
            if not self.catalogue.lists[name]
        ]

    def let_off_by_others(self) -> list[Problem]:
        """Whoever keeps a list decides who is left alone, and whoever breaks into their server does."""
        unless, guard = self.nodes.get("unless"), self.nodes.get("guard")
        names = [(unless, name) for test in self.policy.unless if test.operator == "list" for name in test.operand]
        names += [(guard, name) for name in self.policy.guard.never]
        hint = "a list of others belongs into `match`; here name one of `lists:` in agent.yaml, unless you trust them so far"
        return [
            self._warn(_named(node, name).place, f"whoever the list `{name}` names is left alone, and others keep it", hint)
            for node, name in names
            if node is not None and name in self.catalogue.feeds
        ]

    def one_for_all(self) -> list[Problem]:
        """A window over all sources, and a step on one of them: it hits whoever happens to come last."""
        if not self.planned.used:
            return []
        field = self.planned.used[0]
        unbound = [
            one
            for one in self.heard
            if one.clause is not None and not one.clause.by and (one.clause.within or one.clause.parts[0].window)
        ]
        hint = f"add by: {field}, for one window each"
        text = f"this counts all together, and `${field}` is taken from whichever event comes last"
        return [self._warn(_window_place(one.node), text, hint) for one in unbound]

    def forged(self) -> list[Problem]:
        """Text that a stranger can write should not alone move what is not mild."""
        alone = [
            kinds[0]
            for one in self.heard
            if (kinds := [kind for kind in one.kinds if kind is not None]) and all(kind.forgeable for kind in kinds)
        ]
        if not alone:
            return []
        hint = "let a second source confirm it in a sequence, or take a mild action"
        return [
            self._warn(
                key.place, f"`{step.action.name}` is {step.impact}, and a stranger can forge `{alone[0].name}` events", hint
            )
            for step, key in self.planned.whole
            if step.impact != "mild"
        ]

    def waiting(self) -> list[Problem]:
        """What is destructive is left to a person, unless the policy says otherwise."""
        hint = "that may be right: contain approve; to have it act alone where two sources speak for it, write approve: never"
        return [
            self._warn(key.place, f"`{step.action.name}` is destructive here, and waits for a person", hint)
            for step, key in self.planned.whole
            if step.impact == "destructive" and not step.unasked and not step.asks
        ]

    def shown(self) -> list[Problem]:
        expected = [bool(one.expect) for one in self.policy.examples]
        found = []
        if True not in expected:
            hint = "show one in `examples`, so that `contain policy test` can prove it"
            found.append(self._warn(self._name, "no example in which this policy fires", hint))
        if False not in expected:
            hint = "show one with expect: [], so that `contain policy test` can prove it"
            found.append(self._warn(self._name, "no example in which this policy does not fire", hint))
        return found


def _named(node: Node, text: str) -> Node:
    """Where a text stands inside a value."""
    inside = node.value if isinstance(node.value, list) else [pair.value for pair in node.pairs.values()]
    return next((found for one in inside if (found := _named(one, text)).value == text), node)


def _window_place(clause: Node) -> Place:
    pairs = clause.pairs
    return next((pairs[name].key.place for name in ("count", "distinct", "for", "sequence") if name in pairs), clause.place)
