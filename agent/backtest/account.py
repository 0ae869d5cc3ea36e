"""What policies came to, by policy and target: made of the records of a replay, or of those of a journal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from agent.policy import BUILT_IN
from agent.record import Record
from agent.schema import spell

MOST: Final = 50_000
"""Targets that are told apart; what comes beyond them is counted by policy alone."""
LENGTHS: Final = 8
"""Different lengths of one action on one target."""
REASONS: Final = 20
"""Reasons why something was not done that are told for one target."""
KINDS: Final = frozenset({"finding", "intent", "would", "refused", "asked_for", "left_alone", "plan_failed"})
"""The records that it is made of."""


@dataclass(slots=True)
class Act:
    """One action on one thing, done or to be done so often; `lasts` are the lengths in seconds, None for no end or done once."""

    times: int = 0
    lasts: list[float | None] = field(default_factory=list)
    dry: int = 0
    """How often it was only said to be done."""


@dataclass(slots=True)
class Target:
    """What came of one policy for one target. Times are Unix seconds; names of actions are as in `block_ip 203.0.113.7`."""

    first: float
    last: float
    severity: str = ""
    findings: int = 0
    acts: dict[str, Act] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    left_alone: str = ""

    def says(self) -> tuple[str, ...]:
        """All of it but how often and when: what counts as the same when two accounts are compared."""
        said = [f"{name}{_lengths(act.lasts)}" for name, act in self.acts.items()]
        said += [f"{name} waits for a person" for name in self.asked if name not in self.acts]
        tried = {name.partition(" ")[0] for name in (*self.acts, *self.asked)}
        said += [f"{name} refused" for name in self.refused if name not in tried]
        said += ["left alone"] if self.left_alone and not said else []
        return (self.severity, *sorted(said)) if self.findings else tuple(sorted(said))


def _lengths(lasts: list[float | None]) -> str:
    said = sorted({one for one in lasts if one is not None})
    return f" for {', '.join(spell(timedelta(seconds=one)) for one in said)}" if said else ""


@dataclass(slots=True)
class Sum:
    """What came of one policy, all targets together. `more` are findings of targets beyond those that are told apart."""

    findings: int = 0
    targets: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    dry: int = 0
    refused: int = 0
    asked: int = 0
    left_alone: int = 0
    more: int = 0
    first: float = 0.0
    last: float = 0.0


class Account:
    """Hears records in order, and keeps what they add up to."""

    def __init__(self, most: int = MOST) -> None:
        """Nothing was heard yet."""
        self.policies: dict[str, Sum] = {}
        self.targets: dict[tuple[str, str], Target] = {}
        self.paused = 0
        """Actions that a pause, or a maintenance window, kept from being done."""
        self._most, self._of = most, dict[str, tuple[str, str]]()

    def hear(self, ts: float, record: Record) -> None:
        """Count a record in; those of other kinds change nothing."""
        body = record.body
        if record.kind not in KINDS or not (policy := body.get("policy", "")) or policy in BUILT_IN:
            return
        whole = self.policies.setdefault(policy, Sum(first=ts))
        whole.last = ts
        match record.kind:
            case "finding":
                self._finding(ts, record, whole)
            case "intent" | "would" if not body.get("part"):
                self._act(ts, record, whole)
            case "left_alone":
                whole.left_alone += 1
                if one := self._target((policy, body["target"]), ts):
                    one.left_alone = one.left_alone or body["because"]
            case "asked_for":
                whole.asked += 1
                if one := self._about(ts, record):
                    one.asked[_named(body)] += 1
            case "refused" | "plan_failed":
                self._refused(ts, record, whole)

    def _finding(self, ts: float, record: Record, whole: Sum) -> None:
        body = record.body
        key = (body["policy"], body["target"])
        whole.findings += 1
        one = self._target(key, ts)
        if one is None:
            whole.more += 1
            return
        if not one.findings:
            whole.targets += 1
        one.findings += 1
        one.severity = body["severity"]
        self._of[record.incident] = key
        if len(self._of) > 2 * self._most:
            del self._of[next(iter(self._of))]

    def _act(self, ts: float, record: Record, whole: Sum) -> None:
        body = record.body
        dry = record.kind == "would"
        whole.acts[body["action"]] += 1
        whole.dry += dry
        self.paused += bool(body.get("pauses"))
        if one := self._about(ts, record):
            act = one.acts.setdefault(_named(body), Act())
            act.times += 1
            act.dry += dry
            length = _length(body, ts)
            if length not in act.lasts and len(act.lasts) < LENGTHS:
                act.lasts.append(length)

    def _refused(self, ts: float, record: Record, whole: Sum) -> None:
        body = record.body
        whole.refused += 1
        if one := self._about(ts, record):
            reasons = one.refused.setdefault(body["action"], Counter())
            because = str(body.get("because") or body.get("error", ""))
            if because in reasons or len(reasons) < REASONS:
                reasons[because] += 1

    def _about(self, ts: float, record: Record) -> Target | None:
        """The target of the finding that a record belongs to."""
        key = self._of.get(record.incident)
        return self._target(key, ts) if key else None

    def _target(self, key: tuple[str, str], ts: float) -> Target | None:
        one = self.targets.get(key)
        if one is None:
            if len(self.targets) >= self._most:
                return None
            one = self.targets[key] = Target(ts, ts)
        one.last = ts
        return one


def _named(body: Mapping[str, Any]) -> str:
    return f"{body['action']} {body['target']}".strip()


def _length(body: Mapping[str, Any], ts: float) -> float | None:
    """For how long it holds; for what a person must confirm, as long as it would hold then."""
    if body.get("confirm") is not None:
        return None if body.get("ttl") is None else float(body["ttl"])
    return None if body["until"] is None else float(round(body["until"] - ts))
