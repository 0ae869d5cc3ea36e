"""Effects become jobs in lanes: everything of one turn that goes to one system is one job, so that it can be one batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from agent import execute
from agent.action import CannotReach, Change, Protected, System
from agent.expiry.outlive import Outlive
from agent.expiry.timers import PATIENCE as ARMING
from agent.messages import (
    Applied,
    Apply,
    Cry,
    Effect,
    Heal,
    Healed,
    Held,
    Lift,
    Lifted,
    Outcome,
    Plan,
    Planned,
    Release,
    Send,
    Verified,
    Verify,
)
from agent.metrics.meters import Meters
from agent.notifying.courier import Courier, not_sent
from agent.workers import Job, Lanes

log = logging.getLogger("agent")

DEADLINE: Final = 10.0
"""Seconds a system has for one batch, where the policy's step says nothing shorter."""

PATIENCE: Final = 3.0
"""Seconds a system has when a person waits: what it has not said by then is shown as it was seen last."""

Systems = Mapping[str, System]
Counted = Callable[[], None]


@dataclass(frozen=True)
class Outside:
    """What effects are carried out with. `keep` stores evidence; `counted` reads the drop counters when a person asks; `meters`
    take the time.

    `door` is asked right before changes are made, `door_again` before what vanished is put back. `outlive` sees to it that
    what is made ends also when the agent is dead by then. `courier` tells people.
    """

    systems: Systems
    lanes: Lanes
    keep: execute.Keep
    counted: Counted
    door: execute.Door = execute.unguarded
    door_again: execute.Door = execute.unguarded
    outlive: Outlive | None = None
    courier: Courier | None = None
    meters: Meters = field(default_factory=Meters)


def carry_out(effects: Sequence[Effect], outside: Outside, now: float) -> None:  # noqa: C901 - a table
    """Begin whatever the turn decided. `now` is monotonic."""
    systems = outside.systems
    plans: dict[str, list[Plan]] = {}
    applies: dict[str, list[Apply]] = {}
    for one in effects:
        match one:
            case Plan():
                plans.setdefault(_plan_lane(one), []).append(one)
            case Apply():
                applies.setdefault(one.jobs[0][1].apply.system, []).append(one)
            case Lift():
                _begin(outside, _lane_of(one.jobs), partial(_lift, one, systems), partial(_not_lifted, one), now)
            case Verify():
                _begin(outside, _lane_of(one.jobs), partial(_verify, one, outside), partial(_not_verified, one), now)
            case Heal():
                _begin(outside, _lane_of(one.jobs), partial(_heal, one, outside), partial(_not_healed, one), now)
            case Send() if outside.courier:
                _begin(outside, f"notify {one.channel}", partial(outside.courier.job, one), partial(not_sent, one), now)
            case Cry() if outside.courier:
                _begin(outside, "terminals", partial(outside.courier.cry, one), lambda _: [], now)
    for lane, planned in plans.items():
        _begin(outside, lane, partial(_plans, lane, planned, systems), partial(_not_planned, planned), now)
    for lane, applied in applies.items():
        outside.meters.decided(applied)
        _begin(outside, lane, partial(_applies, lane, applied, outside), partial(_not_applied, applied), now)


def _begin(outside: Outside, lane: str, make: Callable[[], Job], failed: Callable[[str], Any], now: float) -> None:
    """Start a job. A bug in making it is its failure, and not the end of the agent, which would come back to it at each start."""
    try:
        job = make()
    except Exception as error:  # the same place as the daemon's loop
        log.exception("a bug in the agent: a job for %s was not begun", lane)
        outside.lanes.answer(failed(f"a bug in the agent: {type(error).__name__}: {error}"))
        return
    outside.lanes.start(lane, job, now)


def _plan_lane(one: Plan) -> str:
    return next((needed.name for needed in one.action.needs.values()), "net")


def _lane_of(batch: Sequence[execute.Job]) -> str:
    return batch[0][1].verify.system if batch else "firewall"


def _plans(lane: str, batch: Sequence[Plan], systems: Systems) -> Job:
    return Job(
        f"plan {len(batch)} actions on {lane}",
        work=lambda: _with_population([_plan(one, systems) for one in batch], systems.get(lane)),
        failed=partial(_not_planned, batch),
        deadline=_deadline(batch) + sum(type(one.action).within for one in batch),  # a parameter may have that name, too
    )


def _not_planned(batch: Sequence[Plan], why: str) -> list[Planned]:
    return [Planned(one.run, one.action, error=why) for one in batch]


def _with_population(planned: list[Planned], system: System | None) -> list[Planned]:
    """The plans, the first one with what there is now: a policy may touch only a share of it."""
    if system is None or not any(one.changes and one.run.policy for one in planned):
        return planned
    try:
        population = system.population()
    except CannotReach:  # what cannot be counted bounds nothing; the other limits hold
        return planned
    return [
        replace(one, population=population) if at == 0 or "container" in population else one for at, one in enumerate(planned)
    ]


def _plan(one: Plan, systems: Systems) -> Planned:
    try:
        changes = one.action.plan(**{name: systems[needed.name] for name, needed in one.action.needs.items()})
    except Protected as error:
        return Planned(one.run, one.action, refused=str(error))
    except (CannotReach, ValueError) as error:
        return Planned(one.run, one.action, error=str(error))
    except Exception as error:  # a lane's worker: one plan's bug is not the end of the others in its batch
        log.exception("a bug in %s: it was not planned", one.action.name)
        return Planned(one.run, one.action, error=f"a bug in {one.action.name}: {type(error).__name__}: {error}")
    return Planned(one.run, one.action, tuple(changes), by_hand=tuple(_by_hand(change, systems) for change in changes))


def _by_hand(change: Change, systems: Systems) -> str:
    """How a person takes it back without the agent; empty where the system ends it by itself, or nobody can."""
    if change.undo is None or "ttl" in change.apply.args:
        return ""
    return systems[change.undo.system].native(change.undo)


def _applies(lane: str, batch: Sequence[Apply], outside: Outside) -> Job:
    changes = [change for one in batch for _, change in one.jobs]
    outlive = outside.outlive
    capsules = outlive.capsules(job for one in batch for job in one.jobs) if outlive else []

    def work() -> list[Applied]:
        if outlive:
            outlive.arm(capsules)  # first: whatever happens from here on, it ends
        passes: list[float] = []
        made = partial(_stamp, passes)
        outcomes = execute.apply([one.jobs for one in batch], outside.systems, outside.keep, outside.door, made)
        done = [Applied(one.run, outcome) for one, outcome in zip(batch, outcomes, strict=True)]
        outside.meters.acted(done, passes)
        return done

    deadline = _deadline(batch) + execute.seconds(changes, outside.systems) + (2 * ARMING if capsules else 0.0)
    return Job(f"apply {len(changes)} changes on {lane}", work, partial(_not_applied, batch), deadline, changes=True)


def _stamp(passes: list[float]) -> None:
    passes.append(time.time())


def _not_applied(batch: Sequence[Apply], why: str) -> list[Applied]:
    return [Applied(one.run, _late(one.jobs, why)) for one in batch]


def _deadline(batch: Sequence[Plan | Apply]) -> float:
    """The longest that any step of the batch allows."""
    steps = [one.run.step for one in batch]
    return max((one.timeout.total_seconds() if one and one.timeout else DEADLINE) for one in steps)


def _late(batch: Sequence[execute.Job], why: str) -> tuple[Outcome, ...]:
    return tuple(Outcome(name, "late", why) for name, _ in batch)


def _lift(one: Lift, systems: Systems) -> Job:
    calls = [call for _, change in one.jobs for call in (change.verify, change.undo, change.verify) if call]
    return Job(
        f"lift {len(one.jobs)} mitigations",
        work=lambda: [Lifted(execute.undo(one.jobs, systems), one.because, one.asked)],
        failed=partial(_not_lifted, one),
        deadline=DEADLINE + execute.slowly(calls, systems),
        changes=True,
    )


def _not_lifted(one: Lift, why: str) -> list[Lifted]:
    return [Lifted(tuple(Release(name, "failed", why) for name, _ in one.jobs), one.because, one.asked)]


def _verify(one: Verify, outside: Outside) -> Job:
    def work() -> list[Verified]:
        held = execute.verify(one.jobs, outside.systems)
        if one.asked and _lane_of(one.jobs) == "firewall":
            outside.counted()
        return [Verified(held, one.asked)]

    calls = [change.verify for _, change in one.jobs]
    deadline = PATIENCE if one.asked else DEADLINE + execute.slowly(calls, outside.systems)
    return Job(f"verify {len(one.jobs)} mitigations", work, partial(_not_verified, one), deadline)


def _not_verified(one: Verify, why: str) -> list[Verified]:
    return [Verified(tuple(Held(name, None, why) for name, _ in one.jobs), one.asked)]


def _heal(one: Heal, outside: Outside) -> Job:
    systems = outside.systems

    def work() -> list[Healed]:
        for name in {change.apply.system for _, change in one.jobs}:
            systems[name].prepare()
        outcomes = execute.apply([[job] for job in one.jobs], systems, door=outside.door_again)
        return [Healed(tuple(outcome for batch in outcomes for outcome in batch), one.asked)]

    deadline = DEADLINE + execute.seconds([change for _, change in one.jobs], systems)
    return Job(f"heal {len(one.jobs)} mitigations", work, partial(_not_healed, one), deadline, changes=True)


def _not_healed(one: Heal, why: str) -> list[Healed]:
    return [Healed(_late(one.jobs, why), one.asked)]
