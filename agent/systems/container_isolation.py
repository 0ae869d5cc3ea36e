"""Isolating containers that share a network: cut off at the host, silent inside, frozen. Each verb acts on whoever is meant now.

A restart takes the rules away, and thaws. What stays in the kernel is a table of the container's: it says what is to be
done as soon as it runs again, to it or to whoever has its place by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from agent.action import CannotReach, Holds, System, call
from agent.systems import container_cut as kernel
from agent.systems.container_api import Docker
from agent.systems.container_events import Held
from agent.systems.container_group import Group, Present, present, refuse_protected
from agent.systems.container_netns import Inside

SILENT: Final = "silent"
PAUSED: Final = "paused"
_SO_ALREADY: Final = re.compile(r"is not paused|already paused|is not running|No such container")
"""What docker 20.10 says with status 500, 409 or 404 where there is nothing to be done."""
_TRIES: Final = 3
"""Times that rules are laid where an interface vanishes while they are written."""


class Isolation(System):
    """The verbs that act on containers with one network. `label` marks those that are never to be touched."""

    def __init__(self, docker: Docker, label: str) -> None:
        self._docker = docker
        self._label = label
        self._held = Held()

    # At the host ------------------------------------------------------------------------------------------------------------

    @call
    def cut(self, group: Group) -> None:
        """Drop everything that these containers send and get, whatever addresses they use."""
        with self._allowed(group, f"cut {group} off") as now:
            for left in reversed(range(_TRIES)):
                there = kernel.ends(now.running)
                try:
                    kernel.lay(group.key, there)
                    break
                except CannotReach:
                    if not left:
                        raise
            kernel.end_connections(there.cgroups)

    @call
    def uncut(self, group: Group) -> None:
        """Let everything through again."""
        kernel.take_away(group.key)

    @call
    def is_cut(self, group: Group) -> bool | Holds:
        """Whether the kernel drops at every end that these containers have now."""
        cut = kernel.look(group.key)
        with present(self._docker, group, f"see whether {group} is cut off") as now:
            lacking = kernel.missing(kernel.ends(now.running), cut) if cut.there else []
            return self._judged(group, now, [cut.there], lacking)

    # Inside its network -----------------------------------------------------------------------------------------------------

    @call
    def silence(self, group: Group) -> None:
        """Drop everything inside their networks, docker's resolver too, and end the connections that are open."""
        with self._allowed(group, f"silence {group}") as now:
            kernel.mark(group.key, SILENT)
            for one in _networks(now.running):
                one.silence()

    @call
    def unsilence(self, group: Group) -> None:
        """Take our rules out of their networks; the connections that were ended stay so."""
        with present(self._docker, group, f"let {group} talk again") as now:
            for one in _networks(now.running):
                one.unsilence()
        kernel.unmark(group.key, SILENT)

    @call
    def is_silent(self, group: Group) -> bool | Holds:
        """Whether our rules are in all their networks, and no connection is open."""
        marked = kernel.marked(group.key, SILENT)
        with present(self._docker, group, f"see whether {group} is silent") as now:
            silent = {one: one.silent() for one in _networks(now.running)}
            lacking = [f"the network of {one.name} lacks our rules" for one, holds in silent.items() if not holds]
            still = ((one.name, one.established()) for one in silent)
            lacking += [f"{name} has {count} connections open that the kernel did not end" for name, count in still if count]
            return self._judged(group, now, [marked, *silent.values()], lacking)

    # Frozen -----------------------------------------------------------------------------------------------------------------

    @call
    def pause(self, group: Group) -> None:
        """Freeze every process of these containers."""
        with self._allowed(group, f"pause {group}") as now:
            kernel.mark(group.key, PAUSED)
            awake = [one.id for one in now.running if not one.frozen()]
        self._each(awake, "pause", group)

    @call
    def unpause(self, group: Group, paused_before: tuple[str, ...]) -> None:
        """Let their processes go on; those that somebody else had paused before, by id, stay so."""
        with present(self._docker, group, f"unpause {group}") as now:
            frozen = [one.id for one in now.running if one.id not in paused_before and one.frozen()]
        self._each(frozen, "unpause", group)
        kernel.unmark(group.key, PAUSED)

    @call
    def is_paused(self, group: Group, paused_before: tuple[str, ...]) -> bool | Holds:
        """Whether the kernel holds every process of these containers."""
        marked = kernel.marked(group.key, PAUSED)
        with present(self._docker, group, f"see whether {group} is paused") as now:
            frozen = {one: one.frozen() for one in now.running}
            lacking = [f"{one.name} runs" for one, holds in frozen.items() if not holds]
            lacking += [f"{one.name} {_SHARES}" for one in frozen if one.on_host and kernel.group_of(one) is None]
            ours = [holds for one, holds in frozen.items() if one.id not in paused_before]
            return self._judged(group, now, [marked, *ours], lacking)

    def _each(self, containers: Sequence[str], verb: str, group: Group) -> None:
        from docker.errors import APIError

        with self._docker.to(f"{verb} {group}") as api:
            for one in containers:
                try:
                    (api.pause if verb == "pause" else api.unpause)(one)
                except APIError as error:
                    if not _SO_ALREADY.search(str(error)):
                        raise

    # What all of them share -------------------------------------------------------------------------------------------------

    @contextmanager
    def _allowed(self, group: Group, what: str) -> Iterator[Present]:
        """Who is meant now, none of them protected."""
        with present(self._docker, group, what) as now:
            refuse_protected(now.all, now.running, self._label)
            yield now

    def _judged(self, group: Group, now: Present, signs: Sequence[bool], lacking: Sequence[str]) -> bool | Holds:
        """Whether it holds: the first sign is what says so in the kernel, the others what it says about who runs."""
        self._held.note(group, holds=any(signs))
        if not any(signs):
            return _nothing(group, now)
        missing = [*lacking, *([] if signs[0] else [f"the mark for {group} is gone from nft"])]
        return Holds("partly", "; ".join(missing)) if missing else True


_SHARES: Final = "shares the host's network, where nothing tells its packets from others: it cannot be cut off without cgroup v2"


def _networks(running: Iterable[Inside]) -> list[Inside]:
    """One container of each network; those on the host's own left out."""
    return list({one.network: one for one in running if not one.on_host}.values())


def _nothing(group: Group, now: Present) -> bool | Holds:
    if not now.all:
        return Holds("no", f"{group} is gone: docker knows no such container any more")
    if not now.running:
        return Holds("no", f"{group} does not run")
    return False
