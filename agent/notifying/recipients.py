"""Who is told of an incident: the channels of its policies, else those of its severity. Pure.

Channels that strangers read hear of P0 and P1 alone; of what is about a service that is not there by itself, where a route or
policy names the channel; of an attack or a breach only after a person's `contain incidents publish`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from agent.gathering import Picture
from agent.notifying.tellings import Told
from agent.policy import Policy, Severity
from agent.turn import Agent

URGENT: Final = ("P0", "P1")
_PUBLIC: Final = ("opened", "changed", "resolved", "reopened", "closed")
"""Of what strangers are told; who is on it, and that nobody was, is nothing for them."""
_TO_ALL: Final = ("acknowledged", "resolved", "reopened", "closed")
"""Of what everybody is told who was ever told of the incident: somebody who was woken may sleep on."""


class Way(NamedTuple):
    """`to` are the usual channels, `public` those that strangers read. `once`: it is told a single time, and wakes nobody.

    `daily` is one that stands in the daily list.
    """

    to: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    once: bool = False
    daily: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self.to or self.public)


def dry(agent: Agent, seen: Picture) -> bool:
    """Whether nothing is really done about any of it: each policy is in dry run, or off, and would do something otherwise."""
    return all(_dry(agent, agent.policies.get(name)) for name in {one.policy for one in seen.all})


def _dry(agent: Agent, policy: Policy | None) -> bool:
    return policy is not None and bool(policy.then) and agent.mode(policy) != "enforce"


def way(agent: Agent, seen: Picture, told: Told) -> Way:
    """Who is told of it as it is now: whoever is for any of those that are told as one."""
    channels, once = agent.settings.routes.channels, dry(agent, seen)
    names, daily = _names(agent, seen, once=once)
    known = [channels[name] for name in names if name in channels]
    public = [one.name for one in known if one.public]
    if told.published:
        public = [one.name for one in channels.values() if one.public]
    harmless = told.published or all(one.about == "availability" for one in seen.all)
    if once or not names or seen.severity not in URGENT or not harmless:
        public = []
    public += strangers(agent, told)  # whoever was told of it is told of its end
    return Way(tuple(one.name for one in known if not one.public), tuple(dict.fromkeys(public)), once or daily, daily)


def strangers(agent: Agent, told: Told) -> list[str]:
    """The channels that strangers read and that were told of it."""
    channels = agent.settings.routes.channels
    return [name for name in told.to if name in channels and channels[name].public]


def _names(agent: Agent, seen: Picture, *, once: bool) -> tuple[tuple[str, ...], bool]:
    """The usual channels, and whether they get a daily list instead. A policy that tells nobody does not speak for others."""
    severity: Severity = "P3" if once and "P3" in agent.settings.routes.by else seen.severity
    names, daily = list[str](), True
    for name in dict.fromkeys(one.policy for one in seen.all):
        policy = agent.policies.get(name)
        named, listed = _routed(agent, severity) if policy is None or policy.notify is None else (policy.notify, False)
        names += named
        daily = daily and (listed or named == ())
    return tuple(dict.fromkeys(names)), daily and bool(names)


def _routed(agent: Agent, severity: Severity) -> tuple[tuple[str, ...], bool]:
    """The channels of a severity, and whether they get a daily list instead."""
    routes = agent.settings.routes
    if severity in routes.by:
        return routes.by[severity], False
    if severity in URGENT:  # nobody said whom to wake: then all
        return routes.fallback or private(agent), False
    return (routes.by.get("P2", ()), True) if severity == "P3" else ((), False)


def private(agent: Agent) -> tuple[str, ...]:
    """Every channel that no stranger reads."""
    return tuple(one.name for one in agent.settings.routes.channels.values() if not one.public)


def recipients(agent: Agent, usual: Way, told: Told, what: str, more: Iterable[str] = ()) -> list[str]:
    """Who is told of one notice; nobody twice."""
    channels = agent.settings.routes.channels
    names = [*usual.to, *(name for name in more if name in channels and not channels[name].public)]
    if what in _PUBLIC:
        names += usual.public
    if what in _TO_ALL:
        names += [name for name in told.to if name in channels and not channels[name].public]
    return list(dict.fromkeys(name for name in names if name in channels))
