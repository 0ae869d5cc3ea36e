"""What happened to the evidence itself and a person must know of: a journal that was lost, a key that is another. Pure.

Each stays in `contain status` until somebody says that it is seen to (`contain evidence accept`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from agent.record import Record

KINDS: Final = frozenset({"journal_lost", "key_changed", "key_open", "evidence_gap"})
"""Records that a mishap leaves in the journal. A gap without a loss is none: everything was written in the end."""
MOST: Final = 20


class Mishap(NamedTuple):
    """One of them: when (Unix seconds), what, why, and what a person does about it."""

    at: float
    kind: str
    say: str
    mend: str


class Mishaps:
    """Those that nobody has seen to yet, the oldest first. `bereft` while not every system has said what it holds, after all
    that was known was lost; `answered` are those that have.
    """

    kinds: ClassVar[frozenset[str]] = KINDS | {"mishaps_accepted", "system_asked"}

    def __init__(self) -> None:
        """Nothing happened."""
        self.all: list[Mishap] = []
        self.bereft = False
        self.answered: frozenset[str] = frozenset()

    def fold(self, record: Record, ts: float) -> None:
        """One more, or all of them seen to."""
        if record.kind == "system_asked":
            self.answered |= {record.body["system"]}
            return
        if record.kind in ("journal_lost", "key_changed") and not record.body["known"]:
            self.bereft, self.answered = True, frozenset()
        if record.kind == "mishaps_accepted":
            self.all = []
        elif record.kind != "evidence_gap" or record.body["left_out"]:
            fresh = Mishap(ts, record.kind, say(record), str(record.body.get("mend", "")))
            self.all = [*(one for one in self.all if one.say != fresh.say), fresh][-MOST:]

    def plain(self) -> Any:
        """Rows, and who has answered."""
        return {"all": [list(one) for one in self.all], "bereft": self.bereft, "answered": sorted(self.answered)}

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        self.all = [Mishap(*one) for one in plain["all"]]
        self.bereft, self.answered = plain["bereft"], frozenset(plain["answered"])

    def shift(self, by: float) -> None:
        """The host's clock jumped."""
        self.all = [one._replace(at=one.at + by) for one in self.all]


def say(record: Record) -> str:
    """What happened, in one sentence."""
    body: Mapping[str, Any] = record.body
    match record.kind:
        case "journal_lost":
            return f"the journal was lost and a new one begun: {body['because']}; the old one is in {body['aside']}"
        case "key_changed":
            return f"evidence is signed by a new key: {body['because']}; what the old one signed is in {body['aside']}"
        case "key_open":
            return f"others may use the signing key: {body['because']}"
        case _:
            return f"{body['left_out']} records are not in the journal: {body['because']}; syslog has them"
