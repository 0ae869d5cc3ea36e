"""The floor: what bare Python can do without being an agent. inotify, one pattern, a counter, a durable row, one netlink message.

python -m tests.bench.floor AUTH.LOG FILE.DB FAILURES
"""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from agent.kernel.netlink import Netlink
from agent.kernel.netlink_format import Write, element, settings
from agent.streams.inotify import Wake

_FAILED: Final = re.compile(rb"Failed password for [^\n]* from ([\d.]+) port \d+ ssh2")
_RULES: Final = """
add table inet floor
add set inet floor hosts { type ipv4_addr; flags timeout; }
add chain inet floor arriving { type filter hook prerouting priority -310; policy accept; }
add rule inet floor arriving ip saddr @hosts drop
"""
_HOUR: Final = 3_600_000


class Floor:
    """One log, one threshold, one set."""

    def __init__(self, log: Path, database: Path, needed: int) -> None:
        self.log, self.needed = log, needed
        subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True, timeout=10)
        self.kernel, self.seen = Netlink("floor"), Counter[bytes]()
        self.db = sqlite3.connect(database, isolation_level=None)
        self.db.executescript("pragma journal_mode = wal; pragma synchronous = full; create table done(ip text);")

    def run(self) -> None:
        """For ever."""
        wake = Wake([self.log])
        with self.log.open("rb", buffering=0) as file:
            while True:
                chunk = file.read(256 << 10)
                if not chunk:
                    wake.wait(1.0)
                elif not chunk.endswith(b"\n"):
                    file.seek(chunk.rfind(b"\n") + 1 - len(chunk), 1)
                    self.take(chunk[: chunk.rfind(b"\n") + 1])
                else:
                    self.take(chunk)

    def take(self, chunk: bytes) -> None:
        """Count; what is over the threshold is written down, then dropped, all of the chunk at once."""
        over: list[bytes] = []
        for found in _FAILED.finditer(chunk):
            address = found[1]
            self.seen[address] += 1
            if self.seen[address] == self.needed:
                over.append(address)
        if over:
            self.db.execute("begin")
            self.db.executemany("insert into done values (?)", [(one.decode(),) for one in over])
            self.db.execute("commit")
            elements = [element(socket.inet_aton(one.decode()), settings(_HOUR)) for one in over]
            self.kernel.transact([Write("hosts", True, elements)])


if __name__ == "__main__":
    Floor(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])).run()
