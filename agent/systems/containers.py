"""Docker's containers: cutting them off from every network, freezing them, and giving everything back as it was.

What holds is looked up in the kernel, never in docker's word alone. Containers are known by id, by name and by their place
with compose or swarm, so that whoever takes the place of one that is isolated is isolated too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agent.action import Call, CannotReach, Holds, call
from agent.systems import container_cut as kernel
from agent.systems import container_evidence as evidence
from agent.systems import container_native, container_networks
from agent.systems.container_api import RUNS, WITHIN, Docker, inspect
from agent.systems.container_commands import PACKAGES, program
from agent.systems.container_events import follow
from agent.systems.container_group import (
    SHORTEST,
    Group,
    Seen,
    Who,
    entered,
    find,
    grouped,
    listed,
    reach,
    readable,
    refuse_protected,
    together,
)
from agent.systems.container_health import Health, Restarts, healths, restarts
from agent.systems.container_isolation import PAUSED, Isolation
from agent.systems.container_networks import Place, places
from agent.systems.restart_counts import RestartCounts

SOCKET: Final = "/run/docker.sock"
PROTECTED: Final = "containment.protect"


@dataclass(frozen=True, slots=True)
class Found:
    """A container as it is now. `restart` is docker's policy, as in `always` or `on-failure:3`; `reaches` says why no network
    is a border for it, and is empty for most."""

    who: Who
    state: str
    restart: str
    places: tuple[Place, ...]
    reaches: str = ""

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        return self.state in RUNS


@dataclass(frozen=True, slots=True)
class Together:
    """A container with all that share its network: the one that was asked for comes first.

    `on_host` where that is the host's own; `uncuttable` where the kernel cannot tell its packets from the host's there.
    `paused_before` are the ids of those that somebody else has paused.
    """

    group: Group
    found: tuple[Found, ...]
    on_host: bool
    uncuttable: bool
    paused_before: tuple[str, ...]


class Containers(Isolation):
    """The containers of one dockerd, as root: whoever may use its socket is root anyway, and only root enters networks."""

    name = "containers"
    rights = "`systems: {docker: {}}`, docker's socket (docker.conf), and root to enter networks (root.conf)"

    def __init__(self, socket: str = SOCKET, protected_label: str = PROTECTED, within: timedelta = WITHIN) -> None:
        super().__init__(Docker(socket, within.total_seconds()), protected_label)
        self._counts = RestartCounts()

    def population(self) -> Mapping[str, Sequence[str]]:
        """The containers that run now, by id."""
        with self._docker.to("count the containers") as api:
            return {"container": [one["Id"] for one in api.containers()]}

    # Reading ----------------------------------------------------------------------------------------------------------------

    def together(self, container: str, *, to_change: bool = False) -> Together:
        """The container of that name or id (twelve digits at least), with all that share its network.

        Raises:
            NoSuchContainer: docker knows none, or several.
            Protected: it is asked for `to_change` it, and the agent runs in one of them, or one is never to be touched.
        """
        readable(container)
        with ExitStack() as held, self._docker.to(f"look at the container {container}") as api:
            everyone = listed(api)
            first = find(everyone, container)
            networks = {one.network for one in entered(api, [first], held) if not one.on_host}
            seen = together(everyone, first, networks)
            running = entered(api, seen, held)
            if to_change:
                refuse_protected(seen, running, self._label)
            found = tuple(one for one in (_found(api, each) for each in seen) if one)
            shared = [one for one in running if one.on_host]
            known = self._held.meaning(first)  # it took a place that is isolated: its undo must not outlive that one's
            group = known or grouped(seen)
            ours = known or kernel.marked(group.key, PAUSED)
            paused = tuple(one.who.id for one in found if one.state == "paused" and not ours)
            return Together(group, found, bool(shared), any(kernel.group_of(one) is None for one in shared), paused)

    def gateways(self) -> list[tuple[str, str]]:
        """The gateway of every network with the network's name: docker-proxy has containers see it in place of the client.

        Raises:
            CannotReach: docker does not say.
        """
        with self._docker.to("list docker's networks") as api:
            configured = [(one["Name"], one.get("IPAM", {}).get("Config") or ()) for one in api.networks()]
        return [(each["Gateway"].partition("/")[0], name) for name, every in configured for each in every if each.get("Gateway")]

    def holds(self, verify: Call) -> bool:
        """Whether what a verify asks for holds whole, now.

        Raises:
            CannotReach: it could not be asked.
        """
        (answer,) = self.perform([verify])
        if answer.error:
            raise answer.error
        return answer.value is True

    def ping(self, within: timedelta) -> timedelta:
        """How long docker takes to answer.

        Raises:
            CannotReach: it does not, `within`.
        """
        started = time.monotonic()
        with self._limited(within).to("reach docker") as api:
            api.ping()
        return timedelta(seconds=time.monotonic() - started)

    def healths(self, names: Sequence[str], within: timedelta) -> list[Health]:
        """The health checks of these containers, or of all that have one and run where none is named.

        Raises:
            CannotReach: docker does not answer a question `within`.
        """
        return healths(self._limited(within), names)

    def restarts(self, names: Sequence[str], span: timedelta, within: timedelta) -> list[Restarts]:
        """How often docker started these containers again by itself in the span, or all; counted from the first question.

        Raises:
            CannotReach: docker does not answer a question `within`.
        """
        return restarts(self._limited(within), names, span, self._counts)

    def _limited(self, within: timedelta) -> Docker:
        return Docker(self._docker.socket, within.total_seconds())

    def ready(self) -> str:
        """Nothing when containers can be isolated; else a sentence that says why not, and the mend."""
        try:
            for name in PACKAGES:
                program(name)
            with self._docker.to("isolate containers") as api:
                api.ping()
        except CannotReach as error:
            return str(error)
        return "" if os.geteuid() == 0 else "cannot isolate containers: only root enters their networks; run the agent as root"

    def watch(self, tell: Callable[[str], None]) -> None:
        """Tell, from a thread of its own, when a container that is held, or one in its place, starts, goes on, is connected
        or updated. What is held is what was asked about and was there. A docker that is not there costs one look a minute."""
        threading.Thread(target=follow, args=(self._docker, self._held, tell), name="container-events", daemon=True).start()

    # Restarts ---------------------------------------------------------------------------------------------------------------

    @call
    def forbid_restart(self, who: Who) -> None:
        """Have docker not start the container again by itself."""
        self._refuse_protected(who)
        self._restart(who, "no")

    @call
    def allow_restart(self, who: Who, policy: str) -> None:
        """Give it back the restart policy that it had, where nobody gave it another meanwhile."""
        if self._is_restart_forbidden(who, policy) is True:
            self._restart(who, policy)

    @call
    def is_restart_forbidden(self, who: Who, policy: str) -> bool | Holds:
        """Whether docker lets it be when it ends."""
        return self._is_restart_forbidden(who, policy)

    def _is_restart_forbidden(self, who: Who, policy: str) -> bool | Holds:
        with self._docker.to(f"ask for the restart policy of {who.name}") as api:
            attrs = inspect(api, who.id)
        if attrs is None:
            return Holds("no", f"the container {who.name} is gone")
        now = _policy(attrs)
        if now in ("no", policy):
            return now == "no"
        return Holds("no", f"the restart policy of {who.name} is {now} now; it was {policy}")

    def _restart(self, who: Who, policy: str) -> None:
        name, _, count = policy.partition(":")
        with self._docker.to(f"set the restart policy of {who.name}") as api:
            attrs = inspect(api, who.id)
            if attrs is not None and _policy(attrs) != policy:
                api.update_container(who.id, restart_policy={"Name": name, "MaximumRetryCount": int(count or 0)})

    # Networks ---------------------------------------------------------------------------------------------------------------

    @call
    def disconnect(self, who: Who, place: Place) -> None:
        """Take the container out of a docker network, which outlasts its restart and docker's."""
        self._refuse_protected(who)
        container_networks.leave(self._docker, who, place)

    @call
    def connect(self, who: Who, place: Place) -> None:
        """Put it back, with the addresses and names it had been given."""
        container_networks.return_to(self._docker, who, place)

    @call
    def is_disconnected(self, who: Who, place: Place) -> bool | Holds:
        """Whether it has left the network, also as the kernel sees it."""
        return container_networks.is_out(self._docker, who, place)

    def _refuse_protected(self, who: Who) -> None:
        with self._allowed(Group(who.id[:SHORTEST], (who,)), f"look at the container {who.name}"):
            pass

    # Evidence ---------------------------------------------------------------------------------------------------------------

    def everything(self, seen: Together) -> tuple[Call, ...]:
        """The calls that show all there is to see of them: what vanishes first comes first."""
        everyone, running = [one.who for one in seen.found], [one.who for one in seen.found if one.runs]
        calls = [self.network_state(who=one) for one in running[:1]]  # they share it
        calls += [take(who=one) for take in (self.processes, self.usage) for one in running]
        return (*calls, *(take(who=one) for take in (self.attributes, self.logs, self.changed_files) for one in everyone))

    @call
    def network_state(self, who: Who) -> dict[str, str]:
        """Sockets, addresses, routes, neighbours and rules in its network."""
        return evidence.network_state(self._docker, who)

    @call
    def processes(self, who: Who) -> Any:
        """Its processes."""
        return evidence.processes(self._docker, who)

    @call
    def attributes(self, who: Who) -> Any:
        """All that docker knows of it."""
        return evidence.attributes(self._docker, who)

    @call
    def usage(self, who: Who) -> Any:
        """What it uses at this moment."""
        return evidence.usage(self._docker, who)

    @call
    def logs(self, who: Who) -> bytes:
        """What it wrote last: 5,000 lines, 4 MiB."""
        return evidence.logs(self._docker, who)

    @call
    def changed_files(self, who: Who) -> bytes:
        """What differs from its image, as docker says it."""
        return evidence.changed_files(self._docker, who)

    def native(self, one: Call) -> str:
        """The docker commands, nft rules and command lines that a call comes to."""
        return container_native.native(one) or super().native(one)


def _found(api: Any, seen: Seen) -> Found | None:
    attrs = inspect(api, seen.who.id)
    if attrs is None:
        return None
    return Found(seen.who, attrs["State"]["Status"], _policy(attrs), tuple(places(attrs)), reach(attrs))


def _policy(attrs: Mapping[str, Any]) -> str:
    given = attrs["HostConfig"].get("RestartPolicy") or {}
    count = given.get("MaximumRetryCount") or 0
    return f"{given.get('Name') or 'no'}{f':{count}' if count else ''}"
