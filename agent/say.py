"""Records in people's words: one sentence for logs, the live view, `evidence show` and reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agent.alerts import standing
from agent.notifying import spoken
from agent.people import pauses, silences
from agent.record import Record
from agent.scans import known
from agent.visible import visible

SENTENCES: Final = {
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
    "would": "{instead}: {mitigation} would {does}{lasting} ({actor}: {because})",
    "captured": "{subject} evidence kept{when}: {kept}",
    "in_force": "{mitigation} is in force until {until}, read back from the system{contained}",
    "partly": "{mitigation} holds only in part: {error}",
    "done": "{mitigation} is done, read back from the system{words}{contained}",
    "under_way": "{mitigation} is under way: {error}",
    "extended": "{mitigation} stays longer, until {until} ({actor}{reason})",
    "confirmed": "{mitigation} is confirmed and stays until {until} ({actor}{reason})",
    "failed": "{mitigation} failed: {error}",
    "not_verified": "{mitigation} does not hold: {error}",
    "late": "{mitigation} is in doubt: {error}",
    "recovered": "{mitigation} had been left open: {because}",
    "phase": "{incident} is {phase}{reason}",
    "acknowledged": "{incident} is acknowledged by {actor}{reason}",
    "assigned": "{incident} is assigned to {to} ({actor}{reason})",
    "severity": "{incident} is {severity} instead of {was} ({actor}{reason})",
    "merged": "{incident} is told with {into} from here on ({actor}{reason})",
    "lifting": "{mitigation} is being taken down ({actor}: {because})",
    "lifted": "{mitigation} is lifted: {because}{manner}",
    "lift_failed": "{mitigation} could not be taken down: {error}",
    "drifted": "{names} vanished{culprit}; putting back",
    "healed": "{names} put back, read back from the system",
    "heal_failed": "{names} could not be put back",
    "end_moved": "{names} end at another time: {because}",
    "released": "{incident} {aim} is {rung_until}: {because}",
    "awaited": "{incident} waits for its checks until {until}: {because}",
    "awaited_over": "{incident} waits for its checks no more: {because}",
    "recurred": "{incident} {target} {because}; one rung up",
    "release_frozen": "{incident} {target} flaps, release is frozen until {until}: {because}",
    "mode": "policy {policy} is now in mode {mode} ({actor})",
    "listed": "{address} is on {list} until {until} ({actor}: {why})",
    "unlisted": "{address} is off {list} ({actor}: {why})",
    "paused": "{whom} paused until {until} ({pause}, {actor}: {why})",
    "pause_planned": "{whom} to be paused from {begins} until {until} ({pause}, {actor}: {why})",
    "resumed": "{result} ({pause}, {actor}: {why})",
    "silenced": "{silence}: nobody is told of {about} until {until} ({actor}: {why})",
    "silence_ended": "{silence}: people are told again ({actor}: {why})",
    "sensor": "sensor {name}: {say}",
    "scanned": "{scanner} has scanned {target}: {findings} findings, {new_count} new, {gone_count} gone",
    "feed": "list {name} has {entries} networks, {added} new and {removed} gone: {because}",
    "feed_refused": "list {name}: a new text is not used, the one of before stays: {because}",
    "alert_fires": "{source}: {what} fires{summary}",
    "alert_over": "{source}: an alert is over, {because} ({fingerprint})",
    "muted": "{event} is not counted ({about}): {because}",
    "clock_set": "the host's clock was set by {by:+.1f} s; what was to last an hour still does",
    "bug": "the agent has a bug: {error}",
    "evidence_failing": "evidence cannot be written: {because}; records wait in memory, copies go to syslog",
    "evidence_gap": "evidence is written again: the next {records} records had waited ({because})",
    "journal_lost": "the journal was lost and a new one begun: {because}; the old one is in {aside}",
    "key_changed": "evidence is signed by a new key: {because}; what the old one signed is in {aside}",
    "key_open": "others may use the signing key: {because}",
    "answer_changed": "check {name}: {say}",
    "policy_text": "the text of policy {policy} is kept",
    "report_written": "{incident} {actor} has written the report's parts, version {version}",
    "noted": "{incident} {actor} adds: {text}",
    "baseline": "files: {say}{by_whom}",
    "sending": "{channel} is told of {notice} ({part}{doubt})",
    "told": "{channel} was told of {notice} ({part})",
    "not_told": "{channel} was not told of {notice} ({result}): {why}",
    "not_needed": "{channel} needs not be told of {notice_names}",
    "given_up": "{channel} is not told of {notice_names} any more{dropped_by}: {because}",
    "fell_back": "{notice} got through to nobody ({because}); told instead: {to_names}",
    "cried": "{notice} got through to nobody ({because}){to_terminals}",
    "channels": "people are told by {channel_names}",
    "mishaps_accepted": "what happened to the evidence is seen to ({actor}: {why})",
    "web_link": "{actor} was given a link that logs in to the pages once{only}",
    "web_left": "{actor} ended all logins of theirs to the pages",
    "notice": "{incident} people are told ({channels}): {headline}",
    "escalated": "{incident} is escalated: {because}",
    "proposed": "{incident} {severity} is proposed instead of {was}: {because}",
    "published": "{incident} may be told in public ({actor}: {because})",
    "regime": "{incident} the clock of {regime} runs ({actor}: {because})",
    "notified": "{incident} {regime}: {what} was given ({actor}: {because})",
    "reminded": "{incident} people are reminded: {because}",
    "adopted": "{mitigation} was found in force: {does}{lasting} ({because})",
}


def sentence(record: Record) -> str:
    """What happened, for a person; text that came from outside has its control characters made visible."""
    template = SENTENCES.get(record.kind, "{kind} {body}")
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
        self["instead"] = "dry run"
        self.update(pauses.words(record))
        self.update(silences.words(record))
        self.update(standing.words(record))
        self.update(known.words(record))
        self["names"] = _names(body)
        notice = body.get("notice")
        self["channels"] = ", ".join(body.get("to", ()))
        self["headline"] = notice["headline"] if isinstance(notice, Mapping) else ""
        self["subject"], self["when"] = record.mitigation or record.incident, " before the act" if record.mitigation else ""
        self["reason"] = f": {body['because']}" if body.get("because") else ""
        self["by_whom"] = f" ({body['actor']}: {body.get('why', '')})" if body.get("actor") else ""
        self["contained"] = f"; {record.incident} is contained" if body.get("contains") else ""
        self["only"] = ", to look only" if body.get("read_only") else ""
        self["words"] = f": {body['say']}" if body.get("say") else ""
        self["culprit"] = f" after {body['who']} changed the system" if body.get("who") else ""
        self["kept"] = _kept(body)
        self.update(spoken.words(record))
        self["rung_until"] = "let go" if body.get("rung") == "off" else f"{body.get('rung')} until {self['until']}"
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
    rows = body.get("mitigations") or body.get("failed") or [name for name, _ in body.get("ends", ())]
    names = [one["mitigation"] if isinstance(one, Mapping) else one for one in rows]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
