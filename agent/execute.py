"""The one door: every change to the outside is performed here, and nowhere else.

Many changes for one system become one batch, so that ten thousand offenders cost one transaction and one look back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from agent.action import Answer, Call, Change, Holds, InProgress, System
from agent.messages import Held, Outcome, Release

Job = tuple[str, Change]
"""A mitigation's name, and its change."""
Keep = Callable[[str, Call, Any], Mapping[str, Any]]
"""Stores what a capture brought to light, for a mitigation; answers what the journal says of it: file, size and hash."""

CAPTURE: Final = 10.0
"""Seconds that evidence may hold up an act; what has not been taken by then is left out, and said so."""


Door = Callable[[Sequence[Change]], Mapping[int, str]]
"""Asked right before changes are made: those that must not be, by their place, with the reason."""


def _unkept(_mitigation: str, one: Call, value: Any) -> Mapping[str, Any]:
    """Without a store, what was captured goes into the record itself."""
    return {"call": str(one), "value": value}


def unheard() -> None:
    """Nobody wants to hear when changes were made."""


def unguarded(_changes: Sequence[Change]) -> Mapping[int, str]:
    """Without anybody at the door, all may pass."""
    return {}


def apply(
    batches: Sequence[Sequence[Job]],
    systems: Mapping[str, System],
    keep: Keep = _unkept,
    door: Door = unguarded,
    made: Callable[[], None] = unheard,
) -> list[tuple[Outcome, ...]]:
    """Make changes and see that they hold. Batches are independent; within one, a change that fails stops those after it.

    `made` is called each time that the next change of every batch was made, and not yet read back.
    """
    outcomes: list[list[Outcome]] = [[] for _ in batches]
    for depth in range(max(map(len, batches), default=0)):
        going = [at for at, jobs in enumerate(batches) if depth < len(jobs) and all(_goes_on(one) for one in outcomes[at])]
        for at, outcome in zip(going, _pass([batches[at][depth] for at in going], systems, keep, door, made), strict=True):
            outcomes[at].append(outcome)
    return [
        (*done, *(Outcome(name, "not_tried", f"{done[-1].mitigation} failed before it") for name, _ in jobs[len(done) :]))
        for jobs, done in zip(batches, outcomes, strict=True)
    ]


def _goes_on(one: Outcome) -> bool:
    """A part that is in force, or under way, is no reason to leave out the rest: each change contains a little more."""
    return one.result in ("in_force", "partly", "under_way")


def _pass(jobs: Sequence[Job], systems: Mapping[str, System], keep: Keep, door: Door, made: Callable[[], None]) -> list[Outcome]:
    """Make those that the door lets pass. Evidence is taken before it is asked, since that may take its time."""
    found = [_captured(name, change, systems, keep) for name, change in jobs]
    barred = door([change for _, change in jobs])
    done = iter(_make([job for at, job in enumerate(jobs) if at not in barred], systems, made))
    return [
        (Outcome(job[0], "failed", f"refused at the door: {barred[at]}") if at in barred else next(done))._replace(found=seen)
        for at, (job, seen) in enumerate(zip(jobs, found, strict=True))
    ]


def _make(jobs: Sequence[Job], systems: Mapping[str, System], made: Callable[[], None]) -> list[Outcome]:
    applied = _perform([change.apply for _, change in jobs], systems)
    made()
    held = _perform([change.verify for _, change in jobs], systems)
    return [_outcome(name, change, answer, holds) for (name, change), answer, holds in zip(jobs, applied, held, strict=True)]


def _captured(name: str, change: Change, systems: Mapping[str, System], keep: Keep) -> tuple[Mapping[str, Any], ...]:
    """Evidence from before the act, at most CAPTURE seconds of it. That some cannot be had stops nothing."""
    if not change.capture:
        return ()
    until, found = time.monotonic() + CAPTURE, list[Mapping[str, Any]]()
    for one in change.capture:
        if time.monotonic() > until:
            found.append({"call": str(one), "error": f"left out: {CAPTURE:g} s for evidence were over"})
            continue
        (seen,) = systems[one.system].perform([one])
        found.append({"call": str(one), "error": str(seen.error)} if seen.error else keep(name, one, seen.value))
    return tuple(found)


def _outcome(name: str, change: Change, made: Answer, holds: Answer) -> Outcome:
    """What the system says it holds decides; what apply answered only explains."""
    why = str(made.error) if made.error else ""
    held = _held(name, holds)
    if isinstance(holds.error, InProgress):
        return Outcome(name, "under_way", held.say)
    if held.holds is None:
        return Outcome(name, "late", why or f"cannot see whether it holds: {held.say}")
    if held.holds == "partly":
        return Outcome(name, "partly", f"{why}; {held.say}" if why else held.say)
    if held.holds:
        return Outcome(name, "in_force", why or held.say)
    if isinstance(made.error, InProgress):
        return Outcome(name, "under_way", why)
    if made.error:
        return Outcome(name, "failed", why)
    return Outcome(name, "not_verified", f"the call succeeded, yet this does not hold: {held.say or change.describe}")


def _held(name: str, answer: Answer) -> Held:
    if answer.error:
        return Held(name, None, str(answer.error))
    if isinstance(answer.value, Holds):
        return Held(name, "partly" if answer.value.how == "partly" else answer.value.how == "yes", answer.value.say)
    return Held(name, bool(answer.value))


def undo(jobs: Sequence[Job], systems: Mapping[str, System]) -> tuple[Release, ...]:
    """Take back what holds or is under way, in the order given, and see that it is gone; what is gone already is left alone."""
    answers = _perform([change.verify for _, change in jobs], systems)
    held = [_held(name, answer) for (name, _), answer in zip(jobs, answers, strict=True)]
    going = [one.holds or isinstance(answer.error, InProgress) for one, answer in zip(held, answers, strict=True)]
    standing = [job for job, goes in zip(jobs, going, strict=True) if goes and job[1].undo]
    undone = dict(zip((name for name, _ in standing), _perform([c.undo for _, c in standing if c.undo], systems), strict=True))
    after = {one.mitigation: one for one in verify(standing, systems)}
    return tuple(_release(job, one, undone.get(job[0]), after.get(job[0])) for job, one in zip(jobs, held, strict=True))


def _release(job: Job, before: Held, undone: Answer | None, after: Held | None) -> Release:
    name, change = job
    if before.holds is None and undone is None:
        return Release(name, "failed", before.say)
    if before.holds is False:
        return Release(name, "gone", before.say)
    if change.undo is None:
        return Release(name, "failed", f"cannot undo: {change.describe}. It cannot be taken back")
    if after is not None and after.holds is False:
        return Release(name, "lifted", after.say)
    if undone and undone.error:
        return Release(name, "failed", str(undone.error))
    return Release(name, "failed", (after and after.say) or "the undo succeeded, yet the change still holds")


def verify(jobs: Sequence[Job], systems: Mapping[str, System]) -> tuple[Held, ...]:
    """Ask whether changes hold; None with the error where it could not be asked."""
    answers = _perform([change.verify for _, change in jobs], systems)
    return tuple(_held(name, one) for (name, _), one in zip(jobs, answers, strict=True))


def seconds(jobs: Iterable[Change], systems: Mapping[str, System]) -> float:
    """How much longer than usual these changes may take: slow verbs one after the other, and the evidence before."""
    changes = list(jobs)
    evidence = sum(CAPTURE + max(systems[one.system].within(one) for one in each.capture) for each in changes if each.capture)
    return evidence + slowly((one for each in changes for one in (each.apply, each.verify)), systems)


def slowly(calls: Iterable[Call], systems: Mapping[str, System]) -> float:
    """How much longer than usual these calls may take, one after the other."""
    verbs = dict[tuple[str, str], tuple[Call, int]]()  # ten thousand calls are of two or three verbs
    for one in calls:
        verbs[one.system, one.verb] = (one, verbs.get((one.system, one.verb), (one, 0))[1] + 1)
    return sum(times * systems[one.system].within(one) for one, times in verbs.values())


def _perform(calls: Sequence[Call], systems: Mapping[str, System]) -> list[Answer]:
    """One batch for each run of calls to the same system; answers in the calls' order."""
    answers: list[Answer] = []
    while len(answers) < len(calls):
        rest = calls[len(answers) :]
        system = rest[0].system
        batch = rest[: next((at for at, one in enumerate(rest) if one.system != system), len(rest))]
        answers += systems[system].perform(batch)
    return answers


def dry_run(changes: Iterable[Change], systems: Mapping[str, System], nothing: str = "already in force") -> list[str]:
    """The plan in people's words and in each system's own: exactly what a real run would call."""
    lines = []
    for change in changes:
        lines.append(f"would {change.describe}")
        lines += [f"  {'touches':7} {one}" for one in change.touches]
        calls = [*(("capture", one) for one in change.capture), ("apply", change.apply), ("verify", change.verify)]
        for part, one in (*calls, ("undo", change.undo)):
            said = systems[one.system].native(one).splitlines() if one else ["none: it is done once, and cannot be taken back"]
            lines += [f"  {part if at == 0 else '':7} {line}" for at, line in enumerate(said)]
    return lines or [f"nothing to do: {nothing}"]
