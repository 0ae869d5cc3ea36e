"""A container's place in one docker network: read whole, so that it can be left and taken again exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach, Holds
from agent.systems.container_api import Docker, inspect
from agent.systems.container_group import SHORTEST, Who
from agent.systems.container_netns import inside

if TYPE_CHECKING:
    from docker import APIClient

_NO_PLACE: Final = ("none", "host")
_MAC_PER_NETWORK: Final = (1, 44)
"""The API since which a MAC address belongs to the place in a network; before, dockerd keeps the container's by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """What docker was told about a container in a network. An address it was not told is given out anew each time."""

    network: str
    name: str
    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    mac: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def told(self) -> str:
        """The addresses it was given by name."""
        return " and ".join(one for one in (self.ipv4, self.ipv6) if one)


def places(attrs: Mapping[str, Any]) -> list[Place]:
    """A container's places in networks, by the networks' names; those that are no networks left out."""
    networks = attrs["NetworkSettings"]["Networks"] or {}
    return [_place(attrs, name, networks[name]) for name in sorted(networks) if name not in _NO_PLACE]


def _place(attrs: Mapping[str, Any], name: str, seen: Mapping[str, Any]) -> Place:
    told = seen.get("IPAMConfig") or {}
    mac = attrs["Config"].get("MacAddress") or ""
    return Place(
        network=seen.get("NetworkID") or name,
        name=name,
        ipv4=told.get("IPv4Address") or "",
        ipv6=told.get("IPv6Address") or "",
        link_local=tuple(told.get("LinkLocalIPs") or ()),
        aliases=tuple(one for one in seen.get("Aliases") or () if one != attrs["Id"][:SHORTEST]),  # docker adds that itself
        links=tuple(seen.get("Links") or ()),
        options=tuple(sorted((seen.get("DriverOpts") or {}).items())),
        mac=mac if mac == seen.get("MacAddress") else "",
    )


def leave(docker: Docker, who: Who, place: Place) -> None:
    """Take the container out of the network; nothing where it is not in it.

    Raises:
        CannotReach: docker says no.
    """
    from docker.errors import APIError

    with docker.to(f"disconnect {who.name} from {place.name}") as api:
        attrs = inspect(api, who.id)
        if attrs is None or _found(attrs, place) is None:
            return
        try:
            api.disconnect_container_from_network(who.id, place.network, force=False)
        except APIError as error:
            if "is not connected" not in str(error):
                raise


def return_to(docker: Docker, who: Who, place: Place) -> None:
    """Put the container back where it was; nothing where it is there already, however it got there, or is gone.

    Raises:
        CannotReach: the network is gone, or docker says no.
    """
    with docker.to(f"reconnect {who.name} to {place.name}") as api:
        attrs = inspect(api, who.id)
        if attrs is None or _found(attrs, place) is not None:
            return
        network = _network(api, place)
        if network is None:
            mend = f"make it again (docker network create {place.name}), then undo this once more"
            raise CannotReach(f"cannot reconnect {who.name} to {place.name}: that network is gone; {mend}")
        _connect(api, who, network, place)


def _network(api: APIClient, place: Place) -> str | None:
    """The network's id; that of one with its name, where it was made anew."""
    everywhere = api.networks()
    same = [one["Id"] for one in everywhere if one["Id"] == place.network]
    again = [one["Id"] for one in everywhere if one["Name"] == place.name]
    return next(iter(same or again), None)


def _connect(api: APIClient, who: Who, network: str, place: Place) -> None:
    from docker.errors import APIError

    addresses = {"ipv4_address": place.ipv4, "ipv6_address": place.ipv6, "link_local_ips": list(place.link_local)}
    given: dict[str, Any] = {
        "aliases": list(place.aliases),
        "links": [(name, alias) for name, _, alias in (one.partition(":") for one in place.links)],
        "driver_opt": dict(place.options),
        "mac_address": place.mac if _version(api) >= _MAC_PER_NETWORK else "",
    }
    try:
        api.connect_container_to_network(who.id, network, **_only({**given, **addresses}))
    except APIError as error:
        if "already in use" in str(error).lower() and place.told:
            api.connect_container_to_network(who.id, network, **_only(given))
        elif "already exists in network" not in str(error):  # somebody was quicker
            raise


def _only(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value}


def _version(api: APIClient) -> tuple[int, ...]:
    return tuple(map(int, api.api_version.split(".")))


def is_out(docker: Docker, who: Who, place: Place) -> bool | Holds:
    """Whether the container has left the network, also as its kernel sees it; docker's word alone is not enough."""
    with docker.to(f"see whether {who.name} is in {place.name}") as api:
        attrs = inspect(api, who.id)
    if attrs is None:
        return Holds("no", f"the container {who.name} is gone")
    now = _found(attrs, place)
    if now is None:
        left = _left_inside(attrs, who)
        return Holds("partly", f"docker says that {who.name} has left {place.name}, yet it still has {left}") if left else True
    if (now.ipv4, now.ipv6) == (place.ipv4, place.ipv6):
        return False
    instead = f"instead of {place.told}" if place.told else "that it had not been told before"
    return Holds("no", f"{who.name} is in {place.name}, with {now.told or 'another address'} {instead}")


def _found(attrs: Mapping[str, Any], place: Place) -> Place | None:
    return next((one for one in places(attrs) if one.network == place.network or one.name == place.name), None)


def _left_inside(attrs: Mapping[str, Any], who: Who) -> str:
    """Interfaces beyond those of the networks that docker tells of."""
    with inside(attrs["Id"], who.name, attrs["State"]["Pid"]) as running:
        if running is None or running.on_host:
            return ""
        links = [one.name for one in running.links()]
    return ", ".join(links) if len(links) > len(places(attrs)) else ""
