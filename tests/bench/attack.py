"""What goes into the logs: offenders' lines, and the noise around them, the same for every contender."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

NEEDED: Final = 8
"""Failures that make an offender."""
_CRON: Final = (
    "CRON[{n}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
    "CRON[{n}]: pam_unix(cron:session): session closed for user root",
)
_SESSION: Final = (
    "sshd[{n}]: Accepted publickey for deploy from 10.{a}.{b}.8 port {n} ssh2: ED25519 SHA256:0PvA7gS9cXb0bS0kq8E2jZ8V5m1f",
    "sshd[{n}]: pam_unix(sshd:session): session opened for user deploy(uid=1000) by (uid=0)",
    "systemd-logind[611]: New session {n} of user deploy.",
    "sudo:   deploy : PWD=/srv/app ; USER=root ; COMMAND=/usr/bin/systemctl restart app-{b}",
    "sudo: pam_unix(sudo:session): session opened for user root(uid=0) by deploy(uid=1000)",
    "sudo: pam_unix(sudo:session): session closed for user root",
    "sshd[{n}]: Received disconnect from 10.{a}.{b}.8 port {n}:11: disconnected by user",
    "sshd[{n}]: Disconnected from user deploy 10.{a}.{b}.8 port {n}",
    "sshd[{n}]: pam_unix(sshd:session): session closed for user deploy",
    "systemd-logind[611]: Session {n} logged out. Waiting for processes to exit.",
    "systemd-logind[611]: Removed session {n}.",
)
_REFUSED: Final = (
    'sshd[{n}]: Connection from 10.{a}.{b}.9 port {n} on 10.0.0.2 port 22 rdomain ""',
    "sshd[{n}]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.{a}.{b}.9  user=root",
)
_NOISE: Final = (_SESSION + 4 * _CRON, *4 * (2 * _REFUSED[:1] + _REFUSED[1:] + 8 * _CRON,))
"""Nineteen lines around each failure, in five kinds of twenty: of a hundred lines five fail, two more mean something."""
_fresh = itertools.count()


def offenders(times: int) -> list[bytes]:
    """Addresses of 11.0.0.0/8 that were not seen before, not next to one another (networks must not swallow them)."""
    return [(0x0B000001 + 4 * next(_fresh)).to_bytes(4, "big") for _ in range(times)]


def failures(address: bytes, times: int, user: str = "root") -> str:
    """Wrong passwords, as rsyslog writes them."""
    head, ip = f"{stamp()} db1 sshd[812]: Failed password for {user} from", socket.inet_ntoa(address)
    return "".join(f"{head} {ip} port {40000 + at} ssh2\n" for at in range(times))


def noise(lines: int) -> Iterator[str]:
    """A lively auth.log: 5 % failures over 2,000 addresses of 10.0.0.0/8, none of them an offender."""
    now = stamp()
    for n in range(lines):
        a, b = n // 256 % 200, n % 256
        at, line = divmod(n, 20)
        if line == 0:
            at %= 2000
            yield f"{now} db1 sshd[812]: Failed password for root from 10.201.{at >> 8}.{at & 255} port 40001 ssh2\n"
        else:
            yield f"{now} db1 {_NOISE[at % 5][line - 1].format(n=1024 + n % 60000, a=a, b=b)}\n"


def chunks(lines: int, size: int) -> Iterator[bytes]:
    """The same noise in chunks of so many lines."""
    every = noise(lines)
    while chunk := list(itertools.islice(every, size)):
        yield "".join(chunk).encode()


def stamp() -> str:
    """The time as syslog writes it."""
    return time.strftime("%b %e %H:%M:%S")


class Log:
    """The auth.log of one contender. Every write is one append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._file = path.open("ab", buffering=0)

    def write(self, text: str | bytes) -> float:
        """Append; the moment before, in seconds of time.monotonic()."""
        data = text.encode() if isinstance(text, str) else text
        now = time.monotonic()
        self._file.write(data)
        return now

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Noise:
    """10,000 lines a second into a log, while it is used as a context. `written` counts them."""

    EVERY: Final = 0.01

    def __init__(self, log: Log, a_second: int) -> None:
        self._log, self._a_second, self._stop = log, a_second, threading.Event()
        self.written, self.seconds = 0, 0.0

    def __enter__(self) -> Noise:
        size = int(self._a_second * self.EVERY)
        prepared = list(chunks(5 * self._a_second, size))  # written over and over: making lines must not cost during the measure
        self._thread = threading.Thread(target=self._write, args=(prepared, size), name="noise", daemon=True)
        self._thread.start()
        return self

    @property
    def rate(self) -> float:
        """Lines a second, as they were really written."""
        return self.written / self.seconds

    @property
    def kept_up(self) -> bool:
        """Whether the writer came near to what it should write; on a busy machine it may not."""
        return self.rate > 0.8 * self._a_second

    def _write(self, prepared: Sequence[bytes], size: int) -> None:
        began = time.monotonic()
        for at in itertools.count():
            if self._stop.wait(max(0.0, began + at * self.EVERY - time.monotonic())):
                break
            self._log.write(prepared[at % len(prepared)])
            self.written += size
        self.seconds = time.monotonic() - began

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
