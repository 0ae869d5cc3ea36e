"""What the state keeps for reports: which policy texts the journal has, and what each report still lacks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple

from agent.record import Record

MOST: Final = 5000
"""Texts, and reports, that are remembered."""


class Texts:
    """The digests of policies whose text stands in the journal, each once."""

    kinds: ClassVar[frozenset[str]] = frozenset({"policy_text"})

    def __init__(self) -> None:
        """None yet."""
        self.known: dict[str, None] = {}

    def fold(self, record: Record, ts: float) -> None:  # noqa: ARG002 - every book's signature
        """One more stands there."""
        self.known[record.body["digest"]] = None
        if len(self.known) > MOST:  # it is written down once more when it is live again
            del self.known[next(iter(self.known))]

    def plain(self) -> Any:
        """All of it as JSON values."""
        return list(self.known)

    def restore(self, plain: Sequence[str]) -> None:
        """Be again what `plain` said."""
        self.known = dict.fromkeys(plain)

    def shift(self, by: float) -> None:
        """No time is kept."""


class Written(NamedTuple):
    """The latest version of what people wrote for a report: its number, by whom, and the parts that are still empty."""

    version: int
    actor: str
    missing: tuple[str, ...]


class WriteUps:
    """What people wrote for reports, by incident. The text itself stands in the journal alone."""

    kinds: ClassVar[frozenset[str]] = frozenset({"report_written"})

    def __init__(self) -> None:
        """Nothing is written."""
        self.all: dict[str, Written] = {}

    def of(self, names: Sequence[str]) -> Written | None:
        """The latest of a lead and those told with it, the lead's own first; None where nobody has written anything."""
        return next((one for name in names if (one := self.all.get(name))), None)

    def fold(self, record: Record, ts: float) -> None:  # noqa: ARG002 - every book's signature
        """Somebody has written."""
        body = record.body
        self.all.pop(record.incident, None)
        self.all[record.incident] = Written(body["version"], body["actor"], tuple(body["missing"]))
        if len(self.all) > MOST:
            del self.all[next(iter(self.all))]

    def plain(self) -> Any:
        """All of it as JSON values."""
        return [[name, list(one)] for name, one in self.all.items()]

    def restore(self, plain: Sequence[Any]) -> None:
        """Be again what `plain` said."""
        self.all = {name: Written(version, actor, tuple(missing)) for name, (version, actor, missing) in plain}

    def shift(self, by: float) -> None:
        """No time is kept."""
