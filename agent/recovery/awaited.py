"""The book of the incidents that wait for their checks (awaiting.py). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from agent.record import Record


class Waiting(NamedTuple):
    """Since when an incident waits for its checks, and until when (Unix seconds)."""

    since: float
    until: float


@dataclass
class Awaited:
    """The book of the incidents that wait for their checks."""

    kinds: ClassVar[frozenset[str]] = frozenset({"awaited", "awaited_over"})

    all: dict[str, Waiting] = field(default_factory=dict)

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        if record.kind == "awaited":
            self.all[record.incident] = Waiting(ts, record.body["until"])
        else:
            self.all.pop(record.incident, None)

    def shift(self, by: float) -> None:
        """The host's clock was set."""
        self.all = {name: Waiting(one.since + by, one.until + by) for name, one in self.all.items()}

    def plain(self) -> Any:
        """All of it as JSON values."""
        return [[name, *one] for name, one in self.all.items()]

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        self.all = {name: Waiting(since, until) for name, since, until in plain}
