"""What the agent knows beside incidents and mitigations: people's lists, pauses, approvals. One book for each. Pure.

A book has records of its own kinds, changes by them alone, and says itself as plain JSON for snapshots, so that it lives
through a crash exactly like everything else in the state.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from agent.record import Record


class Book(Protocol):
    """Part of the state. `kinds` are the records that change it; nothing else does."""

    kinds: ClassVar[frozenset[str]]

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says; `ts` is Unix seconds."""

    def plain(self) -> Any:
        """All of it as JSON values. Names that others chose stand in pairs, never as keys: the redactor would hide values."""

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""

    def shift(self, by: float) -> None:
        """The host's clock jumped by so many seconds: move every time that is kept, so that what was to last an hour does."""
