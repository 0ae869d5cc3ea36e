"""Stories in which two things happen at once: a lane that is slow, two policies, a person, a switch, a clock."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from agent import flow, rounds, snapshot
from agent.messages import (
    Applied,
    Apply,
    Disturbed,
    Effect,
    Heal,
    Healed,
    Held,
    Lift,
    Lifted,
    Message,
    Outcome,
    Plan,
    Planned,
    Release,
    Seen,
    Tick,
    Verified,
    Verify,
)
from agent.policy import Limits, Rate
from agent.schema import Ttl, address
from agent.turn import Turn
from tests.stories import T0, Gate, Shut, Story, guard, login, policy, shut


def answers(story: Story, *effects: Effect) -> list[Message]:
    """What the lanes say to these, without the agent hearing of it yet."""
    return [answer for one in effects if (answer := story.lane(one)) is not None]


# Two policies, one address ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttls", [("24h", "30m"), ("30m", "24h")])
def test_of_two_policies_that_block_an_address_in_the_same_moment_the_longer_one_stays(ttls: tuple[str, str]) -> None:
    story = Story(*(policy(f"for-{ttl}", then=[shut(ttl)]) for ttl in ttls))
    story.dead = True
    for _ in range(2):
        story.tell(Seen([login()]))
    plans = [one for one in story.tell(Seen([login()])) if isinstance(one, Plan)]
    applies = [one for said in answers(story, *plans) for one in story.tell(said) if isinstance(one, Apply)]
    story.dead = False
    for said in answers(story, *applies):
        story.tell(said)

    (held,) = story.agent.state.in_force()
    assert held.policy == "for-24h"
    assert held.until == T0 + 86400
    assert {one.phase for one in story.agent.state.incidents.values()} == {"contained"}

    story.pass_by(1800)

    assert story.gate.shut
    assert story.agent.state.active[""] == 1


def test_an_undo_waits_while_another_order_is_putting_the_same_into_force() -> None:
    story = Story()
    story.ask("do", action=Shut(address("203.0.113.7"), Ttl.read("1m")), why="first")
    story.gate.shut.clear()  # the kernel let go a moment before the agent noticed
    story.dead = True
    order = story.order("do", action=Shut(address("203.0.113.7"), Ttl.read("1h")), why="longer")
    (planned,) = answers(story, *order)
    (apply,) = (one for one in story.tell(planned) if isinstance(one, Apply))
    story.now += 60
    lifts = [one for one in story.tell(Tick()) if isinstance(one, Lift)]
    for said in answers(story, apply, *lifts):
        story.tell(said)
    story.dead = False

    story.pass_by(2)

    assert story.gate.shut
    assert [one.id for one in story.agent.state.in_force()] == ["M-2"]
    assert [one.mitigation for one in story.said("lifted")] == ["M-1"]


def test_a_person_who_would_undo_another_order_with_it_is_told_to_wait() -> None:
    story = Story()
    story.ask("do", action=Shut(address("203.0.113.7"), Ttl.read("1m")), why="first")
    story.gate.shut.clear()
    story.dead = True
    for said in answers(story, *story.order("do", action=Shut(address("203.0.113.7"), Ttl.read("1h")), why="longer")):
        story.tell(said)

    answer = story.ask("undo", what="M-1", why="mine")

    assert answer["error"].startswith("cannot undo M-1: it is being changed at this moment")


def test_undo_all_in_the_middle_of_an_attack_takes_down_what_can_be_and_names_the_rest() -> None:
    story = Story()
    story.logins(3)
    story.dead = True
    for said in answers(story, *story.order("do", action=Shut(address("203.0.113.8"), Ttl.read("1h")), why="more")):
        story.tell(said)
    story.dead = False

    answer = story.ask("undo", what="all", why="stop everything")

    assert answer["result"] == "partly"
    assert answer["mitigations"] == ["M-1"]
    assert [one["mitigation"] for one in answer["failed"]] == ["M-2"]
    assert not story.gate.shut


def test_what_a_person_took_down_is_not_put_up_again_by_another_policy() -> None:
    story = Story(policy("guessing"), policy("spraying"))
    story.logins(3)

    story.ask("undo", what="203.0.113.7", why="our scanner")
    story.logins(20)

    assert not story.gate.shut


def test_a_policy_that_only_reports_goes_on_reporting_after_an_undo() -> None:
    story = Story(policy("guessing"), replace(policy("watching", least=5), then=()))
    story.logins(3)
    story.ask("undo", what="203.0.113.7", why="our scanner")

    story.logins(5)

    assert [one.body["policy"] for one in story.said("finding")] == ["guessing", "watching"]


def test_what_a_person_blocked_and_took_down_again_is_left_alone_by_policies_too() -> None:
    story = Story()
    story.ask("do", action=Shut(address("203.0.113.7"), Ttl.read("1h")), why="looks odd")
    story.ask("undo", what="203.0.113.7", why="our scanner")

    story.logins(20)

    assert not story.gate.shut


# Lanes that are slow ----------------------------------------------------------------------------------------------------------


def test_a_look_that_was_under_way_when_the_undo_began_does_not_undo_a_second_time() -> None:
    story = Story()
    story.logins(3)
    story.dead = True
    looks = [one for one in story.tell(Disturbed("gate", "nft")) if isinstance(one, Verify)]
    (held,) = answers(story, *looks)
    lift = story.order("undo", what="M-1", why="mine")

    again = story.tell(held)
    for said in answers(story, *lift):
        story.tell(said)

    assert not [one for one in again if isinstance(one, Lift)]
    assert story.kinds().count("lifted") == 1


def test_an_undo_that_failed_late_revives_nothing_that_is_over() -> None:
    story = Story()
    story.logins(3)
    story.ask("undo", what="M-1", why="mine")

    story.tell(Lifted((Release("M-1", "failed", "no answer within 10 s"),), "mine"))
    story.pass_by(60)

    assert story.agent.state.in_force() == []
    assert story.agent.state.active[""] == 0


def test_after_a_crash_in_the_middle_of_two_that_mean_the_same_only_one_is_left() -> None:
    story = Story()
    story.ask("do", action=Shut(address("203.0.113.7"), Ttl.read("1m")), why="first")
    story.gate.shut.clear()
    story.dead = True
    (planned,) = answers(story, *story.order("do", action=Shut(address("203.0.113.7"), Ttl.read("1h")), why="longer"))
    story.tell(planned)

    restored = snapshot.restore(from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float")), {"gate": Gate})

    assert restored.holder == story.agent.state.holder


def test_lifts_that_fail_by_the_thousand_are_all_tried_again() -> None:
    story = Story(limits=Limits())
    for last in range(3):
        story.ask("do", action=Shut(address(f"203.0.113.{last}"), Ttl.read("1m")), why="x")
    story.gate.broken = "silent"
    story.pass_by(60)
    assert len(story.said("lift_failed")) == 3

    story.gate.broken = ""
    story.pass_by(10)

    assert not story.gate.shut
    assert story.agent.state.active[""] == 0
    assert story.agent.verified == {}


def test_a_storm_of_changes_by_others_is_a_few_looks_and_the_last_one_comes_after_it() -> None:
    story = Story()
    story.logins(3)

    looks = [one for _ in range(500) for one in story.tell(Disturbed("gate", "docker")) if isinstance(one, Verify)]
    story.gate.shut.clear()
    story.tell(Disturbed("gate", "docker"))
    story.pass_by(1)

    assert len(looks) == 1
    assert story.gate.shut


def test_who_disturbed_us_an_hour_ago_is_not_blamed_for_what_is_missing_now() -> None:
    story = Story(policy(then=[shut("5h")]))
    story.logins(3)
    story.tell(Disturbed("gate", "nft (pid 42)"))
    story.pass_by(3600)
    story.gate.shut.clear()

    story.pass_by(61)

    assert story.said("drifted")[0].body["who"] == ""


def test_five_repairs_in_a_day_are_not_a_fight() -> None:
    story = Story(policy(then=[shut("3d")]))
    story.logins(3)

    for _ in range(6):
        story.gate.shut.clear()
        story.pass_by(3600)

    assert [one.body["fight"] for one in story.said("drifted")] == [False] * 6


def test_a_lift_that_fails_all_day_is_tried_less_and_less_often() -> None:
    story = Story()
    story.logins(3)
    story.gate.broken = "silent"

    for _ in range(8640):
        story.pass_by(10)

    assert 50 < len(story.said("lift_failed")) < 200
    story.gate.broken = ""
    story.pass_by(640)
    assert not story.gate.shut


def test_what_was_decided_before_a_bug_is_not_lost_with_it() -> None:
    story = Story()
    turn = Turn(story.agent, T0)
    unhashable: Any = ["203.0.113.7"]
    nonsense = login()._replace(fields={"src.ip": unhashable})

    with pytest.raises(TypeError):
        flow.work(turn, Seen([*[login()] * 3, nonsense]))

    assert [type(one).__name__ for one in turn.effects] == ["Note", "Plan"]


# Switched while something is on its way -----------------------------------------------------------------------------------------


def test_a_policy_switched_from_dry_run_to_enforce_acts_on_the_attack_that_is_going_on() -> None:
    story = Story(mode="dry_run")
    story.logins(3)
    story.ask("mode", policy="guessing", mode="enforce")

    story.logins(3)

    assert story.gate.shut


@pytest.mark.parametrize("switch", ["dry_run", "off", "gone", "paused", "undone"])
def test_a_step_put_off_asks_again_whether_it_may(switch: str) -> None:
    story = Story(policy(then=[shut("10s"), shut(after=timedelta(minutes=1))]))
    story.logins(4)
    match switch:
        case "gone":
            story.agent.policies.clear()
        case "paused":
            story.ask("pause", seconds=9999, why="deploy")
        case "undone":
            story.ask("undo", what="all", why="our scanner")
        case _:
            story.ask("mode", policy="guessing", mode=switch)

    story.pass_by(60)

    assert not story.gate.shut
    assert story.agent.later == []
    assert story.agent.running == set()


def test_a_pause_also_stops_what_was_planned_a_moment_before() -> None:
    story = Story()
    story.dead = True
    for _ in range(2):
        story.tell(Seen([login()]))
    plans = [one for one in story.tell(Seen([login()])) if isinstance(one, Plan)]
    story.ask("pause", seconds=600, why="deploy")
    (planned,) = answers(story, *plans)

    story.tell(planned)

    assert story.kinds()[-1] == "would"
    assert story.agent.state.active.get("", 0) == 0
    assert story.agent.running == set()


def test_what_a_dry_run_would_have_done_takes_no_room_from_what_is_done() -> None:
    room = Limits(max=Rate(2, timedelta(hours=1)))
    story = Story(policy("trial", mode="dry_run", least=2), policy("real"), limits=room)
    for last in (1, 2, 3):
        story.logins(2, ip=f"198.51.100.{last}")

    story.logins(3)

    assert story.gate.shut
    assert len(story.said("would")) == 2


# The clock ----------------------------------------------------------------------------------------------------------------------


def live_through(story: Story, seconds: float) -> None:
    """The daemon's loop: a tick when one is due, and not otherwise."""
    until = story.now + seconds
    while story.now < until:
        story.now += 0.1
        if story.now >= rounds.next_due(story.agent, story.now):
            story.tell(Tick())


def test_a_doubt_is_cleared_within_a_second_and_a_pause_ends_within_six() -> None:
    story = Story()
    live_through(story, 10)
    story.gate.broken = "silent"
    story.tell(Seen([login()] * 3))
    story.gate.broken = ""
    live_through(story, 1)
    assert story.kinds()[-2:] == ["recovered", "phase"]

    story.ask("pause", seconds=10, why="deploy")
    live_through(story, 16)

    assert not story.agent.state.pauses.all


def test_a_clock_set_back_does_not_stop_the_looking() -> None:
    story = Story(policy(then=[shut("5h")]))
    story.logins(3)
    live_through(story, 70)
    story.now -= 3600
    story.gate.shut.clear()

    live_through(story, 70)

    assert story.gate.shut


def test_a_clock_set_forward_ends_what_is_over_and_counts_it_down() -> None:
    story = Story()
    story.logins(3)

    story.now += 7200
    live_through(story, 1)

    assert not story.gate.shut
    assert story.agent.state.active[""] == 0


# Everything at once -------------------------------------------------------------------------------------------------------------

TROUBLES = ["", "", "jams", "is slow", "silent", "refuses", "lies", "is somebody else's"]
HOUSES = ["203.0.113.7", "203.0.113.8"]


class Storm:
    """A story in which lanes are slow, hang, or are given up while their thread works on, by dice that can be thrown again."""

    def __init__(self, seed: int) -> None:
        self.die, self.out = random.Random(seed), list[Effect]()
        self.story = Story(policy("a", then=[guard("20m"), shut("10m")]), policy("b", then=[shut("30m"), guard()], least=2))
        self.story.lane = self.lane  # type: ignore[method-assign]

    def lane(self, effect: Effect) -> Message | None:
        if self.die.random() < 0.65:
            return Story.lane(self.story, effect)
        self.out.append(effect)
        return None

    def answer(self) -> None:
        while self.out:
            effect = self.out.pop(0)
            lost = self.die.random() < 0.3
            said = None if lost and self.die.random() < 0.5 else Story.lane(self.story, effect)
            if said := given_up(effect) if lost else said:
                self.story.tell(said)

    def go_on(self) -> None:
        story, house = self.story, self.die.choice(HOUSES)
        match self.die.choice(["login", "login", "trouble", "answer", "answer", "time", "undo", "confirm", "do", "gone", "dies"]):
            case "login":
                story.logins(self.die.randint(1, 4), house)
            case "trouble":
                story.gate.broken = self.die.choice(TROUBLES)
            case "answer":
                self.answer()
            case "time":
                story.pass_by(self.die.choice([0.5, 5.0, 61.0, 400.0, 1000.0]))
            case "undo":
                story.order("undo", what=self.die.choice(["all", house, "M-1"]), why="over")
            case "confirm":
                story.order("confirm", what=house, why="fine")
            case "do":
                story.order("do", action=Shut(address(house), Ttl.read(self.die.choice(["5m", "40m"]))), why="an attack")
            case "gone":
                story.gate.shut.clear()
                story.tell(Disturbed("gate", "nft"))
            case _:
                self.out.clear()
                story.die_and_start_again()

    def calm_down(self) -> None:
        self.story.gate.broken = ""
        del self.story.lane
        for effect in self.out:
            if said := self.story.lane(effect):
                self.story.tell(said)
        for _ in range(200):
            self.story.pass_by(30.0)


def given_up(effect: Effect) -> Message | None:
    why = "no answer in time"
    match effect:
        case Plan(run, todo):
            return Planned(run, todo, error=why)
        case Apply(run, todo):
            return Applied(run, tuple(Outcome(name, "late", why) for name, _ in todo))
        case Lift(todo, because, asked):
            return Lifted(tuple(Release(name, "failed", why) for name, _ in todo), because, asked)
        case Verify(todo, asked):
            return Verified(tuple(Held(name, None, why) for name, _ in todo), asked)
        case Heal(todo, asked):
            return Healed(tuple(Outcome(name, "late", why) for name, _ in todo), asked)
    return None


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_in_whatever_order_nothing_is_left_behind(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(60):
        storm.go_on()

    storm.calm_down()

    agent = storm.story.agent
    assert not storm.story.gate.shut
    assert not [one for one in agent.state.mitigations.values() if one.active]
    assert set(agent.state.active.values()) <= {0}
    assert {one.phase for one in agent.state.incidents.values()} <= {"resolved"}
    remembered = (agent.busy, agent.doubtful, agent.under_way, agent.verified, agent.tries, agent.tried, agent.running)
    assert not any(remembered)
