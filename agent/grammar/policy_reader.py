"""Policy files become policies: every problem of every file at once, each with its place and how to mend it. Pure.

The grammar stands in policy_keys.py. `when:`, `then:` and `examples:` are read by the modules named after them; here is what
concerns a policy as a whole, and what is allowed but unwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.event import Catalogue
from agent.grammar import policy_recover
from agent.grammar.located import Node, Place, Problem, Problems, in_order, scan
from agent.grammar.policy_examples import Parse, read_example
from agent.grammar.policy_keys import GuardKeys, PolicyKeys, RecoverKeys
from agent.grammar.policy_lints import lints
from agent.grammar.policy_match import Fields, list_name, read_field_map
from agent.grammar.policy_people import People, inhibited
from agent.grammar.policy_recover import After
from agent.grammar.policy_steps import Planned, read_then
from agent.grammar.policy_when import Heard, read_when
from agent.grammar.typed import known_pairs, read, value_of, values_of
from agent.grammar.version import KEY, POLICY, lifted
from agent.policy import Example, Limits, Policy, Step, Test
from agent.recovery.rungs import Recover

Judged = Callable[[Sequence[Policy]], Sequence[Problem]]
"""What is wrong with policies that can be read."""


def read_policies(
    files: Mapping[str, str], catalogue: Catalogue, parse: Parse | None = None, judged: Judged | None = None
) -> tuple[tuple[Policy, ...], list[Problem]]:
    """The policies of some files (name → text), in order, and warnings on what is allowed but unwise.

    `parse` turns the raw `log:` lines of examples into events; without it they make none. `judged` finds what may not be
    reached here (agent/prove.py); it is asked about the policies that could be read.

    Raises:
        Problems: something is wrong; all of it, in all files, with the warnings among it.
    """
    found: list[Problem] = []
    policies: list[Policy] = []
    names: dict[str, Place] = {}
    roots: list[Node] = []
    for name, text in sorted(files.items()):
        documents, problems = scan(text, name)
        found += problems
        roots += documents
        for document in (one for each in documents if (one := lifted(each, POLICY, found))):
            policy = _PolicyReader(document, catalogue, found, parse).read(names)
            policies += [policy] if policy is not None else []
    found += inhibited(roots, names.keys())
    found += judged(policies) if judged else ()
    if any(one.level == "error" for one in found):
        raise Problems(found)
    return tuple(policies), list(in_order(found))


@dataclass
class _PolicyReader:
    """Reads one document; whatever is wrong goes to `found`."""

    root: Node
    catalogue: Catalogue
    found: list[Problem]
    parse: Parse | None

    def read(self, names: dict[str, Place]) -> Policy | None:
        """The policy, or None where anything about it is wrong. `names` are those taken by policies before it."""
        before = self._errors()
        pairs = {key.name: (key, pair) for key, pair in known_pairs(self.root, PolicyKeys, self.found)}
        if not isinstance(self.root.value, dict):
            return None
        plain = {name: value_of(key, pair, self.found) for name, (key, pair) in pairs.items() if name not in _COMPOSED | {KEY}}
        nodes = {name: pair.value for name, (_, pair) in pairs.items()}
        self._unique(plain.get("policy"), nodes, names)
        heard = read_when(nodes["when"], self.catalogue, self.found) if "when" in nodes else ()
        planned = read_then(nodes["then"], heard, self.catalogue, self.found) if "then" in nodes else Planned()
        composed: dict[str, Any] = {
            "unless": self._unless(nodes.get("unless"), heard),
            "guard": self._guard(nodes.get("guard")),
            "recover": self._recover(nodes.get("recover"), planned),
            "examples": self._examples(nodes.get("examples"), planned),
            "notify": (people := People(self.catalogue, self.found)).notify(nodes.get("notify")),
            "escalate": people.escalate(nodes.get("escalate")),
            "gathering": people.incident(nodes.get("incident"), heard),
        }
        if self._errors() > before or self.root.flawed:
            return None
        policy = Policy(
            name=plain.pop("policy"),
            when=tuple(one.clause for one in heard if one.clause is not None),
            then=planned.steps,
            place=f"{self.root.place.file}:{self.root.place.line}",
            digest=hashlib.sha256(self.root.source.encode()).hexdigest(),
            text=self.root.source,
            **plain,
            **composed,
        )
        self.found += lints(policy, nodes, heard, planned, self.catalogue)
        return policy

    def _errors(self) -> int:
        return sum(1 for one in self.found if one.level == "error")

    def _unique(self, name: str | None, nodes: Mapping[str, Node], names: dict[str, Place]) -> None:
        if name is None:
            return
        place = nodes["policy"].place
        first = names.setdefault(name, place)
        if first is not place:
            where = f"line {first.line}" if first.file == place.file else f"{first.file}:{first.line}"
            self.found.append(Problem(place, f"a policy named `{name}` exists already", f"the first is at {where}"))

    # Parts ---------------------------------------------------------------------------------------------------------------

    def _unless(self, node: Node | None, heard: Sequence[Heard]) -> tuple[Test, ...]:
        if node is None:
            return ()
        fields = Fields.of(*(kind for one in heard for kind in one.kinds))
        return read_field_map(node, fields, self.catalogue, self.found)

    def _guard(self, node: Node | None) -> Limits:
        values = values_of(node, GuardKeys, self.found) if node is not None else {}
        never = [list_name(one, self.catalogue, self.found) for one in values.pop("never", None) or ()]
        pairs = node.pairs if node is not None and "overflow" in values else {}
        values.pop("overflow", None)
        made = Limits(
            max=values.get("max"),
            max_active=values.get("max_active"),
            cooldown=values.get("cooldown"),
            never=tuple(name for name in never if name is not None),
            share=values.get("max_share"),
            above=values.get("approve"),
            overflow=self._overflow(pairs["overflow"].value) if "overflow" in pairs else (),
        )
        if node is not None and made.above and made.max and made.above.per_second >= made.max.per_second:
            place = node.pairs["approve"].value.place
            self.found.append(Problem(place, f"`max: {made.max}` comes first, and nobody is ever asked", "ask earlier than that"))
        return made

    def _overflow(self, node: Node) -> tuple[Step, ...]:
        """Steps about no single target: every parameter is written out."""
        planned = read_then(node, (), self.catalogue, self.found)
        for step, key in planned.whole:
            if step.variable:
                text = f"`${next(iter(step.variable.values()))}` in `overflow`: it is about all targets, and no single event"
                self.found.append(Problem(key.place, text, "write the value itself, as in - rate_limit: {service: http, …}"))
            elif step.impact == "destructive" or step.after:
                hint = "limit a rate instead; what is destructive belongs into `then`"
                self.found.append(Problem(key.place, "`overflow` takes steps that act at once and destroy nothing", hint))
        return planned.steps

    def _recover(self, node: Node | None, planned: Planned) -> Recover:
        keys: RecoverKeys | None = read(node, RecoverKeys, self.found) if node is not None else None
        after = keys.after if keys is not None and keys.after is not None else After("ttl")
        if after.when != "manual" and (node is None or keys is not None):
            hint = "add recover: {after: manual}, so that everyone sees that a person must end it"
            self.found += [Problem(one.place, "`ttl: forever` needs `recover: {after: manual}`", hint) for one in planned.forever]
        if keys is None:
            return Recover()
        verify = policy_recover.checks(keys.verify or (), self.catalogue, self.found)
        return Recover(after.when, after.quiet, after.ok, verify, keys.release, keys.watch)

    def _examples(self, node: Node | None, planned: Planned) -> tuple[Example, ...]:
        nodes = read(node, tuple[Node, ...], self.found) if node is not None else ()
        actions = [action for action, _ in planned.actions]
        made = [read_example(one, self.catalogue, actions, self.found, self.parse) for one in nodes or ()]
        return tuple(one for one in made if one is not None)


_COMPOSED = frozenset({"when", "unless", "then", "guard", "recover", "examples", "notify", "escalate", "incident"})
"""The keys that are more than a value, and read by a method of their own."""
