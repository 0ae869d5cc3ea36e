"""What is counted of a story told by the real heart: findings, what came of actions, sorts of refusals, and how long it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, get_args

import pytest

from agent import flow
from agent.event import Event
from agent.guard import Reason
from agent.messages import Applied, Apply, Outcome, Plan, Planned, Run, Seen
from agent.metrics.meters import Meters
from agent.parsers.canary import CANARY
from agent.policy import ROUND, Limits
from agent.record import Record
from agent.schema import Ttl, address
from agent.streams.sensor import Batch
from tests.stories import Guard, Shut, Story, guard, login, policy, shut
from tests.test_crowd import busy

HOUR = Ttl.read("1h")
SHUT: str = Shut.name  # type: ignore[attr-defined] # by its file, as every action


def counted(story: Story) -> Meters:
    """The meters after all that was written down in a story."""
    meters = Meters()
    meters.noted([record for _, record in story.records], story.agent.state.mitigations)
    return meters


# What is counted ------------------------------------------------------------------------------------------------------------


def test_a_story_is_counted_by_policy_action_and_outcome() -> None:
    story = Story(policy(), policy("careful", then=[shut()], mode="dry_run"))

    story.logins(3)
    story.gate.broken = "refuses"
    story.logins(3, "203.0.113.8")

    meters = counted(story)
    assert meters.findings.counts == {("guessing", "enforce"): 2, ("careful", "dry_run"): 2}
    assert meters.actions.counts == {(SHUT, "in_force"): 1, (SHUT, "failed"): 1, (SHUT, "would"): 1}
    assert meters.kinds["intent"] == 2


def test_drift_is_counted_by_mitigation_found_and_healed() -> None:
    story = Story()
    story.logins(3)
    story.logins(3, "203.0.113.8")

    story.gate.shut.clear()
    story.pass_by(61)

    meters = counted(story)
    assert (meters.drifted, meters.healed, meters.unhealed) == (2, 2, 0)


def test_a_policy_with_more_targets_than_it_may_act_on_is_counted_once_a_minute() -> None:
    story = Story(limits=Limits(max_active=2))

    for last in range(8):
        story.logins(3, f"203.0.113.{last}")

    meters = counted(story)
    assert meters.findings.counts == {("guessing", "enforce"): 2}
    assert meters.crowded.counts == {("guessing",): 1}


def test_the_canary_counts_as_no_finding_and_no_action() -> None:
    meters = Meters()
    body = {"policy": ROUND, "mode": "enforce", "action": "block_ip", "because": "x", "target": "203.0.113.7"}

    meters.noted([Record(kind, body, "INC-1", "M-1") for kind in ("finding", "would", "refused", "in_force")], {})

    assert [one.counts for one in (meters.findings, meters.actions, meters.refusals)] == [{}, {}, {}]
    assert meters.kinds["finding"] == 1


def test_lines_and_events_are_counted_by_source() -> None:
    meters = Meters()

    meters.read(Batch("file:/a", (login(), login()), "p", 40, 1000.0))
    meters.read(Batch("file:/a", (), "p", 2, 1001.0))
    meters.read(Batch("file:/b", (login(),), "p", 0, 1002.0))

    assert meters.lines == {"file:/a": 42}
    assert meters.events == {"file:/a": 2, "file:/b": 1}
    assert meters.last_line == {"file:/a": 1001.0}


# Refusals -------------------------------------------------------------------------------------------------------------------


def lower(story: Story, most: int) -> None:
    story.agent.settings = replace(story.agent.settings, limits=Limits(max_active=most))


def lifeline() -> Story:
    story = Story(never=["203.0.113.7"])
    story.logins(3)
    return story


def spared() -> Story:
    story = Story(policy(guard=Limits(never=("office",))))
    story.agent.settings = replace(story.agent.settings, lists={"office": (address("203.0.113.0/24"),)})
    story.logins(3)
    return story


def protected() -> Story:
    story = Story(policy(then=[guard()]))
    story.logins(3, "192.0.2.5")
    return story


def protected_by_the_system() -> Story:
    story = Story(policy(then=[guard()]))
    story.logins(3, "203.0.113.99")
    return story


def wide() -> Story:
    story = Story()
    story.ask("do", action=Shut(address("203.0.0.0/8"), HOUR), why="all of them")
    return story


def limit() -> Story:
    return while_planning(lambda story: lower(story, 0))


def share() -> Story:
    story = busy(100, 0.3)
    for last in range(1, 41):
        story.logins(1, f"192.0.2.{last}", 0.01)
    return story


def person() -> Story:
    story = Story()
    story.ask("do", action=Guard(address("203.0.113.7"), HOUR, hard=True), why="looks odd")
    return story


def while_planning(change: Callable[[Story], Any]) -> Story:
    """A story in which something changes between a finding and its plan."""
    story = Story()
    story.logins(2)
    story.dead = True
    effects = story.tell(Seen([login(at=story.now)]))
    planning = next(one for one in effects if isinstance(one, Plan))
    change(story)
    story.tell(Planned(planning.run, planning.action, tuple(planning.action.plan(story.gate))))
    return story


def withdrawn() -> Story:
    return while_planning(lambda story: story.agent.state.modes.update(guessing="off"))


def undone() -> Story:
    return while_planning(lambda story: story.agent.state.undone.update({"203.0.113.7": story.now}))


def evidence() -> Story:
    story = Story()
    story.agent.evidence = "the disk is full"
    story.logins(3)
    return story


def fields() -> Story:
    story = Story(policy(then=[replace(shut(), variable={"ip": "dst.ip"})]))
    story.logins(3)
    return story


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        *((one, one.__name__) for one in (lifeline, spared, protected, wide, limit, share, person)),
        *((one, one.__name__) for one in (withdrawn, undone, evidence, fields)),
        (protected_by_the_system, "protected"),
    ],
)
def test_a_refusal_is_counted_by_what_said_no(story: Callable[[], Story], reason: str) -> None:
    told = story()

    assert reason in get_args(Reason)
    assert set(counted(told).refusals.counts) == {(reason,)}, told.said("refused")


def test_every_sort_of_refusal_has_a_story_here() -> None:
    told = {"lifeline", "spared", "protected", "wide", "limit", "share", "person", "withdrawn", "undone", "evidence", "fields"}

    assert told | {"other"} == set(get_args(Reason))


# How long it took -----------------------------------------------------------------------------------------------------------


def run(seen: float, **more: Any) -> Run:
    event = Event(str(more.pop("kind", "login")), seen, {"src.ip": "203.0.113.7"})
    return Run("policy x", "because", steps=(more.pop("step", shut()),), event=event, **more)


def stages(meters: Meters) -> dict[str, tuple[int, float]]:
    return {stage: (sum(one.counts), round(one.total, 1)) for (stage,), one in meters.reaction.items()}


def test_a_block_is_measured_from_its_line_in_three_stages() -> None:
    meters, now = Meters(), time.time()
    plan = run(now - 2.0)

    meters.decided([Apply(plan, ()), Apply(plan, ())])
    meters.acted([Applied(plan, (Outcome("M-1", "in_force"),)), Applied(plan, (Outcome("M-2", "failed", "no"),))], [now - 1.0])

    assert stages(meters) == {"decided": (2, 4.0), "enforced": (1, 1.0), "verified": (1, 2.0)}


def test_a_plan_of_several_changes_is_enforced_with_its_last() -> None:
    meters, now = Meters(), time.time()
    outcomes = (Outcome("M-1", "in_force"), Outcome("M-2", "in_force"))

    meters.acted([Applied(run(now - 5.0), outcomes)], [now - 4.0, now - 1.0])

    assert stages(meters)["enforced"] == (1, 4.0)


@pytest.mark.parametrize(
    "waited",
    [
        run(1.0, approval="A-1"),
        run(1.0, step=replace(shut(), after=Ttl.read("5m").first)),
        run(1.0, kind=CANARY.name),
        run(1.0, kind=""),
        Run("alice (uid 1000)", "looks odd"),
    ],
    ids=["a person's yes", "a step put off", "the canary", "taken up again", "a person's order"],
)
def test_what_waited_for_something_else_is_not_measured(waited: Run) -> None:
    meters = Meters()

    meters.decided([Apply(waited, ())])
    meters.acted([Applied(waited, (Outcome("M-1", "in_force"),))], [time.time()])
    meters.acted([Applied(waited, ())], [])

    assert stages(meters) == {"decided": (0, 0.0), "enforced": (0, 0.0), "verified": (0, 0.0)}


def test_lanes_that_finish_at_once_lose_no_count() -> None:
    meters = Meters()
    applied = [Applied(run(time.time()), (Outcome("M-1", "in_force"),))]

    def work() -> None:
        for _ in range(500):
            meters.worked("firewall", 0.001)
            meters.acted(applied, [time.time()])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)

    assert meters.jobs["firewall",][0] == 2000
    assert sum(meters.reaction["verified",].counts) == 2000


# What it costs --------------------------------------------------------------------------------------------------------------


def test_counting_a_burst_costs_less_than_a_hundredth_of_deciding_it() -> None:
    many, meters = 3000, Meters()
    story = Story(policy(least=1), limits=Limits())
    addresses = [str(ip_address("11.0.0.0") + n) for n in range(many)]
    begun = time.process_time()
    plans = flow.step(story.agent, Seen([login(one, story.now) for one in addresses]), story.now)
    applies = [each for one in plans if isinstance(one, Plan) for each in _planned(story, one)]
    applied = [Applied(one.run, tuple(Outcome(name, "in_force") for name, _ in one.jobs)) for one in applies]
    for one in applied:
        flow.step(story.agent, one, story.now)
    heart = time.process_time() - begun
    finding = {"policy": "guessing", "mode": "enforce", "target": "203.0.113.7"}
    records = [Record("finding", finding)] * many + [Record("intent")] * many
    records += [Record("in_force", {}, "", name) for one in applies for name, _ in one.jobs]

    begun = time.process_time()
    meters.noted(records, story.agent.state.mitigations)
    meters.decided(applies)
    meters.acted(applied, [story.now])
    cost = time.process_time() - begun

    assert len(applies) == many
    assert meters.actions.counts == {(SHUT, "in_force"): many}
    assert cost < 5e-6 * many, f"{1e6 * cost / many:.1f} µs for each offender; the heart alone takes {1e6 * heart / many:.1f}"


def _planned(story: Story, one: Plan) -> list[Apply]:
    effects = flow.step(story.agent, Planned(one.run, one.action, tuple(one.action.plan(story.gate))), story.now)
    return [each for each in effects if isinstance(each, Apply)]
