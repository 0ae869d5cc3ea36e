"""What one step of a policy could do at most: to whom, who chooses that, how often, for how long. Pure.

A parameter that is written out is known; one that comes from a `$field` can hold whatever an event of those kinds can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

from agent.event import REPORT, Kind
from agent.guard import Lifelines, Network
from agent.policy import Clause, Limits, Mode, Part, Policy, Rate, Step, Test
from agent.schema import Ttl, address, canonical, spell, spoken

Chosen = Literal["nobody", "own", "stranger"]
"""Who chooses what a `$field` holds: no stranger; a stranger, who can bring only its own address; a stranger, freely."""

_NAMES: Final[Mapping[str, str]] = {
    "unit": "unit",
    "container": "container",
    "user": "user",
    "userpass_user": "user",
    "role": "role",
    "db_role": "role",
    "database": "database",
    "instance": "postgres",
    "entity": "credential entity",
    "accessor": "credential accessor",
    "secret_id_accessor": "credential accessor",
    "approle": "credential approle",
    "lease": "credential lease",
    "lease_prefix": "credential prefix",
}
"""What a parameter names, as a change's `touches` has it."""
_CHOOSES: Final[Mapping[Chosen, str]] = {
    "nobody": "cannot choose it",
    "own": "can bring only its own",
    "stranger": "can choose it",
}
_SPARED: Final = frozenset({"allow"})
"""Parameters whose addresses are let be."""
_SESSIONS: Final = frozenset({"end_sessions"})
"""Actions by which an address loses sessions of PostgreSQL and no packet, which its life-lines may."""
LOOKS: Final = frozenset({"snapshot"})
"""Actions that change nothing."""
_ONCE: Final = frozenset({"accessor", "approle", "lease", "lease_prefix"})
"""Parameters with which nothing stays in force, whatever the ttl."""


def _anything(_name: str) -> str:
    return ""


WAITS: Final = ", and a person must say yes"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a proof stands on: the settings that count, and this host as far as it is known.

    `forbidden` says why a thing (`unit ssh.service`, `role agent on main`) is never touched whatever agent.yaml says, and
    nothing where it may be. `endless` are actions that leave something in force and have no ttl. `let_in` is whether
    agent.yaml names anybody who is let in when the host is isolated; None where there is no agent.yaml.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    lifelines: Lifelines = field(default_factory=Lifelines)
    lists: Mapping[str, Sequence[Network]] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    ssh_ports: tuple[int, ...] = (22,)
    let_in: bool | None = None
    mode: Mode | None = None
    forbidden: Callable[[str], str] = _anything
    endless: frozenset[str] = frozenset()


class Reach(NamedTuple):
    """What one step of a policy could do at most. `because` says why it is refused; nothing where it is not."""

    policy: str
    mode: str
    step: str
    who: str
    chosen: Chosen
    most: str
    lasting: str
    never: str
    asks: str
    impact: str
    because: str

    def __str__(self) -> str:
        """One sentence; of a step that is refused, why."""
        if self.because:
            return f"{self.step}: refused: {self.because}"
        end = f"; never: {self.never}" if self.never else ""
        return f"{self.step}: {self.who}; {self.impact}{self.asks}; {self.most}, {self.lasting}{end}"


@dataclass(frozen=True)
class Aim:
    """One step of one policy on its ground; `beyond` is one of `overflow`, once for all targets beyond `max`."""

    policy: Policy
    step: Step
    ground: Ground
    beyond: bool = False

    @cached_property
    def given(self) -> dict[str, Any]:
        """The parameters that are written out or left at their default; the others are in `step.variable`."""
        defaults = {one.name: one.default for one in fields(self.step.action) if one.default is not MISSING}
        return {name: value for name, value in {**defaults, **self.step.literal}.items() if name not in self.step.variable}

    @cached_property
    def name(self) -> str:
        """The action's name."""
        return str(self.step.action.name)

    # On whom ------------------------------------------------------------------------------------------------------------

    def victims(self) -> Iterator[tuple[str, Sequence[Network]]]:
        """The addresses that are known now, by parameter."""
        if self.name in _SESSIONS:
            return
        for name, value in self.given.items():
            if name not in _SPARED and (networks := _networks(value)):
                yield name, networks
        for name, source in self.step.variable.items():
            if name not in _SPARED:
                yield name, self._held_to(source)

    def _held_to(self, source: str) -> list[Network]:
        """Where `match` holds a field to some addresses: those, and of networks those that lie in life-lines whole."""
        lines = [line.network for line in self.ground.lifelines.lines]
        held = list[Network]()
        for clause in self.policy.when:
            tests = [[test for test in part.match if test.field == source] for part in self._parts(clause, source)]
            for test in chain(*tests) if all(tests) or source in clause.by else ():
                held += [address(one) for one in _values(test) if canonical(str(one))]
                held += [one for one in self._ranges(test) if any(_inside(one, line) for line in lines)]
        return held

    def _ranges(self, test: Test) -> Sequence[Network]:
        if test.operator == "cidr":
            return tuple(test.operand)
        if test.operator == "list":
            return [network for name in test.operand for network in self.ground.lists.get(name, ())]
        return ()

    def _parts(self, clause: Clause, source: str) -> list[Part]:
        """The parts of a clause whose events can give the field."""
        kinds = self.ground.kinds
        return [one for one in clause.parts if one.event not in kinds or kinds[one.event].field(source) is not None]

    def named(self) -> Iterator[tuple[str, str]]:
        """What is named outright, as a change's `touches` has it, by parameter."""
        if isinstance(whole := getattr(self.step.action, "target", None), str):
            yield "", whole
        for name, value in self.given.items():
            if isinstance(value, str) and value and name in _NAMES:
                yield name, f"{_NAMES[name]} {value}"

    @property
    def forever(self) -> bool:
        """Whether it stays until a person ends it."""
        ttl = self.given.get("ttl")
        return isinstance(ttl, Ttl) and ttl.first is None and not self.done_once

    @property
    def done_once(self) -> bool:
        """Whether nothing of it stays in force."""
        once = any(self.given.get(name) or name in self.step.variable for name in _ONCE)
        return "ttl" not in {one.name for one in fields(self.step.action)} or once

    # What it could do -----------------------------------------------------------------------------------------------------

    def reach(self, because: str = "") -> Reach:
        """The step's sentence; `because` is why it is refused."""
        return Reach(
            self.policy.name,
            self.policy.mode or self.ground.mode or "",
            f"overflow: {self._spelled()}" if self.beyond else self._spelled(),
            self._who(),
            self._chosen,
            "nothing is changed" if self.name in LOOKS else self._most(),
            self._lasting(),
            self._never(),
            self._asks(),
            self.step.impact,
            because,
        )

    def _spelled(self) -> str:
        """The action and what it acts on: `block_ip $src.ip`."""
        aimed = [f"${source}" for name, source in self.step.variable.items() if name != "ttl"]
        aimed += [spoken(one) for name, networks in self.victims() if name in self.given for one in networks]
        aimed += [named.rpartition(" ")[2] for name, named in self.named() if name in self.step.literal]
        return " ".join((self.name, *aimed))

    @property
    def _sources_used(self) -> dict[str, str]:
        """The `$field`s that say who is meant, by parameter."""
        return {name: source for name, source in self.step.variable.items() if name in _NAMES or self._type(source) == "address"}

    def _who(self) -> str:
        said = []
        for source in self._sources_used.values():
            kinds = dict.fromkeys(part.event for clause in self.policy.when for part in self._parts(clause, source))
            noun = "address" if self._type(source) == "address" else source
            said.append(f"any {noun} of {_listed(kinds, 'or')} events (a stranger {_CHOOSES[self._chooses(source)]})")
        return " and ".join(said) or self._fixed()

    def _fixed(self) -> str:
        if self.name in LOOKS:
            return "looks only"
        if any(networks for _, networks in self.victims()):
            return "that one alone"
        if self.name in ("rate_limit", "syn_protect"):
            named = [f"${self.step.variable['port']}"] if "port" in self.step.variable else []
            ports = ", ".join([*map(str, self.given.get("ports", ())), *named])
            to = self.given.get("service") or (f"port {ports}" if ports else "")
            return f"everybody who connects{f' to {to}' if to else ''}"
        return "that one alone" if any(name for name, _ in self.named()) else "this host"

    @property
    def _chosen(self) -> Chosen:
        order: tuple[Chosen, ...] = ("nobody", "own", "stranger")
        return max((self._chooses(source) for source in self._sources_used.values()), key=order.index, default="nobody")

    def _chooses(self, source: str) -> Chosen:
        """Who decides what the field holds, in the clause that is worst.

        The address of a peer cannot be forged where answers have to come back, and parsers take it from its own place in the
        line alone; any other text of a forgeable event is a stranger's. Events counted by the field must all agree on it.
        """
        if source == "src.ip":
            return "own"
        for clause in self.policy.when:
            forgeable = [one.forgeable for part in self._parts(clause, source) if (one := self.ground.kinds.get(part.event))]
            if forgeable and (all(forgeable) if source in clause.by else any(forgeable)):
                return "stranger"
        return "nobody"

    def _type(self, source: str) -> str:
        """What the field is, by the kinds that have it; nothing where none is known."""
        kinds = (self.ground.kinds.get(part.event) for clause in self.policy.when for part in clause.parts)
        return next((found for kind in kinds if kind and (found := kind.field(source))), "")

    def _most(self) -> str:
        if self.beyond:
            return "once for all targets beyond the limit"
        ours, all_ = self.policy.guard, self.ground.limits
        active = min((one for one in (ours.max_active, all_.max_active) if one is not None), default=None)
        said = _rates(ours.max, all_.max)
        said += f" and {active} at once" if active is not None and not self.done_once else ""
        share = min((one for one in (ours.share, all_.share) if one is not None), default=None)
        said += f" and {share:.0%} of {self._shared}" if share is not None and self._shared else ""
        return f"at most {said.removeprefix(' and ')}" if said else "as many as there are"

    @property
    def _shared(self) -> str:
        """Of what a share is counted: clients where addresses are acted on, or containers; of anything else there is none."""
        if "container" in self.step.variable:
            return "the containers that run"
        reached = any(self._type(source) == "address" for source in self._sources_used.values())
        return "the clients that are connected" if reached and self.name not in _SESSIONS else ""

    def _lasting(self) -> str:
        if self.name in LOOKS or self.done_once:
            return "done once"
        if "ttl" in self.step.variable:
            return f"for as long as ${self.step.variable['ttl']} says"
        ttl = self.given.get("ttl")
        if not isinstance(ttl, Ttl):
            return "without an end"
        window = self.given.get("confirm")
        first = f"for {spell(window)} unless a person confirms it, then " if window else ""
        if ttl.first is None:
            return f"{first}until a person lifts it"
        longest = f" to {spell(ttl.limit)}" if ttl.limit else ""
        return f"{first}for {spell(ttl.first)}{longest}{' each' if self._sources_used else ''}"

    def _never(self) -> str:
        """What is left alone, whatever an event says."""
        if self.name in LOOKS:
            return ""
        said = []
        if self.name not in _SESSIONS and any(self._type(source) == "address" for source in self._sources_used.values()):
            lists = [
                *(one for test in self.policy.unless if test.operator == "list" for one in test.operand),
                *self.policy.guard.never,
            ]
            said.append(f"{len(self.ground.lifelines.lines)} life-lines")
            said += [f"the list{'s' if len({*lists}) > 1 else ''} {_listed(dict.fromkeys(lists), 'and')}"] if lists else []
        used = {_NAMES[name] for name in _NAMES if name in self.step.variable or self.given.get(name)}
        said += [f"`{one}`" for one in self.ground.protected if any(one.startswith(kind.partition(" ")[0]) for kind in used)]
        return ", ".join(said)

    def _asks(self) -> str:
        """Whether a person must say yes, as judge.py asks for it."""
        if self.step.asks or REPORT.name in self.policy.kinds():
            return WAITS
        if self.step.impact == "mild":
            return self._above()
        if self.step.impact == "destructive" and not self.step.unasked:
            return WAITS
        if any(self._forged(clause) for clause in self.policy.when):
            return f"{WAITS} where a stranger could have written all that speaks for it"
        if self.step.impact == "destructive":
            return ", and nobody is asked where two sources speak for it"
        return self._above()

    def _above(self) -> str:
        above = self.policy.guard.above
        return f"{WAITS} beyond {above}" if above and not self.beyond else ""

    def _forged(self, clause: Clause) -> bool:
        """Whether a stranger can write every event by which a clause fires."""
        kinds = [kind for part in clause.parts if (kind := self.ground.kinds.get(part.event))]
        return bool(kinds) and all(one.forgeable for one in kinds)


def _networks(value: Any) -> Sequence[Network]:
    values = value if isinstance(value, tuple) else (value,)
    return [one for one in values if isinstance(one, IPv4Network | IPv6Network)]


def _values(test: Test) -> Sequence[Any]:
    """The values a test names one by one."""
    if test.operator == "is":
        return (test.operand,)
    return sorted(test.operand, key=str) if test.operator == "in" else ()


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.overlaps(outer)


def _rates(ours: Rate | None, all_: Rate | None) -> str:
    """The bound that counts; both where neither is always the tighter one."""
    if ours is None or all_ is None:
        return str(ours or all_ or "")
    if ours.most <= all_.most and ours.span >= all_.span:
        return str(ours)
    if all_.most <= ours.most and all_.span >= ours.span:
        return f"{all_} (agent.yaml)"
    return f"{ours} and {all_} (agent.yaml)"


def _listed(names: Iterable[str], last: str) -> str:
    *most, final = names
    return f"{', '.join(most)} {last} {final}" if most else final
