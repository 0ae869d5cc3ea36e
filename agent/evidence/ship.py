"""Send checkpoints off the journal's file at once: to journald or syslog, which forward them to where root of this host
cannot rewrite them. A checkpoint is worth what its copies elsewhere are worth.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

JOURNALD: Final = Path("/run/systemd/journal/socket")
SYSLOG: Final = Path("/dev/log")
_NAME: Final = "containment-agent"
_AUTHPRIV: Final = 10
_NOTICE: Final = 5

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
        if name == "syslog" and "journald" in reached and place.resolve().parent == journald.parent:
            continue  # systemd's /dev/log is journald again
        why = _send(place, datagram)
        if why:
            problems.append(f"{name}: {why}")
        else:
            reached.append(name)
    return Shipped(tuple(reached), tuple(problems))


def read_notes(text: str) -> list[str]:
    """Every signed note in a text: as it is, or in the lines of a journal or syslog file, in whatever order."""
    shipped = [json.loads(found[1]) for found in _SHIPPED.finditer(text)]
    return [*(found[0] for found in _NOTE.finditer(text)), *shipped]


def _to_journald(line: str) -> bytes:
    """journald's native protocol, https://systemd.io/JOURNAL_NATIVE_PROTOCOL; no value has a newline in it."""
    fields = {"MESSAGE": line, "PRIORITY": _NOTICE, "SYSLOG_FACILITY": _AUTHPRIV, "SYSLOG_IDENTIFIER": _NAME}
    return "".join(f"{name}={value}\n" for name, value in fields.items()).encode()


def _to_syslog(line: str) -> bytes:
    """RFC 3164 as glibc's syslog(3) writes it to /dev/log."""
    when = time.strftime("%b %e %H:%M:%S")
    return f"<{_AUTHPRIV * 8 + _NOTICE}>{when} {_NAME}[{os.getpid()}]: {line}".encode()


def _send(place: Path, datagram: bytes) -> str:
    """Why the datagram was not taken; empty when it was."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        try:
            out.connect(str(place))
            out.send(datagram)
        except BlockingIOError:
            return f"{place} is busy"
        except OSError as error:
            return f"{place}: {error.strerror or error}"
    return ""
