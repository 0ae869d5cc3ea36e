"""Lists that others keep, where a policy leaves alone whoever is on them: `guard.never` and `unless`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from agent.guard import Lifeline, Lifelines, Network
from agent.watching.networks import Networks

if TYPE_CHECKING:
    from agent.policy import Policy
    from agent.turn import Agent

NEVER = "is on the list `{}` ({}), which this policy never touches"


class Sparing(Lifelines):
    """Lines, and beside them whole lists, asked where they are: none is gone through."""

    def __init__(self, lines: Lifelines, lists: Mapping[str, Networks], said: str) -> None:
        """`said` is the reason, of a list's name and the network that is on it."""
        super().__init__((), ())
        self._beside, self._lists, self._said = lines, lists, said

    def touched(self, network: Network) -> Lifeline | None:
        """The line, or the listed network, that the network lies in or swallows, or None."""
        if line := self._beside.touched(network):
            return line
        for name, networks in self._lists.items():
            if found := networks.touched(network):
                return Lifeline(found, self._said.format(name, found))
        return None


def spared(agent: Agent, policy: Policy) -> Lifelines:
    """What this policy alone leaves alone, whatever comes: the lists of its `never`, and what people listed for it."""
    given = agent.state.lists.spared(policy.name, policy.guard.never, agent.settings.lists)
    return beside(agent, given, policy.guard.never, NEVER)


def beside(agent: Agent, lines: Lifelines, names: Iterable[str], said: str) -> Lifelines:
    """The lines, with those of the named lists that others keep."""
    fed = {name: agent.feeds[name].listing.networks for name in names if name in agent.settings.feeds}
    return Sparing(lines, fed, said) if fed else lines
