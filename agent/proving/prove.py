"""Who could be reached by what: every policy's steps, judged before any event has come. Pure.

What is written out is judged now, by the guard that judges plans. What comes from a `$field` is told in a sentence (reach.py),
and the guard judges each when it comes. What could only ever harm (a life-line, a protected unit, ssh for everybody, no end)
is a problem, with which a set of policies never becomes live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.action import Call, Change
from agent.grammar.problem import Place, Problem, in_order
from agent.guard import Lifelines, Network, touches
from agent.policy import Policy
from agent.proving.reach import LOOKS, WAITS, Aim, Ground, Reach

__all__ = ["Ground", "Proof", "Reach", "problems", "prove"]

SLOWEST: Final = 5
"""New ssh connections per second below which a limit for everybody together locks people out: one guesser uses it up."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What every step could reach, and what may not become live, in the order of the files."""

    policies: tuple[Policy, ...]
    reaches: tuple[Reach, ...]
    problems: tuple[Problem, ...]

    def summary(self) -> str:
        """The whole set in one line."""
        refused = {one.policy for one in self.reaches if one.because}
        left = [one for one in self.reaches if one.policy not in refused]
        free = [one for one in left if one.chosen == "stranger"]
        said = [
            f"{len(refused)} refused" if refused else "none can reach a life-line, and every step has an end",
            f"{_policies(one for one in left if one.chosen == 'own')} can act on an address that a stranger comes from",
            f"{_policies(free)} on what a stranger can choose{_worst(free)}",
            f"{_policies(one for one in left if one.asks.startswith(WAITS))} wait for a person",
            f"{sum(not one.then for one in self.policies)} only tell",
        ]
        return f"{len(self.policies)} {'policy' if len(self.policies) == 1 else 'policies'}: {'; '.join(said)}"


def _policies(reaches: Iterable[Reach]) -> int:
    return len({one.policy for one in reaches})


def _worst(reaches: Sequence[Reach]) -> str:
    impacts = sorted({one.impact for one in reaches})
    return f", {' and '.join(impacts)} only" if impacts else ""


def prove(policies: Sequence[Policy], ground: Ground) -> Proof:
    """What each policy could reach, and every problem."""
    reaches, found = list[Reach](), list[Problem]()
    found += [one for policy in policies if (one := _never_reached(policy, ground))]
    for aim in (aim for policy in policies for aim in _aims(policy, ground)):
        told = list(_Judged(aim).problems())
        wrong = [one.text.removeprefix(_never(aim)) for one in told if one.level == "error"]
        reaches.append(aim.reach("; ".join(wrong)))
        found += told
    return Proof(tuple(policies), tuple(reaches), in_order(found))


def _aims(policy: Policy, ground: Ground) -> Iterator[Aim]:
    yield from (Aim(policy, step, ground) for step in policy.then)
    yield from (Aim(policy, step, ground, beyond=True) for step in policy.guard.overflow)


def _never_reached(policy: Policy, ground: Ground) -> Problem | None:
    """A policy that may do more than all of them together: the lower limit of agent.yaml counts."""
    ours, everybody = policy.guard.max, ground.limits.max
    if not policy.then or ours is None or everybody is None or ours.per_second <= everybody.per_second:
        return None
    step = policy.then[0]
    place = step.places.get("") or Place(policy.name, 1, 1)
    text = f"`{policy.name}` may act {ours}, and agent.yaml allows all policies together {everybody}"
    return Problem(place, text, "raise limits.max in agent.yaml where that is meant", "warning")


def problems(policies: Sequence[Policy], ground: Ground) -> tuple[Problem, ...]:
    """What keeps policies from becoming live, and what is unwise."""
    return prove(policies, ground).problems


def _never(aim: Aim) -> str:
    return f"`{aim.name}` may never do this: "


@dataclass(frozen=True)
class _Judged:
    """What is wrong with one step."""

    aim: Aim

    def problems(self) -> Iterator[Problem]:
        """Every one, errors and warnings."""
        yield from self._addresses()
        yield from self._things()
        yield from self._ssh()
        yield from self._end()
        yield from self._unlocked()

    def _wrong(self, parameter: str, because: str, hint: str) -> Problem:
        return Problem(self._place(parameter), _never(self.aim) + because, hint)

    def _place(self, parameter: str) -> Place:
        """Where a parameter stands, or the action where it does not, or the policy where it came from no file."""
        places = self.aim.step.places
        file, _, line = self.aim.policy.place.rpartition(":")
        return (
            places.get(parameter) or places.get("") or Place(file or self.aim.policy.name, int(line) if line.isdigit() else 1, 1)
        )

    def _addresses(self) -> Iterator[Problem]:
        """Addresses written out, or to which `match` holds a `$field`: the guard would refuse them every time."""
        hint = "name another address, or take the step away; `contain policy prove` names every life-line"
        for name, networks in self.aim.victims():
            for network in networks:
                if because := self._refused(network):
                    yield self._wrong(name, because, hint)

    def _refused(self, network: Network) -> str:
        never = {name: self.aim.ground.lists.get(name, ()) for name in self.aim.policy.guard.never}
        change = Change("", Call("", "", {"ip": network}), None, Call("", ""))
        verdict = touches((change,), self.aim.ground.lifelines, never)
        return "" if verdict.allowed else verdict.because

    def _things(self) -> Iterator[Problem]:
        """Units, containers, roles and the like that are protected."""
        if self.aim.name in LOOKS:
            return
        for parameter, named in self.aim.named():
            change = Change("", Call("", ""), None, Call("", ""), touches=(named,))
            verdict = touches((change,), Lifelines(), {}, self.aim.ground.protected)
            where = f"{named} on {self.aim.given.get('instance')}" if named.startswith("role ") else named
            if not verdict.allowed:
                yield self._wrong(parameter, verdict.because, "name another one, or take the step away")
            elif because := self.aim.ground.forbidden(where):
                yield self._wrong(parameter, because, "name another one, or take the step away")

    def _ssh(self) -> Iterator[Problem]:
        """A limit that all share is used up by one attacker, and then nobody gets in."""
        given = self.aim.given
        if self.aim.name != "rate_limit" or given.get("per") != "all" or given.get("ip") or "ip" in self.aim.step.variable:
            return
        ports = {*given.get("ports", ()), *((22,) if given.get("service") == "ssh" else ())}
        ports |= {given["port"]} if given.get("port") else set()
        elsewhere = ports or "service" in self.aim.step.variable or given.get("service")
        rate = given.get("rps", 0)
        if rate >= SLOWEST or (elsewhere and not ports & {*self.aim.ground.ssh_ports}):
            return
        said = f"{rate} per second" if rate else f"as few as ${self.aim.step.variable.get('rps')} says"
        because = f"everybody together would get {said} new ssh connections, and one guesser uses them up"
        yield self._wrong("rps", because, f"write per: source, which measures each address on its own, or rps: {SLOWEST} or more")

    def _end(self) -> Iterator[Problem]:
        """What stays in force has an end, or a person who knows of it."""
        if self.aim.name in self.aim.ground.endless:
            yield self._wrong("", "what it does stays in force, and it has no `ttl` to end it", "take an action that has an end")
        elif self.aim.forever and self.aim.policy.recover.after != "manual":
            hint = "write ttl: …, or recover: {after: manual}, so that everyone sees that a person must end it"
            yield self._wrong("ttl", "it would stay for ever, and nobody is told to end it", hint)

    def _unlocked(self) -> Iterator[Problem]:
        """Isolating a host by itself, where agent.yaml names nobody who could open it again."""
        if self.aim.name == "isolate_host" and self.aim.step.unasked and self.aim.ground.let_in is False:
            hint = "name the operators' network under never_touch or keep_open in agent.yaml"
            text = "`isolate_host` asks nobody here, and agent.yaml names nobody who would still be let in"
            yield Problem(self._place(""), text, hint, "warning")
