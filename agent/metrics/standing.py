"""The numbers as they are at this moment: what `contain status` shows, and what was counted since the start. Pure.

A row is a list of labels and a value; that of a histogram is followed by its sum. Whoever asks has the systems asked first, as
for `contain status`, so that what is in force is what they say (Desk.take).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from agent import gathering
from agent.feeds import followed
from agent.guard import Reason
from agent.incident import Incident, Mitigation
from agent.metrics.tally import OUTCOMES, Row, counted, measured
from agent.notifying import delivered
from agent.policy import BUILT_IN, ROUND
from agent.turn import Agent

if TYPE_CHECKING:
    from agent.metrics.meters import Meters

_SEVERITIES: Final = ("P0", "P1", "P2", "P3")
_RESULTS: Final = ("in_force", "would", "refused", "lost")
_STATES: Final = ("good", "bad", "unknown")


def standing(agent: Agent, meters: Meters, about: Mapping[str, Any], now: float) -> dict[str, list[Row]]:
    """Every number by the name of its family. `about` is what the status says of the agent itself."""
    told = {
        **_itself(agent, about),
        **_mitigations(agent, about["counters"], now),
        **_incidents(agent),
        "checks": _by(about["checks"], _STATES),
        **_read(agent, meters, about),
        **_reactions(agent, meters),
        **_loop(agent, meters),
        **_evidence(agent, meters, about),
        **_people(agent, meters, now),
        **_canary(about["canary"]),
    }
    return {f"containment_{name}": rows for name, rows in told.items()}


def _one(value: float) -> list[Row]:
    return [[[], value]]


def _some(value: float | None) -> list[Row]:
    return [] if value is None else _one(value)


def _by(counts: Mapping[Any, int], always: Iterable[str]) -> list[Row]:
    """A number for each word of a fixed set, also where it is nought: what is absent raises no alert."""
    return [[[one], counts.get(one, 0)] for one in always]


def _itself(agent: Agent, about: Mapping[str, Any]) -> dict[str, list[Row]]:
    pauses = agent.state.pauses.on
    modes = Counter(agent.mode(one) for name, one in agent.policies.items() if name not in BUILT_IN)
    return {
        "up": _one(1),
        "build_info": [[[about["version"]], 1]],
        "start_time_seconds": _one(about["up"]),
        "config_hash": _one(about["config"]["hash"]),
        "config_last_reload_successful": _one(not about["problems"]),
        "config_loaded_timestamp_seconds": _one(about["config"]["at"]),
        "dry_run": _one("dry_run" in (agent.settings.forced, agent.settings.mode)),
        "policies": _by(modes, ("enforce", "dry_run", "off")),
        "paused": _one(any(not one.policies for one in pauses)),
        "pauses": _one(len(pauses)),
    }


def _mitigations(agent: Agent, counters: Mapping[str, tuple[int, int]], now: float) -> dict[str, list[Row]]:
    """As `contain status` counts them: the canary's are not among them."""
    known = [one for one in agent.state.mitigations.values() if one.active and one.policy != ROUND]
    held = [one for one in known if one.stage == "in_force"]
    would = sum(one.left(now) != 0.0 for one in agent.state.would.values() if one.policy != ROUND)
    return {
        "mitigations_in_force": _actions(held),
        "mitigations_in_part": _actions(one for one in held if one.short),
        "mitigations_unsettled": _one(len(known) - len(held)),
        "mitigations_would": _one(would),
        "mitigation_confirmed_age_seconds": _one(max((now - agent.verified.get(one.id, one.since) for one in held), default=0.0)),
        "next_expiry_timestamp_seconds": _some(min((one.until for one in held if one.until is not None), default=None)),
        "stopped_packets": counted(((one.action,), counters[one.key][0]) for one in held if one.key in counters),
    }


def _actions(some: Iterable[Mitigation]) -> list[Row]:
    return counted(((action,), count) for action, count in Counter(one.action for one in some).items())


def _incidents(agent: Agent) -> dict[str, list[Row]]:
    """Those that people see, each with all that are told with it: as many as `contain status` calls open."""
    leads = list(_leads(agent))
    severities = Counter(severity for severity, _ in leads)
    waiting = Counter(severity for severity, one in leads if one.acked is None)
    return {
        "incidents_open": _by(severities, _SEVERITIES),
        "incidents_unacknowledged": _by(waiting, _SEVERITIES),
        "approvals_waiting": _one(len(agent.state.approvals.waiting)),
        "alerts_firing": _one(len(agent.state.alerts.all)),
    }


def _leads(agent: Agent) -> Iterator[tuple[str, Incident]]:
    known = agent.state.incidents
    on = [one for one in known.values() if not one.over and one.policy != ROUND]
    names = dict.fromkeys(one.lead or one.id for one in on)
    for one in (known[name] for name in names if name in known):
        seen = gathering.picture(agent.state, one.id) if one.joined else None
        yield (seen.severity if seen else one.severity), one


def _read(agent: Agent, meters: Meters, about: Mapping[str, Any]) -> dict[str, list[Row]]:
    name = about["sources"]
    lists = followed.shown(agent)
    return {
        "lines": _sources(name, {**dict.fromkeys(name, 0.0), **meters.lines}),
        "events": _sources(name, {**dict.fromkeys(name, 0.0), **meters.events}),
        "sensor_lag_bytes": _sources(name, about["lag"]),
        "sensor_blind": _flags(name, about["blind"]),
        "sensor_silent": _flags(name, about["silent"]),
        "sensor_last_line_timestamp_seconds": _sources(name, meters.last_line),
        "left_out": counted(((table,), count) for table, count in about["evictions"].items()),
        "list_entries": counted(((one["name"],), one["entries"]) for one in lists),
        "list_refreshed_timestamp_seconds": counted(((one["name"],), one["refreshed"]) for one in lists if one["refreshed"]),
    }


def _sources(names: Mapping[str, str], values: Mapping[str, float]) -> list[Row]:
    """By the names that agent.yaml has for sensors; what has none goes by its source, as the intake's senders do."""
    return counted(((names.get(source, source),), value) for source, value in values.items())


def _flags(names: Mapping[str, str], said: Mapping[str, str]) -> list[Row]:
    return _sources(names, {source: float(source in said) for source in {**names, **said}})


def _reactions(agent: Agent, meters: Meters) -> dict[str, list[Row]]:
    policies = [one for name, one in agent.policies.items() if name not in BUILT_IN]
    actions = dict.fromkeys(step.action.name for one in policies for step in one.then)
    return {
        "reaction_seconds": measured(meters.reaction),
        "findings": meters.findings.rows((one.name, agent.mode(one)) for one in policies),
        "actions": meters.actions.rows((action, outcome) for action in actions for outcome in (*sorted(OUTCOMES), "would")),
        "refusals": meters.refusals.rows((reason,) for reason in get_args(Reason)),
        "limits_reached": meters.crowded.rows((one.name,) for one in policies),
        "drift_found": _one(meters.drifted),
        "drift_healed": _one(meters.healed),
        "drift_heal_failures": _one(meters.unhealed),
    }


def _loop(agent: Agent, meters: Meters) -> dict[str, list[Row]]:
    queues = {**meters.queues(), "running": len(agent.running), "put_off": len(agent.later)}
    out, jobs = meters.lanes(), dict(meters.jobs)
    lanes = dict.fromkeys([*jobs, *((name,) for name in out)])
    return {
        "turn_seconds": measured({(): meters.turns}),
        "queue_length": counted(((name,), count) for name, count in queues.items()),
        "lane_jobs": counted((lane, out.get(lane[0], 0)) for lane in lanes),
        "lane_job_seconds": [[list(lane), count, total] for lane, (count, total) in jobs.items()],
        "lane_jobs_given_up": meters.late.rows(lanes),
    }


def _evidence(agent: Agent, meters: Meters, about: Mapping[str, Any]) -> dict[str, list[Row]]:
    return {
        "records": counted(((kind,), count) for kind, count in {"bug": 0, **meters.kinds}.items()),
        "journal_records": _one(about["records"]),
        "journal_commit_seconds": measured({(): meters.commits}),
        "evidence_failing": _one(bool(about["evidence"]["failing"])),
        "evidence_waiting_records": _one(about["evidence"]["waiting"]),
        "evidence_mishaps": _one(len(agent.state.mishaps.all)),
    }


def _people(agent: Agent, meters: Meters, now: float) -> dict[str, list[Row]]:
    shown = delivered.shown(agent, now)
    channels = shown["channels"]

    def each(value: Any) -> list[Row]:
        return counted(((one["name"],), value(one)) for one in channels)

    return {
        "channel_waiting": each(lambda one: one["unsent"]),
        "channel_waiting_urgent": each(lambda one: one["urgent"]),
        "channel_oldest_seconds": each(lambda one: 0.0 if one["since"] is None else max(0.0, now - one["since"])),
        "channel_failing": each(lambda one: float(bool(one["error"]))),
        "channel_left_out": each(lambda one: one["left_out"]),
        "notices": meters.notices.rows(
            (one["name"], outcome) for one in channels for outcome in ("told", "not_told", "given_up")
        ),
        "incidents_untold": _one(len(agent.state.outbox.untold)),
    }


def _canary(one: Mapping[str, Any] | None) -> dict[str, list[Row]]:
    if one is None:
        return {}
    begun = one["at"] is not None
    return {
        "canary_result": _by({one["result"]: 1}, _RESULTS) if begun else [],
        "canary_seconds": _one(one["ms"] / 1000) if begun and one["result"] in ("in_force", "would") else [],
        "canary_last_timestamp_seconds": _some(one["at"]),
        "canary_period_seconds": _one(one["every"]),
    }
