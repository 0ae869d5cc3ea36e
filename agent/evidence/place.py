"""Where one agent keeps its evidence, and what it is told by those who know more than records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.evidence.journal_file import DISK, PATIENCE
from agent.record import Record


@dataclass(frozen=True)
class Place:
    """Where evidence is kept, and how much. `spool` is on another disk than the journal: /run, which is memory.

    `patience` are the seconds for which a write, and the agent with it, waits for somebody else's.
    """

    journal: Path
    key: Path
    spool: Path
    host: str
    keep_events: tuple[float, int] = (7 * 86400.0, 256 << 20)
    ballast: int = 16 << 20
    patience: float = PATIENCE


class Memory(Protocol):
    """What the agent knows, for a journal that begins anew."""

    def learn(self, record: Record, ts: float) -> None:
        """Let a record be true that the agent did not decide."""

    def plain(self) -> Mapping[str, Any]:
        """The state for a snapshot."""


def make_directory(state: Path) -> None:
    """Make the directory that evidence is kept in; where the disk takes none, the keeper goes on without.

    Raises:
        OSError: this user may not.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in DISK:
            raise


def reason(error: Exception) -> str:
    """The reason in one sentence, without what could not be done and without the mend."""
    first = str(error).partition("\n")[0]
    return first.partition(": ")[2] or first
