"""This host, asked fresh every time: its addresses, its ways out, who is logged in over ssh, and its file systems."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import islice
from pathlib import Path
from typing import Final

from agent.action import CannotReach, System
from agent.systems import sock_diag

_GATEWAY: Final = 0x2  # RTF_GATEWAY of linux/route.h
_MOST_LINES: Final = 10_000
_RESOLVERS: Final = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
"""The second names the real servers behind systemd-resolved's 127.0.0.53."""


@dataclass(frozen=True, slots=True)
class Lifeline:
    """A network that no plan may touch, and what it is, for the refusal: `a gateway of this host, on eth0`.

    It is not `sure` where a stranger could have brought it about, by connecting.
    """

    network: IPv4Network | IPv6Network
    why: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Mount:
    """A local file system that can fill up. Sizes in bytes; `free` is what is free for ordinary users, as in df(1)."""

    path: str
    size: int
    free: int
    inodes: int
    inodes_free: int


class Host(System):
    """What this host is. Only reads."""

    name = "host"

    def __init__(self, logind: Path = Path("/run/systemd"), pam: Path = Path("/etc/pam.d")) -> None:
        self._logind, self._pam = logind, pam

    def lifelines(self, ssh_ports: Iterable[int] = (22,)) -> list[Lifeline]:
        """Own addresses, gateways, name servers, and the people who are logged in over ssh. About 1 ms.

        A connection alone makes no life-line where the host knows who logged in: otherwise a password guesser would be
        protected for as long as it is connected.

        Raises:
            CannotReach: the kernel does not say; then nobody may act on addresses.
        """
        try:
            found = [*_own_addresses(), *_gateways(), *resolvers(), *self._ssh_peers(ssh_ports)]
        except OSError as error:
            raise CannotReach(f"cannot learn this host's life-lines: {error}") from error
        first: dict[IPv4Network | IPv6Network, Lifeline] = {}
        for line in found:
            first.setdefault(line.network, line)
        return list(first.values())

    def mounts(self, path: str = "") -> list[Mount]:
        """Every local, writable file system once, or only the one that `path` lies on.

        Raises:
            CannotReach: `path` does not exist.
        """
        if not path:
            return list(filter(None, map(_sizes, _mount_points())))
        found = _sizes(path)
        if found is None:
            raise CannotReach(f"cannot look at {path}: no such place, or no right to see it")
        return [found]

    def _ssh_peers(self, ports: Iterable[int]) -> Iterator[Lifeline]:
        connected = [(peer, port) for port in ports for peer in sock_diag.peers(port)]
        logged_in = self._logged_in() if connected else None
        for peer, port in connected:
            if logged_in is None:
                why = f"connected to ssh port {port}, and this host keeps no list of who is logged in"
                yield Lifeline(ipaddress.ip_network(peer), why, sure=False)
            elif peer in logged_in:
                yield _line(peer, f"logged in over ssh, on port {port}")

    def _logged_in(self) -> set[sock_diag.Peer] | None:
        """The addresses of remote logins through PAM, or None where this host keeps no such list.

        logind keeps it if it runs (then it has a seat) and if PAM tells it. Its files are what sd_session_get_remote_host(3)
        reads, and anybody may.
        """
        seats, services = (self._logind / "seats").glob("*"), self._pam.glob("*")
        if not any(seats) or not any("pam_systemd.so" in line for file in services for line in _lines(file)):
            return None
        sessions = [dict(line.partition("=")[::2] for line in _lines(file)) for file in (self._logind / "sessions").glob("*")]
        try:
            hosts = [one["REMOTE_HOST"].partition("%")[0] for one in sessions if "REMOTE_HOST" in one]
            return {sock_diag.plain(ipaddress.ip_address(host)) for host in hosts}
        except ValueError:  # names instead of addresses: `UseDNS yes` in sshd_config
            return None


def _line(address: sock_diag.Peer, why: str) -> Lifeline:
    return Lifeline(ipaddress.ip_network(address), why)


# Addresses ------------------------------------------------------------------------------------------------------------


def _own_addresses() -> Iterator[Lifeline]:
    import psutil

    for interface, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family in (2, 10):  # AF_INET, AF_INET6
                yield _line(ipaddress.ip_address(one.address.partition("%")[0]), f"an address of this host, on {interface}")


def _gateways() -> Iterator[Lifeline]:
    """Every gateway of the main routing table. IPv6 gateways are mostly link-local, and blocking one cuts the host off."""
    for line in _lines(Path("/proc/net/route"))[1:]:
        interface, _, gateway, flags, *_ = line.split()
        if int(flags, 16) & _GATEWAY:
            yield _line(sock_diag.read_hex(gateway), f"a gateway of this host, on {interface}")
    for line in _lines(Path("/proc/net/ipv6_route")):
        *_, gateway, _metric, _users, _uses, flags, interface = line.split()
        if int(flags, 16) & _GATEWAY:
            yield _line(ipaddress.ip_address(bytes.fromhex(gateway)), f"a gateway of this host, on {interface}")


def resolvers(files: Iterable[str] = _RESOLVERS) -> Iterator[Lifeline]:
    """The name servers of this host."""
    for path in files:
        for words in map(str.split, _lines(Path(path))):
            if words[:1] == ["nameserver"] and (server := _address(*words[1:2])):
                yield _line(server, f"a name server of this host, in {path}")


def _address(text: str = "") -> sock_diag.Peer | None:
    """An address without its zone; what is none is passed over, as glibc does."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _lines(path: Path) -> list[str]:
    if not path.is_file():  # also: among logind's files lie pipes, and opening one would wait for ever
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in islice(file, _MOST_LINES)]


# File systems ---------------------------------------------------------------------------------------------------------


def _mount_points() -> list[str]:
    """Where the local, writable file systems are mounted; the shortest place of each, and `/` whatever it is on.

    Whether one is writable is asked of the file system, not of the mount: inside a unit with ProtectSystem=strict every
    mount is read-only. Fields of /proc/self/mountinfo: proc_pid_mountinfo(5).
    """
    without_disk = {line.split()[1] for line in _lines(Path("/proc/filesystems")) if line.startswith("nodev")} - {"zfs"}
    places: dict[str, tuple[str, str, str]] = {}
    for line in _lines(Path("/proc/self/mountinfo")):
        left, _, right = line.partition(" - ")
        kind, source, options = right.split(" ")[:3]
        place = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), left.split(" ")[4])
        places[place] = kind, source, options  # a later mount hides an earlier one at the same place
    found: dict[str, str] = {}
    for place, (kind, source, options) in sorted(places.items(), key=lambda one: len(one[0])):
        if place == "/" or (kind not in without_disk and "ro" not in options.split(",")):
            found.setdefault(source, place)
    return sorted(found.values())


def _sizes(path: str) -> Mount | None:
    try:
        seen = os.statvfs(path)
    except OSError:  # hidden from us, or unmounted in this moment
        return None
    unit = seen.f_frsize
    used = (seen.f_blocks - seen.f_bfree) * unit
    return Mount(path, used + seen.f_bavail * unit, seen.f_bavail * unit, seen.f_files, seen.f_favail)
