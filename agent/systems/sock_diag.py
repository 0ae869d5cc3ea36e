"""Who is connected to a local TCP port, asked from the kernel: sock_diag(7), else /proc/net/tcp."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from typing import Final

from agent.kernel import inet_diag
from agent.kernel.inet_diag import ESTABLISHED, LISTEN

__all__ = ["ESTABLISHED", "LISTEN", "MOST_PEERS", "Peer", "clients", "peers", "plain", "read_hex"]

MOST_PEERS: Final = 4096
Peer = IPv4Address | IPv6Address


def peers(port: int) -> set[Peer]:
    """The remote addresses of the established connections to a local TCP port, at most 4,096.

    The kernel filters by state and port, so that other sockets cost next to nothing. IPv4 on an IPv6 socket is IPv4.

    Raises:
        OSError: neither way is open.
    """
    try:
        found = {peer for family in (socket.AF_INET, socket.AF_INET6) for peer in _dump(family, port)}
    except OSError:  # no tcp_diag module, or a sandbox without netlink
        found = set(_listed(port))
    return {plain(peer) for peer in found}


def clients() -> set[Peer]:
    """Who has a connection to a TCP port that this host listens on, loopback left out; of 4,096 connections at most.

    Raises:
        OSError: the kernel does not say.
    """
    families = (socket.AF_INET, socket.AF_INET6)
    listening = {port for family in families for port, _ in _sockets(family, 0, LISTEN)}
    found = {plain(peer) for family in families for port, peer in _sockets(family, 0, ESTABLISHED) if port in listening}
    return {one for one in found if not one.is_loopback}


def _dump(family: int, port: int) -> Iterator[Peer]:
    return (peer for _, peer in _sockets(family, port, ESTABLISHED))


def _sockets(family: int, port: int, state: int) -> Iterator[tuple[int, Peer]]:
    """Local port and remote address of each socket in a state, of 4,096 at most; `port` 0 stands for every one."""
    for one in islice(inet_diag.dump(family, (state,), port), MOST_PEERS):
        yield one.port, ipaddress.ip_address(one.peer)


def _listed(port: int) -> Iterator[Peer]:
    """The same from text: `sl local_address rem_address st …`, addresses as host-order words in hexadecimal (proc(5))."""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():  # IPv6 is switched off
            continue
        with Path(table).open(encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                _, local, remote, state, *_ = line.split(maxsplit=4)
                if int(state, 16) != ESTABLISHED or int(local.rpartition(":")[2], 16) != port:
                    continue
                if (count := count + 1) > MOST_PEERS:
                    return
                yield read_hex(remote.rpartition(":")[0])


def read_hex(text: str) -> Peer:
    """An address as the kernel's tables print it: 32-bit words in this machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))


def plain(peer: Peer) -> Peer:
    """An IPv4 address that an IPv6 socket shows (::ffff:192.0.2.1) as IPv4."""
    return peer.ipv4_mapped or peer if isinstance(peer, IPv6Address) else peer
