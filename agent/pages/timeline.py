"""An incident's timeline and its report, read from the journal beside the agent that writes it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

MOST: Final = 200
"""Rows, the newest; `earlier` says how many there are before them."""
PAGE: Final = 1000
LOOKED_AT: Final = 20_000
"""Records of one incident that are looked at."""
MEMBERS: Final = 20
"""Incidents that are told as one, whose records are looked at."""


class Timeline(NamedTuple):
    """What happened, the oldest first; `error` where the journal cannot be read."""

    rows: Sequence[tuple[float, str, str]] = ()
    earlier: int = 0
    error: str = ""


def timeline(journal: Path, incidents: Iterable[str]) -> Timeline:
    """When, which kind of record, and what it says, of incidents that are told as one."""
    from agent.evidence.journal_file import CannotUseJournal
    from agent.evidence.journal_read import read_only
    from agent.say import sentence

    kept: list[tuple[int, tuple[float, str, str]]] = []
    count = 0
    try:
        with read_only(journal) as reader:
            for name in list(incidents)[:MEMBERS]:
                newest, found = _newest(reader, name)
                kept += [(one.seq, (one.ts, one.record.kind, sentence(one.record))) for one in newest]
                count += found
    except CannotUseJournal as error:
        return Timeline(error=str(error))
    rows = [row for _, row in sorted(kept)[-MOST:]]
    return Timeline(rows, count - len(rows))


def report(journal: Path, incident: str) -> str | None:
    """The report of an incident as one HTML file, in UTC; None where the journal has no such incident.

    Raises:
        CannotUseJournal: it cannot be read.
    """
    from agent.evidence.journal_read import read_only
    from agent.report import read, tell, write

    with read_only(journal) as reader:
        raw = read.gather(reader, incident)
    return write.html(tell.story(raw, time.time()), lambda ts: datetime.fromtimestamp(ts, UTC)) if raw else None


def _newest(reader: Any, incident: str) -> tuple[Sequence[Any], int]:
    newest: deque[Any] = deque(maxlen=MOST)
    count, last = 0, -1
    while count < LOOKED_AT and (page := reader.records(last, PAGE, incident=incident)):
        newest += page
        count, last = count + len(page), page[-1].seq
    return list(newest), count
