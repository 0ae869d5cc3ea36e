"""Journals to test with: real files with a real key, and plain records and events to fill them."""

from __future__ import annotations

import math
from pathlib import Path

from agent.event import Event
from agent.evidence.journal import Journal
from agent.evidence.keys import Key, load_or_make
from agent.evidence.redact import Redactor
from agent.record import Record, Stored

NOW = 1_800_000_000.1234567  # a double has no nanoseconds here, and must come back all the same


def key_of(path: Path) -> Key:
    return load_or_make(path.with_name("key"), host="host1")


def opened(path: Path, *, ballast: int = 0, keep_events: tuple[float, int] = (math.inf, 1 << 30)) -> Journal:
    key = key_of(path)
    redact = Redactor(key.derive("redaction"))
    return Journal(path, host="host1", key=key, redact=redact, ballast=ballast, keep_events=keep_events)


def records(count: int, first: int = 0) -> list[Record]:
    return [Record("finding", {"number": n}, "INC-1", f"M-{n % 3}") for n in range(first, first + count)]


def event(seen: float, raw: str = "") -> Event:
    return Event("ssh.failed", seen, {"src.ip": "203.0.113.7", "port": 22}, "sshd", seen - 1, raw, forgeable=True)


def replayed(journal: Journal) -> list[Stored]:
    return list(journal.replay()[1])
