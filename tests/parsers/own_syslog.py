"""A /dev/log of a test's own: what a real program says to syslog(3) reaches the test alone, word for word."""

from __future__ import annotations

import queue
import re
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.needs import need_root

_ALONE: Final = """\
set -e
mkdir -p "$1/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for one in null zero random urandom tty; do touch "$1/dev/$one"; mount --bind "/dev/$one" "$1/dev/$one"; done
touch "$1/dev/log"
mount --bind "$1/log" "$1/dev/log"
mount --rbind "$1/dev" /dev
mount -t tmpfs -o mode=755 tmpfs /run
shift
exec "$@"
"""
"""/dev and /run as the program sees them are its own; they vanish with it."""


class OwnSyslog:
    """The receiving end of /dev/log, for programs that are started with `alone`."""

    def __init__(self, place: Path) -> None:
        need_root()
        self._place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place / "log"))
        (place / "log").chmod(0o666)
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="syslog", daemon=True).start()

    def _listen(self) -> None:
        """The kernel keeps ten messages; then whoever logs waits."""
        while one := self._socket.recv(65536):
            self._said.put(one.rstrip(b"\0\n").partition(b">")[2])

    def alone(self, *command: str) -> list[str]:
        """The command that runs this one with our /dev/log."""
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ALONE, "sh", str(self._place), *command]

    def run(self, *command: str, user: int = 0, cwd: str = "/") -> None:
        """Run a program to its end, whatever that is, as this user."""
        switched = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"] if user else []
        within = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", cwd, *switched, *command]
        subprocess.run(self.alone(*within), stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)

    def said(self, until: bytes) -> list[bytes]:
        """What was said since the last time, up to the first message that this fits; without the priority."""
        found: list[bytes] = []
        while not any(re.search(until, one.partition(b": ")[2]) for one in found):
            found.append(self._said.get(timeout=30))
        return found

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RD)  # which ends the listener, too
        self._socket.close()


def lines(messages: Sequence[bytes]) -> bytes:
    """Syslog messages as rsyslog writes them to auth.log: with the host's name, and control characters as #ooo."""
    return b"".join(one[:16] + b"db1 " + b"".join(map(_shown, one[16:])) + b"\n" for one in messages)


def _shown(byte: int) -> bytes:
    return b"#%03o" % byte if byte < 32 or byte == 127 else bytes([byte])
