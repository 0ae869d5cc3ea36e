"""Lists that others keep, in the heart: what counts now, what is written down of it, and answers about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from agent.feeds.listing import page, unknown
from agent.guard import Network
from agent.messages import Fed
from agent.people import lists
from agent.schema import spoken
from agent.turn import Agent, Turn

MOST: Final = 1_000
"""Networks in one answer; `entries` says how many there are."""


def fed(turn: Turn, message: Fed) -> None:
    """Let a list count as it is now. Who is left alone because of it is let go."""
    agent, name, listing = turn.agent, message.name, message.listing
    if name not in agent.feeds:  # agent.yaml does not name it any more
        return
    agent.feeds[name].listing = listing
    if message.refused:
        turn.note("feed_refused", {"name": name, "because": message.refused, "entries": listing.offered})
    if (change := message.change) is None:
        return
    body = {"name": name, "entries": len(listing.networks), "added": change.added, "removed": change.removed}
    turn.note("feed", body | {"digest": listing.digest, "because": change.because, "actor": change.actor})
    if change.added and name in _sparing(agent):
        lists.reprieve(turn)


def _sparing(agent: Agent) -> set[str]:
    """The lists by which policies leave somebody alone."""
    return {
        name
        for policy in agent.policies.values()
        for names in (policy.guard.never, *(one.operand for one in policy.unless if one.operator == "list"))
        for name in names
    }


# Answers ------------------------------------------------------------------------------------------------------------------


def shown(agent: Agent) -> list[dict[str, Any]]:
    """Every list that others keep, with what is wrong with it."""
    return [_row(agent, name) for name in agent.settings.feeds]


def _row(agent: Agent, name: str) -> dict[str, Any]:
    listing = agent.feeds[name].listing
    return {
        "name": name,
        "entries": len(listing.networks),
        "refreshed": listing.refreshed,
        "source": listing.source,
        "digest": listing.digest,
        "left_out": listing.left_out,
        "trouble": listing.trouble,
        "offered": listing.offered,
    }


def entries(agent: Agent, name: str, first: int, most: int) -> dict[str, Any]:
    """One list and its networks from a place on; `error` where there is none of that name."""
    if name not in agent.settings.feeds:
        return {"error": unknown(name, agent.settings.feeds)}
    return _row(agent, name) | {"first": first, "items": list(page(agent.feeds[name].listing.networks, first, min(most, MOST)))}


def holding(agent: Agent, network: Network) -> Iterator[tuple[str, Network, str]]:
    """The lists on which an address is: name, the network that is on it, and where the list comes from."""
    for name in agent.settings.feeds:
        listing = agent.feeds[name].listing
        if found := listing.networks.touched(network):
            yield name, found, f"{spoken(found)} is on it, says {listing.source}"
