"""Every number that is told, by name, with what it means. Pure: whoever shows them makes Prometheus' own text of it (showing.py).

Labels are policies, actions, sensors, channels, lanes and lists by their names in agent.yaml and in code, or words of a fixed
set; never an address, a user, or text that somebody wrote into a log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Family:
    """One number, or one for each value of its labels. A counter's name stands here without its `_total`."""

    name: str
    kind: Literal["gauge", "counter", "histogram", "summary"]
    about: str
    labels: tuple[str, ...] = ()


def _gauge(name: str, about: str, *labels: str) -> Family:
    return Family(f"containment_{name}", "gauge", about, labels)


def _counter(name: str, about: str, *labels: str) -> Family:
    return Family(f"containment_{name}", "counter", f"{about} Counted since the agent started.", labels)


def _histogram(name: str, about: str, *labels: str) -> Family:
    return Family(f"containment_{name}", "histogram", f"{about} Counted since the agent started.", labels)


def _summary(name: str, about: str, *labels: str) -> Family:
    return Family(f"containment_{name}", "summary", f"{about} Counted since the agent started.", labels)


FAMILIES: Final = (
    # The agent itself
    _gauge("up", "1 while an agent answers; `contain metrics --output` writes 0 where none does."),
    _gauge("build_info", "1, with the version that runs.", "version"),
    _gauge("start_time_seconds", "When the agent started, in Unix seconds; changes() of it counts restarts."),
    _gauge("config_hash", "48 bits of a hash over agent.yaml and the live policies: hosts with the same number run the same."),
    _gauge("config_last_reload_successful", "1 where the policies and agent.yaml, as they were read last, had no mistake."),
    _gauge("config_loaded_timestamp_seconds", "When what is live was read, in Unix seconds."),
    _gauge("dry_run", "1 where the mode of agent.yaml, or --dry-run, has policies only say what they would do."),
    _gauge("policies", "Live policies by the mode that counts now.", "mode"),
    _gauge("paused", "1 while a pause or a maintenance window keeps all policies from acting."),
    _gauge("pauses", "Pauses and maintenance windows that are on, those for a few policies included."),
    # How things stand
    _gauge("mitigations_in_force", "Mitigations in force by action, as the systems said when this was asked.", "action"),
    _gauge("mitigations_in_part", "Those of them that hold only in part.", "action"),
    _gauge("mitigations_unsettled", "Mitigations whose call is out, or whose outcome is in doubt."),
    _gauge("mitigations_would", "What a dry run would have in force now."),
    _gauge("mitigation_confirmed_age_seconds", "How long ago the system said so of the least fresh; near 0 while all answer."),
    _gauge("next_expiry_timestamp_seconds", "When the next mitigation ends by itself, in Unix seconds; absent where none does."),
    _gauge("stopped_packets", "Packets stopped by what is in force, as the kernel counted; falls when one ends.", "action"),
    _gauge("incidents_open", "Incidents that go on by severity; those told as one count as one.", "severity"),
    _gauge("incidents_unacknowledged", "Those of them that nobody has acknowledged.", "severity"),
    _gauge("approvals_waiting", "Plans that wait for a person's yes."),
    _gauge("alerts_firing", "Alerts of other tools that fire."),
    _gauge("checks", "Answers of health checks by state, as they were last.", "state"),
    # From a line to a block
    _histogram(
        "reaction_seconds",
        "From a line read until its intent is durable (decided), its changes were made (enforced), and they were read back "
        "from the system (verified). Without what waits for a person or a time, and without the canary.",
        "stage",
    ),
    _counter("findings", "Findings of policies, by the policy's mode then.", "policy", "mode"),
    _counter("actions", "What came of actions at first: in_force, done, failed …; `would` in a dry run.", "action", "outcome"),
    _counter("refusals", "What was planned and must not be done, by what said no.", "reason"),
    _counter("limits_reached", "Times a policy had more targets than limits let it act on; at most once a minute.", "policy"),
    _counter("drift_found", "Mitigations that had vanished from a system."),
    _counter("drift_healed", "Mitigations that were put back, or made whole, and read back."),
    _counter("drift_heal_failures", "Tries to put one back that failed."),
    # What is read
    _counter("lines", "Lines, messages and samples that a sensor has read.", "sensor"),
    _counter("events", "Events that they meant.", "sensor"),
    _gauge("sensor_lag_bytes", "How much a sensor has still to read, as it said last (at least once a minute).", "sensor"),
    _gauge("sensor_blind", "1 while a sensor cannot read its source.", "sensor"),
    _gauge("sensor_silent", "1 while a source is silent for much longer than it ever was in a day.", "sensor"),
    _gauge("sensor_last_line_timestamp_seconds", "When a sensor had something to read last, in Unix seconds.", "sensor"),
    _counter("left_out", "What there was no room for, by table; no line of a file is among it.", "table"),
    _gauge("list_entries", "Networks on a list that others keep.", "list"),
    _gauge("list_refreshed_timestamp_seconds", "When its source last said what is on it, in Unix seconds.", "list"),
    # At work
    _histogram("turn_seconds", "How long one turn of the loop worked."),
    _gauge("queue_length", "What waits: messages for the loop, batches of sensors, runs that are under way or put off.", "queue"),
    _gauge("lane_jobs", "Jobs that wait or run in the lane of a system.", "lane"),
    _summary("lane_job_seconds", "How long jobs of a lane took.", "lane"),
    _counter("lane_jobs_given_up", "Jobs that were not done by their deadline.", "lane"),
    # Evidence
    _counter("records", "Records of what happened and was decided, by kind.", "kind"),
    _gauge("journal_records", "Records in the journal, those that wait to be written included."),
    _histogram("journal_commit_seconds", "How long it took to make a turn's records durable."),
    _gauge("evidence_failing", "1 while the journal cannot be written: records wait in memory, and copies go elsewhere."),
    _gauge("evidence_waiting_records", "Records that wait for the journal."),
    _gauge("evidence_mishaps", "What happened to the evidence, and nobody has accepted: a journal lost, a key changed."),
    # People
    _gauge("channel_waiting", "Notices that wait for a channel.", "channel"),
    _gauge("channel_waiting_urgent", "Those of them that are urgent.", "channel"),
    _gauge("channel_oldest_seconds", "How long the oldest of them waits; 0 where none does.", "channel"),
    _gauge("channel_failing", "1 where the last try to tell a channel failed.", "channel"),
    _gauge("channel_left_out", "Notices there was no room for; the next that gets through says how many.", "channel"),
    _counter("notices", "Parts of notices: told, not_told (tried again), given_up.", "channel", "outcome"),
    _gauge("incidents_untold", "Incidents of which nobody could be told."),
    # The canary
    _gauge("canary_result", "1 for what came of the last canary: in_force, would, refused or lost.", "result"),
    _gauge("canary_seconds", "How long the last canary took from its line to the kernel's word that it is blocked."),
    _gauge("canary_last_timestamp_seconds", "When the last canary began, in Unix seconds."),
    _gauge("canary_period_seconds", "How often one is to be sent."),
)  # fmt: skip
