"""TCP sockets asked from the kernel, sock_diag(7): only those in the wanted states, 10 µs each.

Format: include/uapi/linux/inet_diag.h and netlink.h; a message of the machine's byte order, in which ports and addresses are
as on the wire. Listening sockets and others are in two tables, and each state is chosen by a bit, so what is not wanted costs
Python nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

ESTABLISHED, SYN_RECEIVED, CLOSE_WAIT, LISTEN = 1, 3, 8, 10
"""Of include/net/tcp_states.h. Half-open connections stand under SYN_RECEIVED."""
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_HEADER: Final = struct.Struct("=IHHII")
_ASKED: Final = struct.Struct("=BBBxI2s46x")  # inet_diag_req_v2: family, protocol, extensions, states, source port, …
_TOLD: Final = struct.Struct("=16x1xB2x2s2s16s16s16xII")
"""After the header, inet_diag_msg: state, ports, addresses, (interface, cookie, expires), read and write queue."""
_WITHIN: Final = 2.0


class Socket(NamedTuple):
    """One TCP socket. Of one that listens, `queue` are the connections that wait to be accepted and `room` how many may."""

    state: int
    port: int
    address: bytes
    peer: bytes
    queue: int
    room: int


def dump(family: int, states: Iterable[int], port: int = 0) -> Iterator[Socket]:
    """Every TCP socket of this network namespace in one of the states, and with that local port unless it is 0.

    Raises:
        OSError: no tcp_diag module, a sandbox without netlink, or no answer within 2 s.
    """
    wanted = sum(1 << state for state in states)
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, 0, wanted, port.to_bytes(2, "big"))
    size = 4 if family == socket.AF_INET else 16
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_WITHIN)
        netlink.send(_HEADER.pack(_HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + asked)
        while True:
            data = netlink.recv(65536)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", data, at + _HEADER.size)[0] or errno.EIO, "sock_diag refused")
                state, local, _, ours, theirs, queue, room = _TOLD.unpack_from(data, at)
                yield Socket(state, int.from_bytes(local, "big"), ours[:size], theirs[:size], queue, room)
                at += max(length + 3 & ~3, _HEADER.size)
