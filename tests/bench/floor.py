"""The floor: what bare Python can do without being an agent. inotify, one pattern, counters, a durable row, one netlink message.

It puts back what its table lost, since that has a floor, too.

python -m tests.bench.floor AUTH.LOG FILE.DB FAILURES [POLICIES]
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.kernel.netlink import NETLINK_NETFILTER, Netlink
from agent.kernel.netlink_format import Write, element, messages, settings

_FAILED: Final = re.compile(rb"Failed password for [^\n]* from ([\d.]+) port \d+ ssh2")
_RULES: Final = """
add table inet floor
add set inet floor hosts { type ipv4_addr; flags timeout; }
add chain inet floor arriving { type filter hook prerouting priority -310; policy accept; }
add rule inet floor arriving ip saddr @hosts drop
"""
_HOUR: Final = 3_600_000
_DELETED_TABLE: Final = 2
_CHANGED: Final = 2
"""IN_MODIFY of inotify(7)."""


class Floor:
    """One log, thresholds, one set. `policies` count the same failures; only the first of them comes true."""

    def __init__(self, log: Path, database: Path, needed: int, policies: int) -> None:
        self.log, self.needed = log, needed
        self.seen = [Counter[bytes]() for _ in range(policies)]
        self.db = sqlite3.connect(database, isolation_level=None)
        self.db.executescript("pragma journal_mode = wal; pragma synchronous = full; create table if not exists done(ip text);")
        table = subprocess.run(["nft", "-t", "list", "table", "inet", "floor"], capture_output=True, timeout=10, check=False)
        if table.returncode != 0:
            _rules()
        self.kernel, self.events = Netlink("floor"), _listen()
        self.drop(known := [ip for (ip,) in self.db.execute("select ip from done")])
        self.begin = os.SEEK_END if known else os.SEEK_SET

    def run(self) -> None:
        """For ever."""
        wake = _watch(self.log)
        with self.log.open("rb", buffering=0) as file:
            file.seek(0, self.begin)
            print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
            while True:
                chunk = file.read(256 << 10)
                if not chunk:
                    self.wait(wake)
                    continue
                whole = chunk.rfind(b"\n") + 1
                file.seek(whole - len(chunk), 1)
                self.take(chunk[:whole])

    def wait(self, wake: int) -> None:
        """Until the log has grown, or the table is gone: then it is put back."""
        ready, _, _ = select.select([wake, self.events.fileno()], [], [])
        if wake in ready:
            os.read(wake, 1 << 16)
        if self.events.fileno() in ready and any(
            kind & 0xFF == _DELETED_TABLE for kind, *_ in messages(self.events.recv(1 << 18))
        ):
            _rules()
            self.drop(ip for (ip,) in self.db.execute("select ip from done"))

    def take(self, chunk: bytes) -> None:
        """Count; what is over the threshold is written down, then dropped, all of the chunk at once."""
        over: list[bytes] = []
        first, *others = self.seen
        for found in _FAILED.finditer(chunk):
            address = found[1]
            first[address] += 1
            for at, other in enumerate(others, 1):
                other[address] += 1
                if other[address] == 1000 + at:
                    over.append(address)
            if first[address] == self.needed:
                over.append(address)
        if over:
            self.db.execute("begin")
            self.db.executemany("insert into done values (?)", [(one.decode(),) for one in over])
            self.db.execute("commit")
            self.drop(one.decode() for one in over)

    def drop(self, addresses: Iterable[str]) -> None:
        """All of them in one transaction."""
        if elements := [element(socket.inet_aton(one), settings(_HOUR)) for one in addresses]:
            self.kernel.transact([Write("hosts", True, elements)])


def _watch(log: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    wake: int = libc.inotify_init1(os.O_CLOEXEC)
    libc.inotify_add_watch(wake, os.fsencode(log), _CHANGED)
    return wake


def _rules() -> None:
    subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True, timeout=10)


def _listen() -> socket.socket:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    events.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: its own 10,000 elements come back at once
    events.bind((0, 0))
    events.setsockopt(270, 1, 7)  # NETLINK_ADD_MEMBERSHIP of NFNLGRP_NFTABLES
    return events


if __name__ == "__main__":
    Floor(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])).run()
