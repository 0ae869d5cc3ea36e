"""Reads `notify:`, `escalate:` and `incident:` of a policy: who is told of what, when others are, and what is one for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator

from agent.event import Catalogue
from agent.grammar.located import Node, Problem, did_you_mean
from agent.grammar.policy_match import Fields
from agent.grammar.policy_when import Heard
from agent.grammar.typed import read
from agent.notifying.routes import Escalation
from agent.policy import Class, Gathering, Regime
from agent.schema import About, Duration, spell

MOST_STEPS: Final = 10
LONGEST: Final = timedelta(days=1)
"""Others are told with the first of them for so long at most (gathering.py)."""
SHORTEST: Final = timedelta(minutes=1)


def _moment(span: timedelta) -> timedelta:
    if not SHORTEST <= span <= timedelta(days=30):
        raise ValueError(f"`{spell(span)}` is no time to wait for people; write 1m to 30d")
    return span


def _window(span: timedelta) -> timedelta:
    if not timedelta() < span <= LONGEST:
        raise ValueError(f"`{spell(span)}` is not between 1s and {spell(LONGEST)}; write 30m")
    return span


@dataclass(frozen=True)
class EscalateKeys:
    """Who is told when nobody answers."""

    after: Annotated[Annotated[Duration, AfterValidator(_moment)], About("so long after it was opened, as in 5m")]
    while_: Annotated[
        Literal["unacknowledged", "open"] | None,
        About("unacknowledged (default): nobody has said that they are on it; open: it still goes on"),
    ] = None
    to: Annotated[
        tuple[Node, ...] | None, About("channels of agent.yaml, as in [phone]; all of them where nothing is said", "[phone]")
    ] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "severity": "a person changes it: contain incidents severity INC-7 P0 --why …",
        "unacked": "write while: unacknowledged",
        "notify": "write to: [phone]",
    }


@dataclass(frozen=True)
class IncidentKeys:
    """What its incidents are about, and which of them people see as one."""

    class_: Annotated[Class | None, About("security, availability, data, or other (default)")] = None
    group: Annotated[
        Node | None,
        About("one with others that have the same values of these fields, as in [service]; alone: never one", "[user]"),
    ] = None
    window: Annotated[
        Annotated[Duration, AfterValidator(_window)] | None, About("those that come within this time are one; 30m where unsaid")
    ] = None
    impact: Annotated[tuple[Node, ...] | None, About("checks of agent.yaml whose bad answers are downtime", "[shop]")] = None
    inhibits: Annotated[
        tuple[Node, ...] | None, About("policies whose incidents are told with this one while it is open", "[http-errors]")
    ] = None
    regimes: Annotated[
        tuple[Regime, ...] | None, About("laws whose clocks begin with it: nis2, dora, gdpr; a person ends them", "[gdpr]")
    ] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "about": "write class: security",
        "severity": "`severity` stands at the top of the policy",
        "by": "write group: [service]",
    }


@dataclass(frozen=True)
class People:
    """Reads the three keys; whatever is wrong goes to `found`."""

    catalogue: Catalogue
    found: list[Problem]

    # Who is told --------------------------------------------------------------------------------------------------------

    def notify(self, node: Node | None) -> tuple[str, ...] | None:
        """The channels; none for `off`, None where nothing is said."""
        if node is None or node.broken:
            return None
        if node.value == "off":
            return ()
        if not isinstance(node.value, list) or not node.value:
            hint = f"write notify: [{'sre' if not isinstance(node.value, str) or not node.value else node.value}], or notify: off"
            self.found.append(Problem(node.place, f"`notify` is a list of channels, or off; found {node.shape}", hint))
            return None
        return tuple(dict.fromkeys(self._channels(node.value)))

    def _channels(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        make = "make it in agent.yaml, under `notify:`"
        return self._names(nodes, "channel", self.catalogue.channels, make)

    def escalate(self, node: Node | None) -> tuple[Escalation, ...] | None:
        """The steps in order of their time; None where nothing is said."""
        if node is None:
            return None
        nodes = read(node, tuple[Node, ...], self.found) or ()
        if len(nodes) > MOST_STEPS:
            self.found.append(
                Problem(node.place, f"{len(nodes)} steps; at most {MOST_STEPS} are followed", "keep the first ones")
            )
        made = [self._step(one) for one in nodes]
        return tuple(sorted((one for one in made if one is not None), key=lambda one: one.after))

    def _step(self, node: Node) -> Escalation | None:
        keys: EscalateKeys | None = read(node, EscalateKeys, self.found)
        if keys is None:
            return None
        return Escalation(keys.after, keys.while_ or "unacknowledged", self._channels(keys.to or ()))

    # What is one ----------------------------------------------------------------------------------------------------------

    def incident(self, node: Node | None, heard: Sequence[Heard]) -> Gathering:
        """What the incidents of a policy are about."""
        keys: IncidentKeys | None = read(node, IncidentKeys, self.found) if node is not None else None
        if keys is None:
            return Gathering()
        make = "make it in agent.yaml, as in checks: {shop: {http: {url: …}}}"
        given: dict[str, Any] = {
            "impact": self._names(keys.impact or (), "check", self.catalogue.checks, make),
            "inhibits": self._names(keys.inhibits or (), "policy", None),
            "regimes": tuple(dict.fromkeys(keys.regimes or ())),
        }
        given |= {"about": keys.class_} if keys.class_ else {}
        given |= {"window": keys.window} if keys.window else {}
        return Gathering(**given, **self._group(keys.group, heard))

    def _group(self, node: Node | None, heard: Sequence[Heard]) -> dict[str, Any]:
        if node is None or node.broken:
            return {}
        if node.value == "alone":
            return {"alone": True}
        if not isinstance(node.value, list) or not node.value:
            word = node.value if isinstance(node.value, str) and node.value else "service"
            hint = f"write group: [{word}], or group: alone"
            self.found.append(Problem(node.place, f"`group` is a list of fields, or alone; found {node.shape}", hint))
            return {}
        fields = Fields.of(*(kind for one in heard for kind in one.kinds))
        names = [(name, one) for one in node.value if (name := read(one, str, self.found)) is not None]
        for name, one in names:
            fields.find(name, one, self.found)
        return {"by": tuple(dict.fromkeys(name for name, _ in names))}

    def _names(self, nodes: Iterable[Node], kind: str, known: Set[str] | None, make: str = "") -> tuple[str, ...]:
        """Names of channels or checks; where no agent.yaml says which there are, any name may be one."""
        names: list[str] = []
        for node in nodes:
            name: str | None = read(node, str, self.found)
            if name is not None and known is not None and name not in known:
                self.found.append(Problem(node.place, f"no {kind} is called `{name}`", did_you_mean(name, known) or make))
            names += [name] if name is not None else []
        return tuple(dict.fromkeys(names))


def inhibited(documents: Sequence[Node], names: Set[str]) -> list[Problem]:
    """Policies named by `inhibits` that are not there. One file alone is no set: whoever reads it so is only warned."""
    found = []
    for document in documents:
        node = _inside(_inside(document, "incident"), "inhibits")
        for one in node.value if node is not None and isinstance(node.value, list) else ():
            if isinstance(one.value, str) and one.value not in names:
                hint = did_you_mean(one.value, names) or "its file may not be among these"
                found.append(Problem(one.place, f"no policy is called `{one.value}`", hint, "warning"))
    return found


def _inside(node: Node | None, key: str) -> Node | None:
    known = node.pairs if node is not None and isinstance(node.value, dict) else {}
    return known[key].value if key in known else None
