"""One step of evidence before and after it is stored: what flow.py decides, what journal.py keeps.

A record is at once what happened (for people and courts) and the change of state it makes (for the next start): state is
never stored beside the records, it is what they add up to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """Something that was decided or came of a decision.

    `body` holds JSON values, and the typed values of schema.py and action.py, which the journal writes as JSON.
    `incident` is as in `INC-7`, `mitigation` as in `M-41`; both are empty where there is none.
    """

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    incident: str = ""
    mitigation: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record read back: `seq` counts from 0 without gaps, `ts` is Unix seconds, `leaf` the exact bytes that are hashed."""

    seq: int
    ts: float
    record: Record
    leaf: bytes
    chain: bytes
