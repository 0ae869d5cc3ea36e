"""From the records of an incident to its story. Pure: the same records at the same moment tell the same story, word for word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from agent.notifying.regimes import clocks
from agent.report import notes as people
from agent.report.deeds import HOLDING, deeds, kept
from agent.report.downtime import KIND as ANSWER
from agent.report.downtime import Downs, downs
from agent.report.downtime import read as answers
from agent.report.life import Life, first_contained
from agent.report.raw import Line, Raw, versions
from agent.report.story import Clock, Deed, Lane, Moment, Numbers, Story, Target, Text, long
from agent.say import sentence
from agent.visible import visible

_LANES: Final[dict[str, Lane]] = {
    **dict.fromkeys((ANSWER, "alert_fires", "alert_over", "muted"), "signal"),
    **dict.fromkeys(("finding", "recurred"), "detect"),
    **dict.fromkeys(("approved", "denied", "confirmed", "silenced", "silence_ended", "paused", "resumed"), "human"),
    **dict.fromkeys(("acknowledged", "assigned", "noted", "severity", "merged", "report_written"), "human"),
    **dict.fromkeys(("lifting", "lifted", "lift_failed", "released", "release_frozen", "end_moved"), "recover"),
    **dict.fromkeys(("awaited", "awaited_over"), "recover"),
}
_PHASES: Final[dict[str, Lane]] = {"open": "detect", "contained": "action", "closed": "human"}
_TOLD: Final = ("notice", "notified", "told", "untold", "escalated", "proposed", "published", "regime", "reminded", "deliver")
"""How the kinds of records about notifications begin."""
_ITS_OUTCOME: Final = {"intent": ("in_force", "done", "partly", "failed", "not_verified", "recovered"), "lifting": ("lifted",)}
_LONGEST: Final = 600


def lane(line: Line) -> Lane:
    """Where in the picture it stands."""
    kind = line.record.kind
    if kind == "phase":
        return _PHASES.get(str(line.record.body["phase"]), "recover")
    if kind.startswith(_TOLD):
        return "notify"
    return _LANES.get(kind, "action")


def story(raw: Raw, now: float) -> Story:
    """The whole of it, as of `now` (Unix seconds)."""
    life, openings = Life(), dict[str, Line]()
    for one in raw.lines:
        if one.record.incident in raw.names:
            life.take(one.record, one.at)
            if one.record.kind == "finding":
                openings.setdefault(one.record.incident, one)
    lead = raw.names[0] if raw.names[0] in openings else next(iter(openings))
    seen = life.picture(lead)
    if seen is None:
        raise ValueError(f"{lead} has no finding")  # read.gather has seen one
    made = deeds(raw.lines)
    first = openings[lead].record.body
    down, checks = _downtime(raw, openings.values(), seen.resolved)
    written = versions(raw)
    said = people.read(str(written[-1].record.body["text"])) if written else people.Notes({})
    began = _began(openings.values())
    opened = min(one.at for one in openings.values())
    numbers = _numbers(raw, life, openings, made, (began, opened, seen.resolved))
    closing = next((one for one in reversed(raw.lines) if one.record.body.get("phase") == "closed"), None)
    told = Story(
        id=lead,
        title=str(first["title"]),
        policy=str(first["policy"]),
        severity=seen.severity,
        severities=_severities(raw),
        about=seen.about,
        phase=seen.phase,
        host=raw.host,
        written=now,
        began=began,
        opened=opened,
        acked=min((life.acked[one] for one in raw.names if one in life.acked), default=None),
        acked_by=seen.lead.acked_by,
        assigned=seen.lead.assigned,
        contained=seen.contained,
        resolved=seen.resolved,
        closed=seen.lead.closed if seen.phase == "closed" else None,
        closed_by=str(closing.record.body.get("actor", "")) if closing and seen.phase == "closed" else "",
        false=seen.lead.false,
        because=str(first["because"]),
        before=seen.lead.before,
        first="",
        numbers=_with_downtime(numbers, down, checks, now),
        targets=tuple(_target(life, name) for name in openings if name in life.state.incidents),
        moments=tuple(_moments(raw, openings, down, made)),
        deeds=made,
        downs=down.all,
        impact=checks,
        kept=kept(raw.lines),
        texts=tuple(Text(str(o.record.body["policy"]), d, str(o.record.body["text"]), o.seq) for d, o in raw.texts.items()),
        untexted=_untexted(raw, openings.values()),
        clocks=tuple(
            Clock(law.upper(), what, due, done, done is None and due < now) for law, what, due, done in clocks(life.state, lead)
        ),
        regimes=tuple(dict.fromkeys(str(law) for one in openings.values() for law in one.record.body.get("regimes", ()))),
        notes=dict(said.parts),
        items=said.items,
        further=said.further,
        version=len(written) and int(written[-1].record.body["version"]),
        written_by=str(written[-1].record.body["actor"]) if written else "",
        missing=people.unfilled(str(written[-1].record.body["text"])) if written else people.NOTHING,
        records=raw.records,
        covered=raw.covered,
        left=raw.left,
    )
    return replace(told, first=first_sentence(told))


def _began(openings: Iterable[Line]) -> float:
    """When the first event of all happened, as its source says: never after it was found."""
    said = ((one, one.record.body.get("began", one.record.body.get("at"))) for one in openings)
    return min(one.at if at is None else min(one.at, float(at) + one.by) for one, at in said)


def first_sentence(told: Story) -> str:
    """What stands alone: what, how much, how quickly found and contained, how it ended, how long something was down."""
    many = f" and {told.numbers.targets - 1} more" if told.numbers.targets > 1 else ""
    target = told.targets[0].target if told.targets else told.host
    said = f"{told.severity} {told.title}: {target}{many}"
    words = [f"found {long(told.numbers.detect)} after it began"]
    if told.numbers.contain is not None:
        words.append(f"contained {long(told.numbers.contain)} later")
    elif told.numbers.would:
        words.append("nothing was done, in dry run")
    if told.false:
        words.append("a person says that it was none")
    elif told.numbers.resolve is not None:
        words.append(f"over {long(told.numbers.resolve)} after it began")
    else:
        words.append(f"{told.phase} as of this report")
    ending = f"; {long(told.numbers.downtime)} of downtime" if told.numbers.downtime else ""
    return visible(f"{said}. {words[0][0].upper()}{', '.join(words)[1:]}{ending}.", _LONGEST)


# Numbers ------------------------------------------------------------------------------------------------------------------


def _numbers(
    raw: Raw, life: Life, openings: dict[str, Line], made: Sequence[Deed], times: tuple[float, float, float | None]
) -> Numbers:
    began, opened, resolved = times
    at = {name: one.at for name, one in openings.items()}
    acked = min((life.acked[one] for one in raw.names if one in life.acked), default=None)
    contained = first_contained(at, life.contained)
    slow = [life.contained[name] - since for name, since in at.items() if name in life.contained]
    kinds = [one.record.kind for one in raw.lines]
    states = [one.state for one in made]
    notify = [one for one in raw.lines if lane(one) == "notify"]
    return Numbers(
        detect=opened - began,
        acknowledge=None if acked is None else max(0.0, acked - opened),
        contain=None if contained is None else contained - opened,
        slowest=max(slow, default=None),
        resolve=None if resolved is None else resolved - began,
        targets=len({one.record.body["target"] for one in openings.values()}),
        findings=kinds.count("finding"),
        applied=sum(one.began is not None for one in made),
        failed=states.count("failed") + kinds.count("plan_failed"),
        refused=kinds.count("refused"),
        undone=states.count("lifted"),
        in_force=sum(one in HOLDING for one in states),
        would=states.count("would"),
        told=sum(one.record.kind == "notice" for one in notify),
        untold=sum(one.record.kind.startswith("untold") for one in notify),
    )


def _downtime(raw: Raw, openings: Iterable[Line], resolved: float | None) -> tuple[Downs, tuple[str, ...]]:
    checks = tuple(dict.fromkeys(str(one) for line in openings for one in line.record.body.get("impact", ())))
    found = downs(answers((one.at, one.record.kind, one.record.body) for one in raw.answers), checks)
    first = min(one.at for one in raw.lines if one.record.incident in raw.names)
    began = [float(one.record.body.get("began", one.at)) + one.by for one in raw.lines if "began" in one.record.body]
    return found.about(min([first, *began]), resolved), checks


def _with_downtime(numbers: Numbers, down: Downs, checks: Sequence[str], now: float) -> Numbers:
    return replace(numbers, downtime=down.seconds(now), unsure=down.unsure(now)) if checks else numbers


# Its parts ----------------------------------------------------------------------------------------------------------------


def _target(life: Life, name: str) -> Target:
    one = life.state.incidents[name]
    contained = life.contained.get(name)
    return Target(name, one.target, one.policy, one.phase, one.opened, contained, one.resolved, one.findings)


def _severities(raw: Raw) -> tuple[str, ...]:
    """Every severity that it had, in order."""
    said = [str(one.record.body["severity"]) for one in raw.lines if one.record.kind in ("finding", "severity")]
    return tuple(dict.fromkeys(said))


def _untexted(raw: Raw, openings: Iterable[Line]) -> tuple[str, ...]:
    found = {str(one.record.body["policy"]): str(one.record.body["digest"]) for one in openings}
    return tuple(f"{name} ({digest[:12]})" for name, digest in found.items() if digest not in raw.texts)


def _lines(raw: Raw, down: Downs) -> list[Line]:
    """Its records, and the bad answers from before it was found."""
    first = min((one.since for one in down.all), default=raw.lines[0].at)
    early = [one for one in raw.answers if one.record.kind == ANSWER and first <= one.at and one.seq < raw.lines[0].seq]
    return [*early, *raw.lines]


def _moments(raw: Raw, openings: dict[str, Line], down: Downs, made: Sequence[Deed]) -> Iterable[Moment]:
    """The timeline. An intent whose outcome follows is told by its outcome alone; the intent stands among the actions."""
    done: dict[str, set[str]] = {}
    for one in raw.lines:
        if one.record.mitigation:
            done.setdefault(one.record.mitigation, set()).add(one.record.kind)
    does = {one.id: one.does for one in made}
    began = _began(openings.values())
    first = min(openings.values(), key=lambda one: one.at)
    source = visible(first.record.body.get("source") or "a sensor")
    start = (
        Moment(began, "signal", "began", f"the first event that led to it, from {source}", first.seq)
        if began < first.at
        else None
    )
    for one in _lines(raw, down):
        outcomes = _ITS_OUTCOME.get(one.record.kind, ())
        if done.get(one.record.mitigation, set()) & set(outcomes):
            continue
        if start and one.at > start.at:
            yield start
            start = None
        said = sentence(one.record)
        if one.record.kind in ("in_force", "done", "failed", "not_verified", "lifted") and one.record.mitigation in does:
            said = f"{said}: {does[one.record.mitigation]}"
        yield Moment(one.at, lane(one), one.record.kind, visible(said, _LONGEST), one.seq)
