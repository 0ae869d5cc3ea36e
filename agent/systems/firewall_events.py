"""Who changes the ruleset: a thread that hears of every transaction in this network namespace, as it is committed.

The kernel names the process (linux/netfilter/nf_tables.h, NFT_MSG_NEWGEN). A filter in the socket lets only these messages
in, one for each transaction: without it, 100,000 elements of our own overflow any buffer.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from agent.kernel.netlink import NETLINK_NETFILTER, NEWGEN, SUBSYSTEM, Refused
from agent.kernel.netlink_format import generation_of, messages

_GROUP: Final = 7
"""NFNLGRP_NFTABLES"""
_NEWGEN: Final = SUBSYSTEM << 8 | NEWGEN
_UNSEEN: Final = "unknown"


class Foreign(NamedTuple):
    """A transaction that was not ours. `pid` 0 means that the kernel had more to say than we could hear: look for yourself."""

    pid: int
    comm: str
    generation: int

    def __str__(self) -> str:
        return f"{self.comm} (pid {self.pid})" if self.pid else "somebody (more changed than could be heard)"


def listen(heard: Callable[[Foreign], None]) -> None:
    """Call `heard` for each transaction from now on, ours too, from a daemon thread of its own.

    Raises:
        Refused: the kernel lets us not listen.
    """
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        events.bind((0, 0))
        _let_in_only(events, _NEWGEN)
        events.setsockopt(270, 1, _GROUP)  # NETLINK_ADD_MEMBERSHIP
    except OSError as error:
        raise Refused(error.errno or errno.EIO) from None
    threading.Thread(target=_hear, args=(events, heard), name="firewall-events", daemon=True).start()


def _hear(events: socket.socket, heard: Callable[[Foreign], None]) -> None:
    while True:
        try:
            data = events.recv(1 << 16)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            heard(Foreign(0, _UNSEEN, 0))
            continue
        for kind, _, _, message in messages(data):
            if kind == _NEWGEN:
                generation, pid, comm = generation_of(message)
                heard(Foreign(pid, comm, generation))


def _let_in_only(events: socket.socket, kind: int) -> None:
    """A classic BPF program: keep a packet whose first message is of this type (bytes 4 and 5, read as big-endian)."""
    as_loaded = struct.unpack(">H", struct.pack("=H", kind))[0]
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in ((0x28, 0, 0, 4), (0x15, 0, 1, as_loaded), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))
    )
    code = ctypes.create_string_buffer(program, len(program))
    events.setsockopt(socket.SOL_SOCKET, 26, struct.pack("@HP", 4, ctypes.addressof(code)))  # SO_ATTACH_FILTER
