"""Send off the journal's file what must not depend on it: to journald or syslog, which forward it to where root of this host
cannot rewrite it. That is every checkpoint; while the journal cannot be written, every record; and what must page a person.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

JOURNALD: Final = Path("/run/systemd/journal/socket")
SYSLOG: Final = Path("/dev/log")
_NAME: Final = "containment-agent"
_AUTHPRIV: Final = 10
_NOTICE: Final = 5
_CRITICAL: Final = 2
LONGEST: Final = 8000
"""Bytes of a line: syslog servers cut at 8 KiB (rsyslog's maxMessageSize)."""
PATIENCE: Final = 0.2
"""Seconds that a batch of lines may wait, in all, for a busy reader."""

_log = logging.getLogger("agent")

_SHIPPED: Final = re.compile(r'checkpoint ("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*")')
_NOTE: Final = re.compile(r"(?:\A|(?<=\n))[^\n]+\n\d+\n[A-Za-z0-9+/]{43}=\n(?:[^\n]+\n)*\n(?:— [^\n]+\n)+")


@dataclass(frozen=True, slots=True)
class Shipped:
    """Where a checkpoint went, and why it did not go elsewhere."""

    reached: tuple[str, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        where = f"sent to {' and '.join(self.reached)}" if self.reached else "not sent off this host"
        return f"checkpoint {where}" + (f" ({'; '.join(self.problems)})" if self.problems else "")


def ship(note: str, *, journald: Path = JOURNALD, syslog: Path = SYSLOG) -> Shipped:
    """Send a note to journald and to syslog, where there are any. Never waits: whoever is busy or away is a problem told.

    The note becomes one line of ASCII (`checkpoint "…"`, a JSON string), since syslog servers rewrite anything else;
    read_notes finds it again.
    """
    line = f"checkpoint {json.dumps(note)}"
    reached: list[str] = []
    problems: list[str] = []
    for name, place, datagram in (("journald", journald, _to_journald(line)), ("syslog", syslog, _to_syslog(line))):
        if name == "syslog" and "journald" in reached and _again(journald, syslog):
            continue
        why = _send(place, [datagram])
        if why:
            problems.append(f"{name}: {why}")
        else:
            reached.append(name)
    return Shipped(tuple(reached), tuple(problems))


def tell(lines: Sequence[bytes], *, priority: int = _NOTICE, journald: Path = JOURNALD, syslog: Path = SYSLOG) -> str:
    """Send lines of UTF-8, each as ASCII and cut to LONGEST bytes; says why nobody took all of them, empty where somebody did.

    Waits for a busy reader, at most PATIENCE.
    """
    short = [_short(line) for line in lines]
    why_journald = _send(journald, [_to_journald(line, priority) for line in short], PATIENCE)
    if not why_journald and _again(journald, syslog):
        return ""
    why_syslog = _send(syslog, [_to_syslog(line, priority) for line in short], PATIENCE)
    return f"journald: {why_journald}; syslog: {why_syslog}" if why_journald and why_syslog else ""


def page(sentence: str) -> None:
    """Say what a person must look at now, in the agent's log and to syslog with priority crit. Never raises."""
    _log.critical("%s", sentence)
    tell([sentence.replace("\n", "; ").encode(errors="replace")], priority=_CRITICAL)


def _short(line: bytes) -> str:
    text = line.decode(errors="replace")
    plain = "".join(one if " " <= one <= "~" else json.dumps(one)[1:-1] for one in text) if not text.isascii() else text
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 40]} [cut: it has {len(line)} bytes]"


def _again(journald: Path, syslog: Path) -> bool:
    """Whether syslog's socket is journald again, as systemd's /dev/log is."""
    return syslog.resolve().parent == journald.parent


def read_notes(text: str) -> list[str]:
    """Every signed note in a text: as it is, or in the lines of a journal or syslog file, in whatever order."""
    shipped = [json.loads(found[1]) for found in _SHIPPED.finditer(text)]
    return [*(found[0] for found in _NOTE.finditer(text)), *shipped]


def _to_journald(line: str, priority: int = _NOTICE) -> bytes:
    """journald's native protocol, https://systemd.io/JOURNAL_NATIVE_PROTOCOL; no value has a newline in it."""
    fields = {"MESSAGE": line, "PRIORITY": priority, "SYSLOG_FACILITY": _AUTHPRIV, "SYSLOG_IDENTIFIER": _NAME}
    return "".join(f"{name}={value}\n" for name, value in fields.items()).encode()


def _to_syslog(line: str, priority: int = _NOTICE) -> bytes:
    """RFC 3164 as glibc's syslog(3) writes it to /dev/log."""
    when = time.strftime("%b %e %H:%M:%S")
    return f"<{_AUTHPRIV * 8 + priority}>{when} {_NAME}[{os.getpid()}]: {line}".encode()


def _send(place: Path, datagrams: Sequence[bytes], patience: float = 0.0) -> str:
    """Why not all datagrams were taken, waiting so many seconds in all; empty when they were."""
    until = time.monotonic() + patience
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        try:
            out.connect(str(place))
            for datagram in datagrams:
                while not _sent(out, datagram):
                    left = until - time.monotonic()
                    if left <= 0 or not select.select([], [out], [], left)[1]:
                        return f"{place} is busy"
        except OSError as error:
            return f"{place}: {error.strerror or error}"
    return ""


def _sent(out: socket.socket, datagram: bytes) -> bool:
    try:
        out.send(datagram)
    except BlockingIOError:
        return False
    return True
