"""What the journal has about an incident, before anything is told of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agent.record import Record


class Line(NamedTuple):
    """A record as reports see it: its number, its time (Unix seconds) by the clock as it was set last, its hash in the tree."""

    seq: int
    at: float
    record: Record
    sha256: str
    by: float = 0.0
    """Seconds by which the host's clock was set between this record and the last one of the incident."""


class Raw(NamedTuple):
    """What the journal has about an incident: `names` are its lead and all told with it, `lines` their records in order,
    `texts` the policies by digest, `answers` and runs of the agent those that tell of downtime, `left` records left out."""

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    texts: Mapping[str, Line]
    answers: tuple[Line, ...]
    host: str
    records: int
    covered: int
    left: int = 0


def versions(raw: Raw) -> list[Line]:
    """What people wrote for the report, the oldest first: the lead's own, else that of one that was merged into it."""
    written = [one for one in raw.lines if one.record.kind == "report_written"]
    return [one for one in written if one.record.incident == raw.names[0]] or written
