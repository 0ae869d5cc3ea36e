"""Records in people's words: one sentence for logs, the live view, `evidence show` and reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agent.record import Record
from agent.visible import visible

_SENTENCES: Final = {
    "started": "the agent {version} started; {in_force} mitigations in force, {open_count} to be settled",
    "stopped": "the agent stopped: {because}; what is in force stays in force",
    "policies": "{policy_count} policies are live ({because})",
    "policies_refused": "the policy files have {problems} problems; the policies of before stay live: {first}",
    "finding": "{severity} {incident} {policy}: {because}",
    "left_alone": "{policy}: {target} is left alone: {because}",
    "refused": "{incident} refused {action} {target}: {because}",
    "asked_for": "{incident} {id} {action} {target} waits for a person: {because}; contain approve {id}",
    "approved": "{incident} {approval}: {actor} said yes: {because}",
    "denied": "{incident} {approval}: {actor} said no: {because}",
    "approval_over": "{incident} {approval} is over: {because}",
    "plan_failed": "{incident} cannot plan {action} {target}: {error}",
    "nothing_to_do": "{incident} {action} {target}: {because}",
    "skipped": "{incident} {action} is not needed: {because}",
    "intent": "{mitigation} will {does}{lasting} ({actor}: {because})",
    "would": "dry run: {mitigation} would {does}{lasting} ({actor}: {because})",
    "captured": "{mitigation} evidence kept before the act: {kept}",
    "in_force": "{mitigation} is in force until {until}, read back from the system{contained}",
    "partly": "{mitigation} holds only in part: {error}",
    "done": "{mitigation} is done, read back from the system{contained}",
    "under_way": "{mitigation} is under way: {error}",
    "extended": "{mitigation} stays longer, until {until} ({actor}{reason})",
    "confirmed": "{mitigation} is confirmed and stays until {until} ({actor}{reason})",
    "failed": "{mitigation} failed: {error}",
    "not_verified": "{mitigation} does not hold: {error}",
    "late": "{mitigation} is in doubt: {error}",
    "recovered": "{mitigation} had been left open: {because}",
    "phase": "{incident} is {phase}{reason}",
    "lifting": "{mitigation} is being taken down ({actor}: {because})",
    "lifted": "{mitigation} is lifted: {because}{manner}",
    "lift_failed": "{mitigation} could not be taken down: {error}",
    "drifted": "{names} vanished{culprit}; putting back",
    "healed": "{names} put back, read back from the system",
    "heal_failed": "{names} could not be put back",
    "mode": "policy {policy} is now in mode {mode} ({actor})",
    "paused": "all actions are paused until {until} ({actor}: {why})",
    "resumed": "actions are possible again ({actor}: {why})",
    "sensor": "sensor {name}: {say}",
    "bug": "the agent has a bug: {error}",
}


def sentence(record: Record) -> str:
    """What happened, for a person; text that came from outside has its control characters made visible."""
    template = _SENTENCES.get(record.kind, "{kind} {body}")
    return visible(template.format_map(_Words(record)).strip())


def clock(ts: float | None) -> str:
    """A Unix time as `2026-11-23 06:00:01Z`; `somebody lifts it` for none."""
    return "somebody lifts it" if ts is None else f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M:%SZ}"


class _Words(dict[str, Any]):
    """What a sentence can be made of: the body's values, and a few that take more than a look-up."""

    def __init__(self, record: Record) -> None:
        body = record.body
        super().__init__(body, kind=record.kind, body=dict(body), incident=record.incident, mitigation=record.mitigation)
        self["until"] = clock(body.get("until"))
        self["names"] = _names(body)
        self["reason"] = f": {body['because']}" if body.get("because") else ""
        self["contained"] = f"; {record.incident} is contained" if body.get("contains") else ""
        self["culprit"] = f" after {body['who']} changed the system" if body.get("who") else ""
        self["kept"] = _kept(body)
        self["manner"] = f" ({body['how']})" if body.get("how") not in (None, "taken down") else ""
        self["open_count"], self["policy_count"] = len(body.get("open", ())), len(body.get("policies", ()))
        if (change := body.get("change")) is not None:
            plain = isinstance(change, Mapping)
            self["does"] = change["describe"] if plain else change.describe
            once = (change["undo"] if plain else change.undo) is None
            self["lasting"] = "" if once else f", until {self['until']}"

    def __missing__(self, name: str) -> str:
        return ""


def _kept(body: Mapping[str, Any]) -> str:
    files = body.get("files", ())
    missing = sum(1 for one in files if "error" in one)
    return f"{len(files) - missing} pieces" + (f", {missing} could not be had" if missing else "")


def _names(body: Mapping[str, Any]) -> str:
    rows = body.get("mitigations") or body.get("failed") or []
    names = [one["mitigation"] if isinstance(one, Mapping) else one for one in rows]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
