"""What counts as never touched or left alone, and whether one address does: answers for the control socket. Pure, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from agent import view
from agent.feeds import followed
from agent.guard import Network, meets, overlap
from agent.people import lists
from agent.people.listed import CONFIGURED, NEVER, Entry
from agent.schema import address, spoken
from agent.turn import Agent

MOST: Final = 10_000
"""Rows in one answer; `total` says how many there are."""


def show(agent: Agent) -> dict[str, Any]:
    """Every life-line and list: what agent.yaml names, what this host learnt, what people added, what is always so."""
    rows = list(_rows(agent))
    named = [NEVER, *agent.settings.lists, *agent.settings.feeds]
    return {"total": len(rows), "items": rows[:MOST], "lists": named, "feeds": followed.shown(agent)}


def check(agent: Agent, text: str, now: float, counters: view.Counters) -> dict[str, Any]:
    """On which lists an address is, what leaves it alone, and what is in force against it; `error` where it is none."""
    try:
        network = address(text)
    except ValueError as error:
        return {"error": str(error)}
    held = [one for one in agent.state.mitigations.values() if one.active and meets(one.change.apply, network)]
    on = [row for row in _rows(agent) if overlap(address(row["address"]), network)]
    on += [_row(name, found, "feed", why) for name, found, why in followed.holding(agent, network)]
    return {
        "address": spoken(network),
        "listed": bool(on),
        "items": on,
        "policies": list(_alone(agent, network)),
        "in_force": [view.mitigation(agent, one, now, counters) for one in held[:100]],
    }


def _rows(agent: Agent) -> Iterator[dict[str, Any]]:
    for one in agent.state.lists.entries.values():
        yield _added(one)
    for line in agent.learnt.given:
        yield _row(NEVER, line.network, "agent.yaml" if line.why == CONFIGURED else "learnt", line.why, sure=line.sure)
    for name, networks in agent.settings.lists.items():
        for network in networks:
            yield _row(name, network, "agent.yaml", f"{name} in agent.yaml")
    for line in agent.learnt.lines[len(agent.learnt.given) :]:
        yield _row(NEVER, line.network, "always", line.why)


def _row(name: str, network: Network, source: str, why: str, *, sure: bool = True) -> dict[str, Any]:
    row = {"list": name, "address": spoken(network), "from": source, "why": why, "sure": sure}
    return row | {"by": None, "since": None, "until": None, "policies": []}


def _added(one: Entry) -> dict[str, Any]:
    row = _row(one.list, one.network, "added", one.why)
    return row | {"by": one.actor, "since": one.since, "until": one.until, "policies": list(one.policies)}


def _alone(agent: Agent, network: Network) -> Iterator[dict[str, str]]:
    """The policies that leave it alone beside the life-lines, each with the reason."""
    for name, policy in sorted(agent.policies.items()):
        line = lists.spared(agent, policy).touched(network) or lists.unless(agent, policy).touched(network)
        if line:
            yield {"policy": name, "because": f"{spoken(network)} {line.why}"}
