"""The rows: one question to all contenders each, its goal, and who cannot be asked, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final, Literal

Unit = Literal["ms", "s", "CPU s", "CPU ms", "CPU µs", "µs", "%", "MiB"]
PEERS: Final = ("fail2ban", "CrowdSec", "sshguard", "monit")
COLUMNS: Final = ("ours", *PEERS, "floor")
IN_SECONDS: Final[Mapping[Unit, float]] = {"ms": 1e3, "CPU ms": 1e3, "CPU µs": 1e6, "µs": 1e6}
"""How many of a unit are a second; times are measured in seconds, and what is no time in its own unit."""


@dataclass(frozen=True)
class Row:
    """One question. Less is better everywhere; `goal` is in the row's unit.

    `key` is what --rows takes; a row is what so large a `part` of its tries did not exceed, 0.5 is the median; `rate` is what
    a million divided by the number is, as in records/s of µs for one; `without` says why somebody has no number.
    """

    key: str
    name: str
    unit: Unit
    goal: float | None = None
    part: float = 0.5
    rate: str = ""
    without: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)


_BLIND: Final = {"sshguard": "sshguard has no command that shows what it holds"}
_BLOCKERS: Final = dict.fromkeys(PEERS[:3], "blocks only: it asks no service whether it answers")
_UNWRITTEN: Final = dict.fromkeys(
    PEERS[:3],
    "no durable record to time: fail2ban commits with synchronous = OFF, CrowdSec behind its decisions, sshguard not at all",
)
_WALKS: Final = {"sshguard": "sshguard walks its list of addresses for each line: hours"}
_ONE: Final = {"sshguard": "sshguard has one rule, which cannot be multiplied"}

IDLE_50 = Row("latency", "line written → dropped, idle, p50", "ms", 3)
IDLE_95 = Row("latency", "line written → dropped, idle, p95", "ms", 6, part=0.95)
BUSY_50 = Row("load", "the same among 10,000 lines/s, p50", "ms")
BUSY_95 = Row("load", "the same among 10,000 lines/s, p95", "ms", 10, part=0.95)
BURST = Row("burst", "burst of 1,000: all dropped", "s", 0.2)
BURST_PROVEN = Row("burst", "… and read back, and that is durable", "s", 0.2)
RESTART_OPEN = Row("restart", "restart with 1,000: time not all were dropped", "s", 0)
RESTART_BACK = Row("restart", "restart with 1,000: started → answers and has all", "s", 1)
RESTART_NEW = Row("restart", "restart with 1,000: started → a new offender is dropped", "s")
FLUSH = Row("flush", "`nft flush ruleset` with 1,000 → all are back", "s", 0.1)
FLOOD = Row("flood", "burst of 10,000: all dropped", "s", 1)
FLOOD_PROVEN = Row("flood", "… and read back, and that is durable", "s", 1)
FLOOD_OPEN = Row("flood-restart", "restart with 10,000: time not all were dropped", "s", 0)
FLOOD_BACK = Row("flood-restart", "restart with 10,000: started → answers and has all", "s", 1)
FLOOD_NEW = Row("flood-restart", "restart with 10,000: started → a new offender is dropped", "s")
FLOOD_FLUSH = Row("flood-flush", "`nft flush ruleset` with 10,000 → all are back", "s", 0.1)
STATUS = Row("status", "status command, dozens in force", "ms", 150, without=_BLIND)
STATUS_MORE = Row("status-more", "status command, 1,000 in force", "ms", 150, without=_BLIND)
STATUS_MANY = Row("status-many", "status command, 10,000 in force", "ms", 150, without=_BLIND)
SPEED = Row("lines", "a million log lines that wait to be read", "s", rate="lines/s")
CPU = Row("lines", "CPU for a million log lines as they come", "CPU s", 0.7)
READ = Row("read", "… the same file merely read", "CPU s")
IDLE_CPU = Row("idle", "idle: CPU of one core", "%", 0.3)
IDLE_RSS = Row("idle", "idle: memory (RSS)", "MiB", 60)
SEEN_RSS = Row("memory", "memory after 50,000 addresses", "MiB", 90, without=_WALKS)
POLICIES = Row("policies", "CPU for one event against 100 policies", "CPU µs", rate="events/s", without=_ONE)
CHECKS = Row("checks", "CPU for 1,000 TCP checks", "CPU ms", 150, rate="checks/s", without=_BLOCKERS)
HUNG = Row("hung", "one of 20 checks hangs: another is late by", "s", 0.5, without=_BLOCKERS)
APPEND = Row("journal", "journal: one durable record; floor: SQLite, FULL", "µs", rate="records/s", without=_UNWRITTEN)
APPEND_FILE = Row("journal", "… floor: append and fdatasync", "µs", rate="records/s", without=_UNWRITTEN)
APPENDS = Row("journal", "journal: a record of 100 at once; floor: SQLite, FULL", "µs", rate="records/s", without=_UNWRITTEN)
APPENDS_FILE = Row("journal", "… floor: append and fdatasync", "µs", rate="records/s", without=_UNWRITTEN)
ROWS: Final = (
    IDLE_50, IDLE_95, BUSY_50, BUSY_95,
    BURST, BURST_PROVEN, RESTART_OPEN, RESTART_BACK, RESTART_NEW, FLUSH,
    FLOOD, FLOOD_PROVEN, FLOOD_OPEN, FLOOD_BACK, FLOOD_NEW, FLOOD_FLUSH,
    STATUS, STATUS_MORE, STATUS_MANY,
    SPEED, CPU, READ, IDLE_CPU, IDLE_RSS, SEEN_RSS,
    POLICIES, CHECKS, HUNG, APPEND, APPEND_FILE, APPENDS, APPENDS_FILE,
)  # fmt: skip
BESIDE: Final = ("parsers", "filters")
"""What is measured beside the table: the worst line of each parser, and fail2ban's filters read by us."""
KEYS: Final = (*dict.fromkeys(row.key for row in ROWS), *BESIDE)


class UnknownRow(Exception):  # noqa: N818 - reads as the sentence it is
    """Nothing is called so. The text says what might have been meant."""


def chosen(names: Iterable[str]) -> frozenset[str]:
    """The keys that these names mean, as in `latency` or `flood*`; all where none is named.

    Raises:
        UnknownRow: with the nearest key.
    """
    found: set[str] = set()
    for name in (wanted := list(names)):
        keys = {key for key in KEYS if fnmatchcase(key, name)}
        if not keys:
            near = get_close_matches(name, KEYS, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UnknownRow(f"no row is called {name}{meant}\nRows: {' '.join(KEYS)}")
        found |= keys
    return frozenset(found) if wanted else frozenset(KEYS)
