"""A scan that comes in: what of it is new goes on as events, the rest is only counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agent.event import Event
from agent.messages import Asked, Effect, Reply
from agent.scans.known import Unit
from agent.streams.scan import FINDING, SCAN, is_scan
from agent.turn import Agent, Turn

_COUNTS: Final = ("findings", "known", "new", "gone")


def sift(agent: Agent, events: Sequence[Event], now: float) -> tuple[Sequence[Event], list[Effect]]:
    """The events less the findings that are known, and the records of the scans among them.

    Each report is of a whole target: what of the target was known and is not among the events is gone.
    """
    if not is_scan(events):
        return events, []
    turn, found = Turn(agent, now), _by_unit(events)
    counts = {unit: _taken(turn, unit, marks, set(marks)) for unit, marks in found.items()}
    fresh = {unit: set(said["fresh"]) for unit, said in counts.items()}
    kept = [_counted(one, counts[unit_of(one)]) for one in events if _stays(one, fresh)]
    return kept, turn.effects


def _by_unit(events: Iterable[Event]) -> dict[Unit, list[str]]:
    found: dict[Unit, list[str]] = {}
    for one in events:
        if one.kind == SCAN.name:
            found.setdefault(unit_of(one), [])
    for one in events:
        if one.kind == FINDING.name and (marks := found.get(unit_of(one))) is not None:
            marks.append(str(one.get("fingerprint")))
    return found


def _stays(one: Event, fresh: Mapping[Unit, set[str]]) -> bool:
    return one.kind != FINDING.name or unit_of(one) not in fresh or str(one.get("fingerprint")) in fresh[unit_of(one)]


def _counted(one: Event, said: Mapping[str, Any]) -> Event:
    if one.kind != SCAN.name:
        return one
    return one._replace(fields={**one.fields, **{name: said[name] for name in _COUNTS}})


def unit_of(one: Event) -> Unit:
    """The scanner and the target that an event is about."""
    return str(one.get("scanner")), str(one.get("target"))


def _taken(turn: Turn, unit: Unit, marks: Sequence[str], whole: set[str] | None) -> dict[str, Any]:
    """Write down what is new, and with all that the target has (`whole`) also what is gone."""
    known = turn.agent.state.scans.known(unit)
    fresh = list(dict.fromkeys(one for one in marks if one not in known))
    gone = sorted(known - whole) if whole is not None else []
    body = {"scanner": unit[0], "target": unit[1], "findings": len(whole) if whole is not None else len(marks)}
    before = turn.agent.state.scans.forgotten
    turn.note("scanned", body | {"new": " ".join(fresh), "gone": " ".join(gone)})
    if (forgotten := turn.agent.state.scans.forgotten - before) > 0:
        turn.agent.state.evict("scans", forgotten)
    return {"findings": body["findings"], "known": len(marks) - len(fresh), "new": len(fresh), "gone": len(gone), "fresh": fresh}


# What a person imports ----------------------------------------------------------------------------------------------------


def imported(agent: Agent, asked: Asked, now: float) -> tuple[list[Event], list[Effect]]:
    """The events that are new with a part of a scan, its record, and the answer, which is given after their commit.

    The last part brings `whole`: the fingerprints of all findings of the scan, by which what is gone is known.
    """
    turn, body = Turn(agent, now), asked.body
    scan = body["scan"]
    unit = (scan["scanner"], scan["target"])
    findings = {str(one["fingerprint"]): one for one in body["findings"]}
    whole = set(body["whole"].split()) if "whole" in body else None
    said = _taken(turn, unit, list(findings), whole)
    source, raw = f"import:{unit[0]}", f"imported by {asked.actor}"
    events = [Event(FINDING.name, now, {**findings[mark], "scanner": unit[0], "target": unit[1]}, source, now, raw)
              for mark in said["fresh"]]  # fmt: skip
    if whole is not None:
        fields = {**scan, "findings": len(whole), "new": body.get("new", 0) + said["new"], "gone": said["gone"]}
        events.insert(0, Event(SCAN.name, now, fields | {"known": len(whole) - fields["new"]}, source, now, raw))
    turn.do(Reply(asked, {"result": "imported", **{name: said[name] for name in ("known", "new", "gone")}}))
    return events, turn.effects


def unkept(failing: str) -> dict[str, str]:
    """What the answer is after all where the commit before it did not come to be; nothing where it did."""
    return {"result": "failed", "error": f"evidence cannot be written: {failing}"} if failing else {}
