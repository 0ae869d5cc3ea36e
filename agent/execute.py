"""The one door: every change to the outside is performed here, and nowhere else.

Many changes for one system become one batch, so that ten thousand offenders cost one transaction and one look back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agent.action import Answer, Call, Change, System
from agent.messages import Held, Outcome, Release

Job = tuple[str, Change]
"""A mitigation's name, and its change."""


def apply(batches: Sequence[Sequence[Job]], systems: Mapping[str, System]) -> list[tuple[Outcome, ...]]:
    """Make changes and see that they hold. Batches are independent; within one, a change that fails stops those after it."""
    outcomes: list[list[Outcome]] = [[] for _ in batches]
    for depth in range(max(map(len, batches), default=0)):
        going = [
            at for at, jobs in enumerate(batches) if depth < len(jobs) and all(one.result == "in_force" for one in outcomes[at])
        ]
        for at, outcome in zip(going, _make([batches[at][depth] for at in going], systems), strict=True):
            outcomes[at].append(outcome)
    return [
        (*done, *(Outcome(name, "not_tried", f"{done[-1].mitigation} failed before it") for name, _ in jobs[len(done) :]))
        for jobs, done in zip(batches, outcomes, strict=True)
    ]


def _make(jobs: Sequence[Job], systems: Mapping[str, System]) -> list[Outcome]:
    found = [_perform(change.capture, systems) for _, change in jobs]
    applied = _perform([change.apply for _, change in jobs], systems)
    held = _perform([change.verify for _, change in jobs], systems)
    return [
        _outcome(name, change, made, holds, tuple(one.error or one.value for one in seen))
        for (name, change), made, holds, seen in zip(jobs, applied, held, found, strict=True)
    ]


def _outcome(name: str, change: Change, made: Answer, holds: Answer, found: tuple[object, ...]) -> Outcome:
    """What the system says it holds decides; what apply answered only explains."""
    why = str(made.error) if made.error else ""
    if holds.error:
        return Outcome(name, "late", why or f"cannot see whether it holds: {holds.error}", found)
    if holds.value:
        return Outcome(name, "in_force", why, found)
    if made.error:
        return Outcome(name, "failed", why, found)
    return Outcome(name, "not_verified", f"the call succeeded, yet this does not hold: {change.describe}", found)


def undo(jobs: Sequence[Job], systems: Mapping[str, System]) -> tuple[Release, ...]:
    """Take back what still holds, and see that it is gone; what somebody else already lifted is left alone."""
    held = verify(jobs, systems)
    standing = [job for job, one in zip(jobs, held, strict=True) if one.holds and job[1].undo]
    undone = dict(zip((name for name, _ in standing), _perform([c.undo for _, c in standing if c.undo], systems), strict=True))
    after = {one.mitigation: one for one in verify(standing, systems)}
    return tuple(_release(job, one, undone.get(job[0]), after.get(job[0])) for job, one in zip(jobs, held, strict=True))


def _release(job: Job, before: Held, undone: Answer | None, after: Held | None) -> Release:
    name, change = job
    if before.holds is None:
        return Release(name, "failed", before.error)
    if not before.holds:
        return Release(name, "gone")
    if change.undo is None:
        return Release(name, "failed", f"cannot undo: {change.describe}. It cannot be taken back")
    if after is not None and after.holds is False:
        return Release(name, "lifted")
    why = str(undone.error) if undone and undone.error else "the undo succeeded, yet the change still holds"
    return Release(name, "failed", why)


def verify(jobs: Sequence[Job], systems: Mapping[str, System]) -> tuple[Held, ...]:
    """Ask whether changes hold; None with the error where it could not be asked."""
    answers = _perform([change.verify for _, change in jobs], systems)
    return tuple(
        Held(name, None, str(one.error)) if one.error else Held(name, bool(one.value))
        for (name, _), one in zip(jobs, answers, strict=True)
    )


def _perform(calls: Sequence[Call], systems: Mapping[str, System]) -> list[Answer]:
    """One batch for each run of calls to the same system; answers in the calls' order."""
    answers: list[Answer] = []
    while len(answers) < len(calls):
        rest = calls[len(answers) :]
        system = rest[0].system
        batch = rest[: next((at for at, one in enumerate(rest) if one.system != system), len(rest))]
        answers += systems[system].perform(batch)
    return answers


def dry_run(changes: Iterable[Change], systems: Mapping[str, System]) -> list[str]:
    """The plan in people's words and in each system's own: exactly what a real run would call."""
    lines = []
    for change in changes:
        lines.append(f"would {change.describe}")
        for part, one in (("apply", change.apply), ("verify", change.verify), ("undo", change.undo)):
            lines.append(f"  {part:7} {systems[one.system].native(one) if one else 'none: this cannot be taken back'}")
    return lines or ["nothing to do: already in force"]
