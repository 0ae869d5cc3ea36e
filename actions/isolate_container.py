"""Cut a container off from every network and freeze it, with all containers that share its network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from agent.action import CannotReach, Change, action
from agent.schema import About, Flag, Ttl, spell
from agent.systems.container_group import named
from agent.systems.containers import Containers, Found, Together


@action(impact="disruptive", within=10, mutes=("check *",))
class IsolateContainer:
    """Cut a container off from every network and freeze it, with all containers that share its network.

    It goes on where it stopped when the mitigation ends: processes, addresses and names as before; open connections are
    lost. With `keep_running` its processes are not frozen. A container that takes its place is isolated as well.
    """

    container: Annotated[str, About("its name or id", "web")]
    ttl: Ttl
    keep_running: Annotated[Flag, About("true: only its networks are taken, and its processes run on")] = False

    def plan(self, containers: Containers) -> list[Change]:
        """The fastest cut first, then what outlasts a restart; what is in force already is left out."""
        seen = containers.together(self.container, to_change=True)
        if seen.uncuttable and self.keep_running:
            why = "it has the host's network, and without cgroup v2 it cannot be cut off from it"
            raise CannotReach(f"cannot isolate {self.container} while it runs: {why}; leave out keep_running, and it is frozen")
        steps = [one for one in self._steps(containers, seen) if not containers.holds(one.verify)]
        return [replace(steps[0], capture=containers.everything(seen)), *steps[1:]] if steps else []

    def _steps(self, containers: Containers, seen: Together) -> Iterator[Change]:
        group, touches = seen.group, _touches(seen)
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        if not seen.uncuttable:
            yield Change(
                describe=f"cut {group} off from every network {lasting}{_warning(seen)}",
                apply=containers.cut(group=group),
                undo=containers.uncut(group=group),
                verify=containers.is_cut(group=group),
                touches=touches,
            )
        if not seen.on_host:
            yield Change(
                describe=f"drop everything inside the network of {group}, DNS through docker too, and end its open connections",
                apply=containers.silence(group=group),
                undo=containers.unsilence(group=group),
                verify=containers.is_silent(group=group),
                touches=touches,
            )
        if not self.keep_running:
            yield Change(
                describe=f"freeze every process of {group}{_warning(seen) if seen.uncuttable else ''}",
                apply=containers.pause(group=group),
                undo=containers.unpause(group=group, paused_before=seen.paused_before),
                verify=containers.is_paused(group=group, paused_before=seen.paused_before),
                touches=touches,
            )
        for one in seen.found:
            yield from _of_one(containers, one, touches)


def _of_one(containers: Containers, one: Found, touches: tuple[str, ...]) -> Iterator[Change]:
    """What docker itself keeps about a container, and what outlasts a restart."""
    who = one.who
    if one.restart != "no":
        yield Change(
            describe=f"have docker not restart {who.name} by itself (its policy is {one.restart})",
            apply=containers.forbid_restart(who=who),
            undo=containers.allow_restart(who=who, policy=one.restart),
            verify=containers.is_restart_forbidden(who=who, policy=one.restart),
            touches=touches,
        )
    for place in one.places:
        yield Change(
            describe=f"disconnect {who.name} from the network {place.name}",
            apply=containers.disconnect(who=who, place=place),
            undo=containers.connect(who=who, place=place),
            verify=containers.is_disconnected(who=who, place=place),
            touches=touches,
        )


def _touches(seen: Together) -> tuple[str, ...]:
    reaching = ("host",) if any(one.reaches for one in seen.found) else ()
    return (*(f"container {one.who.name}" for one in seen.found), *reaching)


def _warning(seen: Together) -> str:
    far = [f"{one.who.name}: {one.reaches}" for one in seen.found if one.reaches]
    said = f"; this host is compromised with it ({named(far)}), and no network holds it: see isolate_host" if far else ""
    if seen.uncuttable:
        said += "; it has the host's network and cannot be cut off from it without cgroup v2, only frozen"
    return said
