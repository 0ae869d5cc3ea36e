"""A network namespace for one contender, and ears in it: the kernel itself says when an address is dropped, by one clock."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from agent.kernel.netlink import NETLINK_NETFILTER
from agent.kernel.netlink_format import messages, name_in
from tests.running import wait_for

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000
_DELETED_TABLE, _DELETED_SET, _NEW_ELEMENT, _DELETED_ELEMENT, _NEW_GENERATION = 2, 11, 12, 14, 15
_OFFENDER: Final = re.compile(rb"\x08\0\x01\0(\x0b...)", re.DOTALL)
"""How nf_tables writes a key that is an address of 11.0.0.0/8, where all offenders live: length 8, kind 1 (uapi nf_tables.h)."""


class Namespace:
    """A network of its own. It has no name, so that nothing is left when this process and those inside have ended."""

    def __enter__(self) -> Self:
        self._inside = ThreadPoolExecutor(1, "namespace", _enter_a_new_network)
        self._link = self.run(lambda: str(Path("/proc/thread-self/ns/net").readlink()))
        self.run(lambda: subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10))
        self.ears = Ears(self.run(_listen))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.processes())
        self.ears.close()
        self._inside.shutdown(cancel_futures=True)

    def run(self, work: Callable[[], T]) -> T:
        """Do something inside: the sockets it opens and the processes it starts stay there."""
        return self._inside.submit(work).result()

    def processes(self) -> list[int]:
        """Every process inside."""
        return [int(one.name) for one in Path("/proc").glob("[1-9]*") if one.name != str(os.getpid()) and self._holds(one)]

    def _holds(self, process: Path) -> bool:
        with suppress(OSError):
            return str((process / "ns/net").readlink()) == self._link
        return False


class Ears:
    """Hears every change of the ruleset and keeps which offenders' addresses are in it."""

    def __init__(self, events: socket.socket) -> None:
        self._events, self._closed = events, False
        self.first: dict[bytes, float] = {}
        """When each address was first dropped: seconds of time.monotonic()."""
        self.held: set[bytes] = set()
        self.sizes = [(time.monotonic(), 0)]
        """How many were held after each transaction."""
        self.deaf = ""
        self._thread = threading.Thread(target=self._hear, name="ears", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop hearing."""
        self._closed = True
        self._thread.join()

    def wait(self, wanted: Collection[bytes], seconds: float, stalled: float = float("inf")) -> bool:
        """Whether all of these were dropped within the time; gives up early when for `stalled` seconds no more came."""
        left, since = set(wanted), time.monotonic()
        until = since + seconds
        while left:
            count, left = len(left), {one for one in left if one not in self.first}
            now = time.monotonic()
            since = now if len(left) < count else since
            if left and (now > until or now - since > stalled):
                return False
            time.sleep(0.002)
        return True

    def least(self, since: float) -> int:
        """The fewest that were held at any moment since then."""
        before = [size for at, size in self.sizes if at <= since][-1:]
        return min([*before, *(size for at, size in self.sizes if at > since)])

    def short_of(self, whole: int, since: float) -> float:
        """Seconds since then during which fewer than so many were held; infinite while it lasts."""
        if len(self.held) < whole:
            return float("inf")
        ends = [*(at for at, _ in self.sizes[1:]), self.sizes[-1][0]]
        return sum(max(0.0, end - max(at, since)) for (at, size), end in zip(self.sizes, ends, strict=True) if size < whole)

    def _hear(self) -> None:
        with self._events:
            while not self._closed:
                try:
                    data = self._events.recv(1 << 18)
                except TimeoutError:
                    continue
                except OSError as error:
                    self.deaf = str(error)  # ENOBUFS: some were not heard, and no number of this run is worth anything
                    return
                now = time.monotonic()
                for kind, _, _, message in messages(data):
                    self._take(kind & 0xFF, message, now)

    def _take(self, kind: int, message: bytes, now: float) -> None:
        match kind:
            case n if n == _NEW_ELEMENT:
                for address in filter(_one_of_ours, _OFFENDER.findall(message)):
                    self.first.setdefault(address, now)
                    self.held.add(address)
            case n if n == _DELETED_ELEMENT:
                self.held.difference_update(_OFFENDER.findall(message))
            case n if n == _DELETED_TABLE or (n == _DELETED_SET and not name_in(message, 2).startswith("__")):
                self.held.clear()  # sets whose names begin so are those of rules
            case n if n == _NEW_GENERATION and len(self.held) != self.sizes[-1][1]:
                self.sizes.append((now, len(self.held)))


def _one_of_ours(address: bytes) -> bool:
    """Offenders are every fourth address; what lies between is where somebody's interval ends."""
    return address[3] & 3 == 1


def _enter_a_new_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")


def _listen() -> socket.socket:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    events.setsockopt(socket.SOL_SOCKET, 33, 512 << 20)  # SO_RCVBUFFORCE: one transaction of 10,000 elements comes at once
    events.settimeout(0.1)
    events.bind((0, 0))
    events.setsockopt(270, 1, 7)  # NETLINK_ADD_MEMBERSHIP of NFNLGRP_NFTABLES
    return events
