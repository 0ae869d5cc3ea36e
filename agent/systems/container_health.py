"""How containers do, by docker's own word: their health checks, and how often docker had to start them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.systems.container_api import Docker, inspect
from agent.systems.container_group import Seen, listed
from agent.systems.restart_counts import RestartCounts

if TYPE_CHECKING:
    from docker import APIClient

MOST: Final = 500
"""Containers that are asked about one by one."""
_SAID: Final = 160
"""Characters of what a failing health check said."""


@dataclass(frozen=True, slots=True)
class Health:
    """A container and its health check. `state` is docker's `healthy`, `unhealthy` or `starting`; `none` where it has no
    check; `absent` where there is no such container, and else why it has none now, as in `exited`."""

    name: str
    state: str
    failures: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Restarts:
    """A container, its state, and how often docker started it again by itself within the span that was asked about."""

    name: str
    state: str
    count: int


def healths(docker: Docker, names: Sequence[str]) -> list[Health]:
    """Of each named container, or of every one that has a health check and runs, where none is named."""
    with docker.to("ask for the health of containers") as api:
        everyone = {one.who.name: one for one in listed(api)}
        if names:
            return [_health(api, name, everyone.get(name)) for name in names[:MOST]]
        states = ("unhealthy", "starting", "healthy")
        ids = {state: [one["Id"] for one in api.containers(filters={"health": state})] for state in states}
        seen = {one.who.id: one for one in everyone.values()}
        sick = [_health(api, seen[one].who.name, seen[one]) for one in ids["unhealthy"][:MOST] if one in seen]
        rest = [Health(seen[one].who.name, state) for state in states[1:] for one in ids[state] if one in seen]
        return sorted([*sick, *rest], key=lambda one: one.name)


def _health(api: APIClient, name: str, seen: Seen | None) -> Health:
    attrs = inspect(api, seen.who.id) if seen else None
    if attrs is None:
        return Health(name, "absent")
    found: Mapping[str, Any] = attrs["State"].get("Health") or {}
    if not attrs["State"]["Running"]:
        return Health(name, attrs["State"]["Status"])
    last = (found.get("Log") or [{}])[-1].get("Output", "")
    return Health(name, found.get("Status") or "none", found.get("FailingStreak", 0), " ".join(last.split())[:_SAID])


def restarts(docker: Docker, names: Sequence[str], span: timedelta, counts: RestartCounts) -> list[Restarts]:
    """Of each named container, or of every one where none is named; counted from the first time it was asked about."""
    found = []
    with docker.to("ask how often containers were restarted") as api:
        everyone = listed(api)
        by_name = {one.who.name: one for one in everyone}
        counts.keep({one.who.id for one in everyone})
        for name in list(names or by_name)[:MOST]:
            seen = by_name.get(name)
            attrs = inspect(api, seen.who.id) if seen else None
            if attrs is not None:
                count = counts.note(attrs["Id"], int(attrs.get("RestartCount", 0)), span)
                found.append(Restarts(name, attrs["State"]["Status"], count))
            elif names:
                found.append(Restarts(name, "absent", 0))
    return found
