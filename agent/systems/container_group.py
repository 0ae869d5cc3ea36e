"""Which containers are meant: the one that is named, those that share its network, and whoever takes their place later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach, Protected
from agent.systems.container_api import Docker, NoSuchContainer, inspect
from agent.systems.container_netns import Inside, inside, members, ours

if TYPE_CHECKING:
    from docker import APIClient

SHORTEST: Final = 12
"""Digits of an id that name a container: docker's own short form."""
_HEX: Final = re.compile(r"[0-9a-f]{12,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_SHARED: Final = "container:"
_FAR: Final = frozenset({"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF"})
"""Capabilities with which a container reaches the host (capabilities(7)); NET_ADMIN only where it has the host's network."""
_DOORS: Final = ("/", "/dev", "/proc", "/run", "/var/run")
"""Directories of the host through which a container gets at its devices, its processes or docker's socket."""


@dataclass(frozen=True, slots=True)
class Who:
    """A container: its whole id, its name, and its `place` where compose or swarm would fill it again."""

    id: str
    name: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Containers that share one network. `key` names what is left in the kernel for them: the first twelve digits of an id."""

    key: str
    members: tuple[Who, ...]

    def __str__(self) -> str:
        return named(one.name for one in self.members)


@dataclass(frozen=True, slots=True)
class Seen:
    """A container in docker's list."""

    who: Who
    mode: str
    labels: Mapping[str, str]


def named(names: Iterable[str]) -> str:
    """Names as people say them: `a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def listed(api: APIClient) -> list[Seen]:
    """Every container, whatever its state."""
    return [_seen(one) for one in api.containers(all=True)]


def _seen(one: Mapping[str, Any]) -> Seen:
    own = [name[1:] for name in one.get("Names") or () if name.count("/") == 1]  # /a/b is what a linked container calls it
    labels = one.get("Labels") or {}
    who = Who(one["Id"], own[0] if own else one["Id"][:SHORTEST], place_of(labels))
    return Seen(who, (one.get("HostConfig") or {}).get("NetworkMode", ""), labels)


def place_of(labels: Mapping[str, str]) -> str:
    """What its orchestrator calls the place that a container fills; nothing where it has none.

    Compose numbers the containers of a service. A task of swarm is called `<service>.<slot>.<task>`, and its replacement
    bears the same service and slot.
    """
    if labels.get("com.docker.compose.oneoff", "").lower() == "true":  # `compose run`: nothing takes its place
        return ""
    project, service = labels.get("com.docker.compose.project"), labels.get("com.docker.compose.service")
    if project and service:
        return f"compose {project}/{service}/{labels.get('com.docker.compose.container-number', '1')}"
    task = labels.get("com.docker.swarm.task.name", "")
    return f"swarm {task.rpartition('.')[0]}" if labels.get("com.docker.swarm.service.name") and "." in task else ""


def readable(given: str) -> None:
    """Refuse what no container can be called, before it stands in any sentence.

    Raises:
        NoSuchContainer: it is no name, and no id.
    """
    if not _NAME.fullmatch(given):
        raise NoSuchContainer(f"cannot find the container {given[:40]!r}: no container can have that name or id")


def find(everyone: Sequence[Seen], given: str) -> Seen:
    """The container of that name or id; at least twelve digits of an id.

    Raises:
        NoSuchContainer: there is none, or several ids begin like that.
    """
    exact = [one for one in everyone if given in (one.who.id, one.who.name)]
    found = exact or [one for one in everyone if _HEX.fullmatch(given) and one.who.id.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchContainer(f"cannot find the container {given}: {len(found)} ids begin like that; give all 64 digits")
    short = "; an id needs at least twelve digits" if re.fullmatch(r"[0-9a-f]{4,11}", given) else "; docker ps --all names them"
    raise NoSuchContainer(f"cannot find the container {given}: docker knows none of that name or id{short}")


def together(everyone: Sequence[Seen], first: Seen, networks: set[int]) -> list[Seen]:
    """The container and all that share its network, running or not; `networks` are those that its processes are in."""
    found = {first.who.id: first}
    inside_it = members(networks) if networks else set()
    found |= {one.who.id: one for one in everyone if one.who.id in inside_it}
    grown = True
    while grown:
        more = [one for one in everyone if one.who.id not in found and (_owner(one) in found or _joined_by(one, found.values()))]
        found |= {one.who.id: one for one in more}
        grown = bool(more)
    return list(found.values())


def _owner(one: Seen) -> str:
    """The id of the container whose network it uses."""
    return one.mode.removeprefix(_SHARED) if one.mode.startswith(_SHARED) else ""


def _joined_by(one: Seen, others: Iterable[Seen]) -> bool:
    return any(_owner(other) == one.who.id for other in others)


def grouped(found: Sequence[Seen]) -> Group:
    """The group of containers that belong together. Its key is that of the one whose network it is."""
    owner = next((one for one in found if not _owner(one)), found[0])
    return Group(owner.who.id[:SHORTEST], tuple(one.who for one in found))


def meant(everyone: Sequence[Seen], group: Group) -> list[Seen]:
    """Those of the group, and those in their places now: of the same name, or the same place with compose or swarm."""
    ids, names = {one.id for one in group.members}, {one.name for one in group.members}
    places = {one.place for one in group.members if one.place}
    return [one for one in everyone if one.who.id in ids or one.who.name in names or one.who.place in places]


# Those that run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Present:
    """The containers that a group means now: all of them, and those that run, held on to."""

    all: tuple[Seen, ...]
    running: tuple[Inside, ...]


@contextmanager
def present(docker: Docker, group: Group, what: str) -> Iterator[Present]:
    """Who is meant by a group now, with all who are in their networks by now.

    Raises:
        CannotReach: docker does not say, or the agent may not look.
    """
    with ExitStack() as held:
        with docker.to(what) as api:
            everyone = listed(api)
            found = {one.who.id: one for one in meant(everyone, group)}
            running = entered(api, list(found.values()), held)
            inside_it = members({one.network for one in running if not one.on_host})
            late = [one for one in everyone if one.who.id in inside_it and one.who.id not in found]
            running += entered(api, late, held)
        yield Present((*found.values(), *late), tuple(running))


def entered(api: APIClient, found: Iterable[Seen], held: ExitStack) -> list[Inside]:
    """Those that run, held on to until `held` closes.

    Raises:
        CannotReach: docker says that one runs, and its process is not to be seen: it may be anywhere.
    """
    running = []
    for one in found:
        pid = _process(api, one)  # docker's list lags behind its own events; this does not
        into = held.enter_context(inside(one.who.id, one.who.name, pid)) if pid else None
        if into:
            running.append(into)
        elif pid and pid == _process(api, one):
            why = f"docker says that it runs as process {pid}, which has left its cgroup or is not to be seen from here"
            raise CannotReach(f"cannot look into {one.who.name}: {why}; the agent runs on the host itself, as root")
    return running


def _process(api: APIClient, one: Seen) -> int:
    attrs = inspect(api, one.who.id)
    return int(attrs["State"]["Pid"]) if attrs else 0


# What must not be touched, and what reaches further ---------------------------------------------------------------------------


def refuse_protected(found: Iterable[Seen], running: Iterable[Inside], label: str) -> None:
    """Raise where one of them must never be touched.

    Raises:
        Protected: the agent runs in it, or it bears the label.
    """
    for own in running:
        if ours(own):
            raise Protected(f"cannot isolate {own.name}: the agent itself runs in it")
    for one in found:
        if label in one.labels and one.labels[label].lower() != "false":
            raise Protected(f"cannot isolate {one.who.name}: its label {label} says that it is never to be touched")


def reach(attrs: Mapping[str, Any]) -> str:
    """Why a container reaches the host past any network, as part of a sentence; nothing where it does not."""
    host = attrs.get("HostConfig") or {}
    if host.get("Privileged"):
        return "it is privileged"
    added = {one.removeprefix("CAP_") for one in host.get("CapAdd") or ()}
    far = sorted(added & (_FAR | ({"NET_ADMIN"} if host.get("NetworkMode") == "host" else set())))
    if far:
        return f"it has {', '.join(far)}"
    if host.get("PidMode") == "host":
        return "it sees the host's processes"
    return next(filter(None, (_door(one) for one in attrs.get("Mounts") or ())), "")


def _door(mount: Mapping[str, Any]) -> str:
    source = str(mount.get("Source", "")).rstrip("/") or "/"
    if source.endswith(("/docker.sock", "/containerd.sock", "/podman.sock", "/crio.sock")):
        return f"it holds {source}"
    return f"it has the host's {source}" if mount.get("Type") == "bind" and source in _DOORS else ""
