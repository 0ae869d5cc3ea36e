"""What the agent answers to questions: its state as plain JSON values, for the control socket. Pure, and read-only.

Keys are only ever added. Times are Unix seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent import gathering
from agent.alerts.standing import Alert
from agent.crowd import MANY
from agent.event import ALERT
from agent.feeds import followed
from agent.guard import Lifeline
from agent.incident import Incident, Mitigation
from agent.judge import COOL_OFF
from agent.notifying import delivered, regimes
from agent.people import pausing, silencing
from agent.people.approvals import view as shown
from agent.policy import BUILT_IN, ROUND
from agent.recovery import release
from agent.schema import address, spoken
from agent.state import finding_of
from agent.turn import Agent

MOST: Final = 1000
"""Rows in one answer; `total` says how many there are."""
NAMED: Final = 10
"""Targets that an incident of many names."""
GLANCE: Final = 100
"""Rows of each kind in a status."""

Counters = Mapping[str, tuple[int, int]]
"""Packets and bytes stopped, by mitigation key."""


def mitigation(agent: Agent, one: Mitigation, now: float, counters: Counters) -> dict[str, Any]:
    """One mitigation. `verified` is when the system last said that it holds."""
    packets, size = counters.get(one.key, (None, None))
    return {
        "id": one.id,
        "stage": one.stage,
        "action": one.action,
        "target": one.target,
        "policy": one.policy,
        "incident": one.incident,
        "actor": one.actor,
        "because": one.because,
        "describe": one.change.describe,
        "short": one.short or agent.under_way.get(one.id, ""),
        "confirm": one.confirm,
        "touches": list(one.change.touches),
        "since": one.since,
        "until": one.until,
        "left": one.left(now),
        "alone": agent.alone.get(one.id, ""),
        "verified": agent.verified.get(one.id),
        "packets": packets,
        "bytes": size,
        "apply": str(one.change.apply),
        "undo": str(one.change.undo) if one.change.undo else None,
    }


def incident(agent: Agent, one: Incident, now: float) -> dict[str, Any]:
    """One incident; `silenced` says who does not want to be told of it, until when and why."""
    return {
        "id": one.id,
        "policy": one.policy,
        "target": one.target,
        "severity": one.severity,
        "title": one.title,
        "phase": one.phase,
        "opened": one.opened,
        "last": one.last,
        "contained": one.contained,
        "resolved": one.resolved,
        "findings": one.findings,
        "because": one.because,
        "mitigations": list(one.mitigations),
        "told": list(one.told),
        "about": one.about,
        "began": one.began,
        "acked": one.acked,
        "acked_by": one.acked_by,
        "assigned": one.assigned,
        "closed": one.closed,
        "false": one.false,
        "before": one.before,
        "lead": one.lead,
        "runbook": named.page if (named := agent.policies.get(one.policy)) else "",
        "whole": None if one.lead else _whole(agent, one),
        "silenced": silencing.of(agent, one, now),
        "clocks": regimes.rows(agent.state, one.id) if agent.state.clocks.all and not one.lead else [],
        **release.plan(agent, one, now),
    }


def _whole(agent: Agent, one: Incident) -> dict[str, Any] | None:
    """A lead together with all that are told with it; None where it is alone."""
    seen = gathering.picture(agent.state, one.id) if one.joined else None
    if seen is None:
        return None
    times = {"phase": seen.phase, "severity": seen.severity, "contained": seen.contained, "resolved": seen.resolved}
    return {**times, "many": seen.many, "targets": list(seen.targets[:NAMED]), "with": [each.id for each in seen.members[:MOST]]}


def mitigations(agent: Agent, now: float, counters: Counters, *, ended: bool = False, most: int = MOST) -> dict[str, Any]:
    """Those in force (and, in a dry run, those that would be), newest first; with `ended` also the latest that are over.

    `unsettled` counts those whose call is out or whose outcome is in doubt, `would` those of a dry run.
    """
    state = agent.state
    held = [one for one in state.mitigations.values() if ended or (one.active and one.policy != ROUND)]
    would = [one for one in state.would.values() if one.left(now) != 0.0 and (ended or one.policy != ROUND)]
    newest = heapq.nlargest(most, [*held, *would], key=lambda one: one.since)
    return {
        "total": len(held) + len(would),
        "unsettled": sum(one.stage in ("applying", "lifting") for one in held),
        "would": len(would),
        "items": [mitigation(agent, one, now, counters) for one in newest],
    }


def incidents(agent: Agent, now: float, *, ended: bool = False, most: int = MOST) -> dict[str, Any]:
    """What goes on, the most severe first, so many of them silenced; with `ended` also the latest that are over.

    Those that are told with another one come behind all that are told themselves, of which there are `leads`. A lead that is over
    itself is there while others of it go on.
    """
    known = agent.state.incidents
    rows = [one for one in known.values() if ended or (not one.over and one.policy != ROUND)]
    if not ended:
        rows += [known[name] for name in {one.lead for one in rows if one.lead} if name in known and known[name].over]
    first = heapq.nsmallest(most, rows, key=lambda one: (bool(one.lead), one.over, one.severity, -one.last))
    silent = sum(agent.state.silences.about(one, now) is not None for one in rows) if agent.state.silences.all else 0
    leads = sum(not one.lead for one in rows)
    return {"total": len(rows), "leads": leads, "silenced": silent, "items": [incident(agent, one, now) for one in first]}


def approvals(agent: Agent) -> dict[str, Any]:
    """What waits for a person's yes, the most urgent end first; then what came of the latest."""
    known = sorted(agent.state.approvals.all.values(), key=lambda one: (bool(one.over), -one.asked if one.over else one.until))
    return {"total": sum(not one.over for one in known), "items": [shown(one) for one in known[:MOST]]}


def alerts(agent: Agent) -> dict[str, Any]:
    """What other tools say fires, the latest first; then the latest that are over. `times` counts since the agent's start."""
    book = agent.state.alerts
    rows = sorted(book.all.values(), key=lambda one: -one.since)[:MOST] + list(reversed(book.over))
    return {"total": len(book.all), "items": [_alert(agent, one) for one in rows]}


def _alert(agent: Agent, one: Alert) -> dict[str, Any]:
    fields = dict(one.fields)
    said = {key: fields.get(key) for key in ("name", "severity", "instance", "service", "summary", "link")}
    times, last = agent.told_of.get(one.key, (1, one.since))
    head = {"source": one.source, "fingerprint": one.fingerprint, **said, "since": one.since, "last": last, "times": times}
    labels = [list(pair) for pair in one.fields if pair[0].startswith(ALERT.open)]
    return {**head, "ended": one.ended, "because": one.because, "labels": labels}


def policies(agent: Agent) -> dict[str, Any]:
    """Every live policy with the mode that counts now."""
    rows = []
    for name, one in sorted((name, one) for name, one in agent.policies.items() if name not in BUILT_IN):
        found = sum(1 for each in agent.state.incidents.values() if each.policy == name)
        shown = {"policy": name, "severity": one.severity, "mode": agent.mode(one), "title": one.title, "place": one.place}
        rows.append(shown | {"incidents": found, "active": agent.state.active.get(name, 0)})
    return {"total": len(rows), "items": rows}


def status(agent: Agent, now: float, counters: Counters) -> dict[str, Any]:
    """The picture at 3 a.m.: what is wrong, what is in force, who has paused what."""
    state = agent.state
    modes = [agent.mode(one) for name, one in agent.policies.items() if name not in BUILT_IN]
    pause = max((one for one in state.pauses.on if not one.policies), key=lambda one: one.until, default=None)
    return {
        "host": agent.settings.host,
        "mode": "dry_run" if agent.settings.forced else agent.settings.mode,
        "modes": {mode: modes.count(mode) for mode in ("enforce", "dry_run", "off")},
        "pause": {"until": pause.until, "actor": pause.actor, "why": pause.why} if pause else None,
        "pauses": pausing.shown(agent, now)["items"],
        "incidents": incidents(agent, now, most=GLANCE),
        "mitigations": mitigations(agent, now, counters, most=GLANCE),
        "approvals": [shown(one) for one in agent.state.approvals.waiting[:GLANCE]],
        "alerts": {"total": len(state.alerts.all), "items": alerts(agent)["items"][: min(GLANCE, len(state.alerts.all))]},
        "evictions": {"windows": agent.watch.evictions, **state.evictions},
        "mishaps": [one._asdict() for one in state.mishaps.all],
        "feeds": followed.shown(agent),
        "notify": delivered.shown(agent, now),
    }


def why(agent: Agent, target: str, now: float, counters: Counters) -> dict[str, Any]:
    """Everything at hand about one target: an address, a mitigation, an incident, a policy's target."""
    state = agent.state
    held = [*state.mitigations.values(), *(one for one in state.would.values() if one.left(now) != 0.0)]
    found = [one for one in held if target in (one.id, one.incident, one.target)]
    names = {one.incident for one in found} | {target}
    about = [one for one in state.incidents.values() if one.id in names or target in one.target.split()]
    line = _lifeline(agent.lifelines.lines, agent, target)
    return {
        "target": target,
        "lifeline": f"{spoken(line.network)}: {line.why}" if line else None,
        "incidents": [incident(agent, one, now) for one in about[:MOST]],
        "mitigations": [mitigation(agent, one, now, counters) for one in found[:MOST]],
        "alone": _left_alone(agent, [target, *(finding_of(one.policy, one.target) for one in about)], now),
        "crowds": [
            one.id for name, each in agent.crowds.items() if target in each.latest and (one := state.incident_for(name, MANY))
        ],
        "repeats": {aim: count for aim, (count, _) in state.repeats.items() if aim.partition(" ")[2] == target},
    }


def _left_alone(agent: Agent, names: Sequence[str], now: float) -> float | None:
    """Until when policies leave it alone because a person took down what was done, or said no; None where they need not."""
    undone = max((agent.state.undone.get(one, 0.0) for one in names), default=0.0)
    return undone + COOL_OFF if now - undone < COOL_OFF else None


def _lifeline(lines: Sequence[Lifeline], agent: Agent, target: str) -> Lifeline | None:
    try:
        return agent.lifelines.touched(address(target)) if lines else None
    except ValueError:
        return None
