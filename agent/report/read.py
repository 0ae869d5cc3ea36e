"""Out of the journal, what a report is made of: the records of an incident, of all that is told with it, and around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from agent.evidence.journal_read import Reader
from agent.evidence.merkle import leaf_hash
from agent.record import Record, Stored
from agent.report.downtime import KIND as ANSWER
from agent.report.raw import Line, Raw

MOST: Final = 200_000
"""Records of one incident that a report is made of; what comes after them is counted."""
_MOST_BY_HAND: Final = 100
_ALONE: Final = b'"incident":"","mitigation":"'
"""What stands in the bytes of every record that belongs to no incident."""
_MEMBERS: Final = (b'"lead":"INC-', b'"kind":"merged"')
_ABOUT_MANY: Final = frozenset({"drifted", "healed", "heal_failed", "end_moved"})
_AROUND: Final = frozenset(
    {"paused", "resumed", "evidence_failing", "evidence_gap", "journal_lost", "clock_set", "started", "stopped"}
)


def leads(records: Iterable[Record]) -> dict[str, str]:
    """With which incident others are told at last, by their names."""
    lead_of: dict[str, str] = {}
    for one in records:
        if one.kind == "finding" and one.body.get("lead") and one.incident not in lead_of:
            lead_of[one.incident] = str(one.body["lead"])
        elif one.kind == "merged":
            into = str(one.body["into"])
            for name, lead in lead_of.items():
                if lead == one.incident:
                    lead_of[name] = into
            lead_of[one.incident] = into
    return lead_of


def gather(reader: Reader, name: str) -> Raw | None:
    """All about the incident that people see this one as; None where the journal has no such incident.

    Raises:
        CannotUseJournal: it cannot be read; CorruptJournal: it is not what was written.
    """
    with reader.frozen():
        lead_of = leads(one.record for one in reader.having(*_MEMBERS))
        lead = lead_of.get(name, name)
        names = (lead, *(one for one, its in lead_of.items() if its == lead and one != lead))
        own, left = list[Stored](), 0
        for one in names:
            found = reader.records(limit=MOST + 1, incident=one)
            left += max(0, len(own) + len(found) - MOST)
            own += found[: MOST - len(own)]
        if not any(one.record.kind == "finding" for one in own):
            return None
        texts, answers, around = _around(reader, own)
        own = sorted({one.seq: one for one in (*own, *around)}.values(), key=lambda one: one.seq)
        covered = max((one.size for one in reader.checkpoints()), default=0)
        size = reader.size
    shift = _shift(own)
    host = str(from_json(own[0].leaf).get("host", ""))
    return Raw(
        names,
        tuple(map(shift, own)),
        {k: shift(v) for k, v in texts.items()},
        tuple(map(shift, answers)),
        host,
        size,
        covered,
        left,
    )


def _around(reader: Reader, own: list[Stored]) -> tuple[dict[str, Stored], list[Stored], list[Stored]]:
    """What belongs to no incident, and yet to this one: policy texts, answers of checks, and what else went on."""
    ours = _Ours.of(own, reader.size)
    texts, answers, around, by_hand = dict[str, Stored](), list[Stored](), list[Stored](), set[str]()
    for one in reader.having(_ALONE):
        record = one.record
        if record.kind == "policy_text" and record.body["digest"] in ours.digests:
            texts[record.body["digest"]] = one
        if record.kind in ("started", "stopped") or (record.kind == ANSWER and record.body["name"] in ours.checks):
            answers.append(one)
        if ours.by_hand(one):
            by_hand.add(record.mitigation)
        if ours.has(one):
            around.append(one)
    for name in sorted(by_hand)[:_MOST_BY_HAND]:
        around += reader.records(mitigation=name)
    return texts, answers, around


class _Ours(NamedTuple):
    """By what a record that names no incident is known to belong to one, from its first record to its last."""

    first: int
    last: int
    digests: frozenset[str]
    checks: frozenset[str]
    targets: frozenset[str]
    made: frozenset[str]

    @classmethod
    def of(cls, own: list[Stored], size: int) -> _Ours:
        records = [one.record for one in own]
        return cls(
            min(one.seq for one in own),
            max(one.seq for one in own) if _over(records) else size,
            frozenset(str(one.body.get("digest")) for one in records if one.kind in ("finding", "intent")),
            frozenset(str(name) for one in records for name in one.body.get("impact", ())),
            frozenset(str(one.body["target"]) for one in records if one.kind == "finding"),
            frozenset(one.mitigation for one in records if one.mitigation),
        )

    def by_hand(self, one: Stored) -> bool:
        """Whether a person did something about one of its targets meanwhile."""
        record = one.record
        return record.kind == "intent" and self.first <= one.seq <= self.last and record.body["target"] in self.targets

    def has(self, one: Stored) -> bool:
        """Whether it went on meanwhile, and matters to whoever reads of it."""
        record = one.record
        if record.kind in _ABOUT_MANY:
            return bool(_names(record.body) & self.made)
        if not self.first <= one.seq <= self.last:
            return False
        return (
            record.kind in _AROUND
            or record.mitigation in self.made
            or (record.kind == ANSWER and record.body["name"] in self.checks)
        )


def _over(records: Iterable[Record]) -> bool:
    """Whether all of them have ended."""
    phases: dict[str, str] = {}
    for one in records:
        if one.kind == "phase":
            phases[one.incident] = str(one.body["phase"])
        elif one.kind == "finding":
            phases[one.incident] = "open"
    return all(one in ("resolved", "closed") for one in phases.values())


def _names(body: Mapping[str, Any]) -> set[str]:
    rows = [*body.get("mitigations", ()), *body.get("failed", ()), *(name for name, _ in body.get("ends", ()))]
    return {str(one["mitigation"]) if isinstance(one, Mapping) else str(one) for one in rows}


def _shift(own: list[Stored]) -> Callable[[Stored], Line]:
    """Times by the clock as it was set last: an hour that was set away within an incident is no hour of downtime."""
    sets = [(one.seq, float(one.record.body["by"])) for one in own if one.record.kind == "clock_set"]

    def line(one: Stored) -> Line:
        by = sum(by for seq, by in sets if seq > one.seq)
        return Line(one.seq, one.ts + by, one.record, leaf_hash(one.leaf).hex(), by)

    return line
