"""How a backtest is told: what each policy came to, what was not done and why, what differs, and what cannot be known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent.cli.given import Given
from agent.cli.show import At, Cell, Ink, rfc3339, word

if TYPE_CHECKING:
    from agent.backtest.account import Account, Sum, Target
    from agent.cli.policy_backtest import Made

MARKS: Final[Mapping[str, Cell]] = {
    "new": Ink("new", "yellow"),
    "lost": Ink("lost", "red"),
    "changed": Ink("changed", "yellow"),
}
_HEAD: Final = ("policy", "severity", "findings", "targets", "would do", "not done", "first", "last")


def show(given: Given, made: Made, limit: int) -> None:
    """The answer, for people or as one JSON document."""
    if given.json:
        given.show.document("backtest", [_plain(made)])
    else:
        _Told(given, made, limit).all()


class _Told:
    """The answer for people. Listings have at most `limit` lines; what is beyond is counted."""

    def __init__(self, given: Given, made: Made, limit: int) -> None:
        self._show, self._made, self._limit = given.show, made, limit

    def all(self) -> None:
        made, show = self._made, self._show
        show.rows(list(self._policies()), head=_HEAD)
        if idle := [one.name for one in made.sets.candidate if one.name not in made.candidate.policies]:
            show.line(show.text(f"found nothing: {', '.join(idle)}"))
        self._listing("Not done", ("policy", "target", "action", "times", "because"), list(_refusals(made.candidate)))
        if made.running is not None:
            same = "" if made.difference else ": no difference"
            self._listing(f"Against {made.sets.called}{same}", _DIFFERENCE, _rows(made.difference), always=True)
        really = made.really
        acts = sum(one.acts.total() for one in really.policies.values())
        dry = sum(one.dry for one in really.policies.values())
        was = f"{sum(one.findings for one in really.policies.values())} findings, {acts} actions ({dry} in a dry run or a pause)"
        same = "" if made.reality else "; no difference"
        self._listing(f"Against what really happened: {was}{same}", _DIFFERENCE, _rows(made.reality), always=True)
        self._notes()

    def _policies(self) -> Iterator[list[Cell]]:
        severity = {one.name: one.severity for one in self._made.sets.candidate}
        for name, one in self._made.candidate.policies.items():
            did = ", ".join(f"{times} × {action}" for action, times in one.acts.most_common()) or "-"
            rank = word(severity.get(name, "-"))
            yield [name, rank, one.findings, _targets(one), did, _undone(one), At(one.first), At(one.last)]

    def _listing(self, title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], *, always: bool = False) -> None:
        if not rows and not always:
            return
        show = self._show
        show.line()
        show.line(show.text(title))
        show.rows(rows[: self._limit], head=head, cut=True)
        if len(rows) > self._limit:
            show.line(f"… and {len(rows) - self._limit} more (--limit, --json)")

    def _notes(self) -> None:
        made, show = self._made, self._show
        show.line()
        show.line("What is not known")
        for one in made.notes:
            show.line(show.text(f"  {one}"))
        rate = f", {made.stored.events / made.took:,.0f} per second" if made.took > 1 else ""
        policies = f"{len(made.sets.candidate)} policies"
        span = f"{rfc3339(made.since)} to {rfc3339(made.until)}"
        show.talk(f"{made.stored.events:,} stored events from {span}, {policies}, mode {made.mode}{rate}; nothing was done")


_DIFFERENCE: Final = ("what", "policy", "target", "before", "after")


def _rows(found: Sequence[Any]) -> list[list[Cell]]:
    return [[MARKS[one.what], one.policy, one.target, one.before or "-", one.after or "-"] for one in found]


def _targets(one: Sum) -> str:
    return f"{one.targets} and more" if one.more else str(one.targets)


def _undone(one: Sum) -> str:
    counts = {"refused": one.refused, "wait for a person": one.asked, "left alone": one.left_alone}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "-"


def _refusals(account: Account) -> Iterator[list[Cell]]:
    for (policy, target), one in account.targets.items():
        for action, reasons in one.refused.items():
            for because, times in reasons.most_common():
                yield [policy, target, action, times, because]
        for name, times in one.asked.items():
            yield [policy, target, name, times, "waits for a person"]
        if one.left_alone:
            yield [policy, target, "-", "-", f"left alone: {one.left_alone}"]


# For programs -------------------------------------------------------------------------------------------------------------


def _plain(made: Made) -> dict[str, Any]:
    return {
        "from": rfc3339(made.since),
        "to": rfc3339(made.until),
        "mode": made.mode,
        "events": made.stored.events,
        "kinds": {kind: {"from": rfc3339(a), "to": rfc3339(b)} for kind, (a, b) in made.stored.kinds.items()},
        "against": made.sets.called or None,
        "candidate": _account(made.candidate),
        "running": _account(made.running) if made.running is not None else None,
        "really": _account(made.really),
        "differences": [one._asdict() for one in made.difference],
        "differences_to_reality": [one._asdict() for one in made.reality],
        "not_known": made.notes,
    }


def _account(account: Account) -> dict[str, Any]:
    policies = [
        {
            "policy": name,
            "findings": one.findings,
            "targets": one.targets,
            "findings_of_more_targets": one.more,
            "actions": dict(one.acts),
            "in_dry_run": one.dry,
            "refused": one.refused,
            "asked": one.asked,
            "left_alone": one.left_alone,
            "first": rfc3339(one.first),
            "last": rfc3339(one.last),
        }
        for name, one in account.policies.items()
    ]
    targets = [_target(policy, target, one) for (policy, target), one in account.targets.items()]
    return {"policies": policies, "targets": targets, "paused": account.paused}


def _target(policy: str, target: str, one: Target) -> dict[str, Any]:
    acts = [{"action": name, "times": act.times, "seconds": act.lasts, "in_dry_run": act.dry} for name, act in one.acts.items()]
    refused = [
        {"action": action, "times": times, "because": because}
        for action, reasons in one.refused.items()
        for because, times in reasons.items()
    ]
    return {
        "policy": policy,
        "target": target,
        "severity": one.severity,
        "findings": one.findings,
        "first": rfc3339(one.first),
        "last": rfc3339(one.last),
        "actions": acts,
        "refused": refused,
        "asked": dict(one.asked),
        "left_alone": one.left_alone,
    }
