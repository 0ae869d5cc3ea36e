"""Machines in network namespaces, each with one cable to the host. What a machine does runs in threads inside its namespace.

guesser  203.0.113.7   ──┐
flooder  198.51.100.23 ──┼── host 192.0.2.10
customer 192.0.2.80    ──┘
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

HOST: Final = "192.0.2.10"
GUESSER: Final = "203.0.113.7"
FLOODER: Final = "198.51.100.23"
CUSTOMER: Final = "192.0.2.80"
PATIENCE: Final = 1.0
"""Seconds without an answer after which a packet counts as dropped; a cable between namespaces takes a tenth of a millisecond."""
CLONE_NEWNET: Final = 0x40000000


def ip(*words: str) -> None:
    """Run iproute2."""
    subprocess.run(["ip", *words], check=True, timeout=10)


def connect_machines() -> tuple[Machine, Machine, Machine]:
    """The guesser, the flooder and the customer, connected to this process's network, which is the host."""
    ip("link", "set", "lo", "up")
    return Machine("guesser", GUESSER), Machine("flooder", FLOODER), Machine("customer", CUSTOMER)


class Machine:
    """One machine: its address, and threads that live in its namespace."""

    def __init__(self, name: str, address: str) -> None:
        self.address = address
        ip("netns", "add", name)
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", HOST, "peer", address, "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", address, "peer", HOST, "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        self._threads = ThreadPoolExecutor(4, initializer=_enter, initargs=(name,))

    def does(self, what: Callable[..., T], *given: Any) -> Future[T]:
        """Begin something there. A socket stays in the namespace of the thread that opened it, and so does a program."""
        return self._threads.submit(what, *given)


def _enter(name: str) -> None:
    """Move this thread, and nothing else of the process, into a namespace; setns(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as there:  # noqa: PTH123 - only its descriptor is wanted
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {name}: {os.strerror(ctypes.get_errno())}")


def greeting(port: int) -> str:
    """What the host's server on a port says first, on a new connection; empty where no answer comes."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE) as made:
        return made.recv(256).decode("ascii", "replace").strip()
    return ""


class Kept:
    """A connection to the web server that is opened once and kept."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection(HOST, 80, timeout=PATIENCE)

    def fetch(self) -> bool:
        """Whether the page comes over it."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            if self._connection.sock is None:
                self._connection.connect()
            self._connection.request("GET", "/")
            answer = self._connection.getresponse()
            return bool(answer.read()) and answer.status == 200
        return False

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Customer:
    """Somebody who fetches the page twenty times a second and counts. Runs in a thread of the customer's machine."""

    EVERY: Final = 0.05

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.slowest = 0.0
        self._stop = threading.Event()

    def shop(self) -> None:
        """Fetch until told to stop, each time over a new connection, as a new visitor would."""
        while not self._stop.wait(self.EVERY):
            began = time.monotonic()
            with contextlib.closing(Kept()) as visit:
                if visit.fetch():
                    self.ok += 1
                else:
                    self.failed += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def leave(self) -> None:
        """Stop."""
        self._stop.set()
