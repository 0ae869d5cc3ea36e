"""What two features do to each other: a yes and a ladder, a flood and a crash, a shadow and what it must not hide."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.action import Change, action, from_text
from agent.event import Event
from agent.messages import Applied, Asked, Outcome, Planned, Run, Seen
from agent.policy import Clause, Limits, Part, Policy, Rate, Step
from agent.recovery.rungs import Ladder, Recover
from agent.runs import begun
from agent.schema import Address, Ttl, address
from agent.turn import Approving, Turn
from tests.stories import Gate, Guard, Narrow, Shut, Story, guard, login, policy, shut
from tests.test_crowd import busy, crowd_of, flood, limited
from tests.test_shadow import ACTIONS, ask_checks, check_of, hold, stopped, watching_checks

BELL = Step(Guard, {"ip": address("203.0.113.1"), "ttl": Ttl.read("10m")})


@action(impact="disruptive")
class Ring:
    """Ring the bell once."""

    ip: Address

    def plan(self, gate: Gate) -> list[Change]:
        return [Change("ring the bell", gate.ring(ip=self.ip), None, gate.rang(ip=self.ip))]


def answer(story: Story, verb: str = "approve", what: str = "A-1", who: str = "alice (uid 1000)") -> Any:
    """A person's answer, with the action rebuilt from the question's own words as the desk does it."""
    body: dict[str, Any] = {"what": what, "why": "looked at it"}
    if verb == "approve" and (one := story.agent.state.approvals.all.get(what)):
        params = dict(word.partition("=")[::2] for word in one.order)
        made = Guard if len(one.describe) == 2 else Shut
        body["action"] = from_text(made, params)
    story.tell(Asked(verb, body, who))
    return story.replies[-1].body if story.replies else {}


def waiting(story: Story) -> list[str]:
    return [one.id for one in story.agent.state.approvals.waiting]


def reload(story: Story, *fresh: Policy) -> None:
    story.agent.policies = {one.name: one for one in fresh}


# A yes --------------------------------------------------------------------------------------------------------------------


def test_a_yes_to_a_step_of_the_overflow_does_that_and_none_of_the_other_steps() -> None:
    step = Step(Shut, {"ip": address("198.51.100.0/24"), "ttl": Ttl.read("10m")}, asks=True)
    story = Story(limited(3, overflow=(step,)))
    flood(story, 10)

    said = answer(story)

    assert said["result"] == "in_force"
    assert "198.51.100.0/24" in story.gate.shut
    assert story.said("refused") == []
    assert waiting(story) == []


def test_a_yes_to_a_step_that_was_put_off_does_that_step_alone() -> None:
    story = Story(policy(then=[guard(hard=True, after=timedelta(minutes=5))]))
    story.logins(3)
    story.pass_by(290)
    story.logins(10)
    story.pass_by(20)
    assert waiting(story) == ["A-1"]

    said = answer(story)

    assert said["result"] == "in_force"


def test_a_yes_does_not_do_again_what_was_done_while_it_was_waited_for() -> None:
    story = Story(policy(then=[guard(hard=True, on_error="continue"), BELL]))
    story.logins(3)
    rung = list(story.gate.rung)
    story.gate.rung.clear()

    answer(story)

    assert rung == ["203.0.113.1"]
    assert story.gate.rung == ["203.0.113.7"]


def test_two_steps_of_one_finding_that_both_ask_are_two_questions() -> None:
    story = Story(policy(then=[shut(asks=True, on_error="continue"), replace(BELL, asks=True)]))
    story.logins(3)
    asked = waiting(story)
    story.logins(10)

    said = [answer(story, what=one)["result"] for one in asked]

    assert asked == ["A-1", "A-2"]
    assert said == ["in_force", "in_force"]
    assert waiting(story) == []


def test_a_yes_to_a_step_whose_policy_has_other_steps_now_is_void() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.logins(3)
    slower = Step(Narrow, {"ttl": Ttl.read("1h"), "rps": 5}, {"ip": "src.ip"})
    reload(story, policy(then=[slower, guard(hard=True)]))

    said = answer(story)

    assert said["result"] == "refused"
    assert "its policy has changed" in said["because"]
    assert not story.gate.shut


def test_while_one_of_two_questions_waits_nothing_is_contained() -> None:
    story = Story(policy(then=[shut(asks=True, on_error="continue"), replace(BELL, asks=True)]))
    story.logins(3)

    answer(story, what="A-1")
    half = story.agent.state.incidents["INC-1"].phase
    answer(story, what="A-2")

    assert (half, story.agent.state.incidents["INC-1"].phase) == ("open", "contained")


def test_an_incident_that_waits_for_a_person_is_not_resolved_meanwhile() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.agent.settings = replace(story.settings, approving=Approving(wait=7200.0))
    story.logins(3)

    for _ in range(200):
        story.pass_by(20)
    during = story.agent.state.incidents["INC-1"].phase
    answer(story)

    assert (during, story.agent.state.incidents["INC-1"].phase) == ("open", "contained")


def test_an_incident_that_waits_for_a_person_stays_open_when_its_other_steps_are_over() -> None:
    story = Story(policy(then=[guard(hard=True, on_error="continue"), shut("1m")]))
    story.logins(3)
    story.pass_by(120)
    during = story.agent.state.incidents["INC-1"].phase

    answer(story)

    assert (during, story.agent.state.incidents["INC-1"].phase) == ("open", "contained")


def test_a_rung_that_goes_up_again_asks_again_and_its_yes_is_done() -> None:
    recover = Recover(release=Ladder(observe=timedelta(minutes=10)))
    story = Story(policy(then=[shut("1m", asks=True)], recover=recover))
    story.logins(3)
    answer(story)
    story.pass_by(100)
    story.logins(3)

    said = answer(story, what="A-2")

    assert said["result"] == "in_force"
    assert story.gate.shut


def test_what_is_in_force_already_when_the_yes_comes_is_no_question_any_more() -> None:
    story = Story(policy(then=[shut(asks=True)]))
    story.logins(3)
    story.ask("do", action=Shut(address("203.0.113.7"), Ttl.read("2h")), why="me first")

    said = answer(story)

    assert said["result"] == "nothing"
    assert waiting(story) == []


def test_a_yes_of_which_nothing_came_before_a_crash_can_be_said_again_by_the_same_person() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.logins(3)
    story.dead = True
    answer(story)
    story.die_and_start_again()

    said = answer(story)

    assert said["result"] == "in_force"


def test_whatever_record_a_crash_comes_after_the_steps_behind_a_yes_are_done_all_the_same() -> None:
    whole = Story(policy(then=[guard(hard=True), BELL]))
    whole.logins(3)
    answer(whole)
    yes = next(at for at, (_, one) in enumerate(whole.records) if one.kind == "approved")

    for crash in range(yes + 1, len(whole.records)):
        story = Story(policy(then=[guard(hard=True), BELL]))
        story.records, story.gate = whole.records[:crash], whole.gate
        story.systems = {"gate": story.gate}
        story.gate.shut.clear()
        story.gate.rung.clear()
        if any(one.kind == "in_force" for _, one in story.records):
            story.gate.shut["203.0.113.7"] = None
        story.now = whole.now
        story.die_and_start_again()
        story.pass_by(1)
        for one in waiting(story):
            answer(story, what=one)

        assert "203.0.113.1" in story.gate.shut, story.kinds()


def test_a_persons_reason_stands_by_what_was_done_when_another_has_said_yes() -> None:
    story = Story()
    story.agent.settings = replace(story.settings, approving=Approving(people=2))
    act = Guard(address("203.0.113.7"), Ttl.read("1h"), hard=True)
    story.tell(Asked("do", {"action": act, "why": "they are in", "sure": True}, "alice (uid 1000)"))

    answer(story, who="bob (uid 1001)")

    assert story.said("intent")[0].body["because"] == "they are in"


def test_two_people_who_say_yes_at_once_have_it_done_once() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.logins(3)
    story.dead = True
    answer(story, who="alice (uid 1)")
    said = answer(story, who="bob (uid 2)")

    assert said["result"] == "failed"
    assert "moment" in said["error"]
    assert story.kinds().count("approved") == 1


def test_under_a_forced_dry_run_the_yes_to_a_persons_order_does_nothing() -> None:
    story = Story()
    story.agent.settings = replace(story.settings, approving=Approving(people=2))
    act = Guard(address("203.0.113.7"), Ttl.read("1h"), hard=True)
    story.tell(Asked("do", {"action": act, "why": "they are in", "sure": True}, "alice (uid 1000)"))
    story.settings = replace(story.agent.settings, forced="dry_run")
    story.die_and_start_again()

    said = answer(story, who="bob (uid 1001)")

    assert said["result"] == "would"
    assert not story.gate.shut


def test_a_no_to_what_is_above_a_rate_is_a_no_for_all_that_follow() -> None:
    story = Story(limited(50, above=Rate(3, timedelta(minutes=10))))
    flood(story, 5)

    answer(story, "deny")
    flood(story, 20)

    assert story.kinds().count("asked_for") == 1
    assert len(story.gate.shut) == 3


def test_a_yes_counts_also_where_a_person_took_something_down_before() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.logins(3)
    story.ask("do", action=Narrow(address("203.0.113.7"), 5, Ttl.read("1h")), why="a try")
    story.ask("undo", what="203.0.113.7", why="a yes will be better")

    said = answer(story)

    assert said["result"] == "in_force"


def test_nothing_that_needs_a_yes_is_made_longer_without_one() -> None:
    story = Story(policy(then=[guard(hard=True)]), policy("later", least=10, then=[guard("8h", hard=True)]))
    story.logins(3)
    answer(story)
    held = story.agent.state.mitigations
    held["M-1"] = held["M-1"]._replace(confirm=None)
    before = held["M-1"].until

    run = begun(Turn(story.agent, story.now), story.agent.policies["later"], "INC-1", "203.0.113.7", "why")
    longer = Guard(address("203.0.113.7"), Ttl.read("8h"), hard=True)
    story.tell(Planned(run._replace(event=login(), sources=("auth",)), longer))

    assert held["M-1"].until == before


# Who spoke, after a crash ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgeable", [True, False])
def test_a_crash_makes_nobody_forget_that_a_stranger_could_have_written_it(forgeable: bool) -> None:
    story = Story(policy(then=[guard()]))
    story.dead = True
    story.tell(Seen([login(at=story.now)._replace(forgeable=forgeable)] * 3))
    story.records = [one for one in story.records if one[1].kind == "finding"]

    story.die_and_start_again()
    story.pass_by(1)

    assert bool(waiting(story)) is forgeable
    assert bool(story.gate.shut) is not forgeable


# A flood --------------------------------------------------------------------------------------------------------------------


def test_beyond_the_number_in_force_the_overflow_is_done_once_and_not_for_every_target() -> None:
    story = Story(policy("flood", then=[shut()], least=1, guard=Limits(max_active=3, overflow=(BELL,))))

    flood(story, 50)

    assert story.gate.rung == ["203.0.113.1"]
    assert crowd_of(story).severity == "P1"


def test_what_is_done_once_for_all_is_not_done_every_minute() -> None:
    story = Story(limited(3, overflow=(Step(Ring, {"ip": address("203.0.113.1")}),)))
    flood(story, 10)

    story.pass_by(61)
    flood(story, 10, "192.0.2")

    assert len(story.said("done")) == 1


def test_a_flood_that_a_stranger_could_have_written_moves_only_what_is_mild() -> None:
    story = Story(limited(3, overflow=(BELL,)))

    for last in range(1, 20):
        story.tell(Seen([login(f"198.51.100.{last}", story.now)._replace(forgeable=True)]))

    assert story.gate.rung == []
    assert waiting(story) == ["A-1"]


@pytest.mark.parametrize("quiet", ["pause", "dry_run"])
def test_targets_of_a_pause_or_a_dry_run_take_no_room_from_those_after_it(quiet: str) -> None:
    story = Story(limited(3))
    if quiet == "pause":
        story.ask("pause", seconds=60, why="maintenance")
    else:
        story.agent.state.modes["flood"] = "dry_run"
    flood(story, 10)
    story.agent.state.modes.clear()
    story.pass_by(61)

    flood(story, 2, "203.0.113")

    assert list(story.gate.shut) == ["203.0.113.1", "203.0.113.2"]


def test_what_a_dry_run_would_cut_off_takes_nothing_from_the_share() -> None:
    story = busy(100, 0.3)
    story.agent.state.modes["flood"] = "dry_run"
    flood(story, 30, "192.0.2")
    story.agent.state.modes["flood"] = "enforce"
    story.pass_by(61)

    for last in range(40, 70):
        story.tell(Seen([login(f"192.0.2.{last}", story.now)]))

    assert len(story.gate.shut) == 30


def test_whoever_is_let_in_again_is_not_cut_off_any_more() -> None:
    story = busy(100, 0.3)
    flood(story, 30, "192.0.2")
    story.ask("undo", what="all", why="those were ours")

    for last in range(40, 70):
        story.tell(Seen([login(f"192.0.2.{last}", story.now)]))

    assert len(story.gate.shut) == 30


# A no for one policy ---------------------------------------------------------------------------------------------------------


def test_an_undo_of_what_one_policy_did_about_the_host_keeps_no_other_policy_from_acting() -> None:
    clause = Clause((Part("login"),))
    full = Policy("full", "P2", (clause,), (shut(),))
    worse = Policy("worse", "P1", (Clause((Part("burglar"),)),), (replace(BELL, action=Shut),))
    story = Story(full, worse)
    story.tell(Seen([login(at=story.now)]))
    story.ask("undo", what="all", why="that was nothing")

    story.tell(Seen([login(at=story.now)._replace(kind="burglar")]))

    assert list(story.gate.shut) == ["203.0.113.1"]


def test_an_undo_of_one_overflow_keeps_no_other_flood_from_being_answered() -> None:
    wide = Step(Shut, {"ip": address("198.51.100.0/24"), "ttl": Ttl.read("10m")})
    other = Step(Shut, {"ip": address("192.0.2.0/24"), "ttl": Ttl.read("10m")})
    story = Story(limited(3, overflow=(wide,)), replace(limited(3, overflow=(other,)), name="second"))
    flood(story, 10)
    story.ask("undo", what=crowd_of(story).id, why="ours")
    story.pass_by(61)

    flood(story, 10, "203.0.113")

    assert "192.0.2.0/24" in story.gate.shut


def test_what_a_person_took_down_stays_down_whoever_else_would_do_it() -> None:
    by_user = Policy("user", "P2", (Clause((Part("login"),), by=("user",)),), (shut(),))
    story = Story(policy(), by_user)
    story.agent.state.modes["user"] = "off"
    story.logins(3)
    story.ask("undo", what="all", why="ours")
    story.agent.state.modes["user"] = "enforce"

    story.logins(1)

    assert not story.gate.shut


# A reload -------------------------------------------------------------------------------------------------------------------


def test_a_step_that_was_put_off_and_is_in_no_policy_any_more_is_left_out() -> None:
    story = Story(policy(then=[shut("1m"), replace(BELL, after=timedelta(minutes=5))]))
    story.logins(3)
    reload(story, policy(then=[shut("1m")]))

    story.pass_by(299)
    story.logins(10)

    assert story.gate.rung == []
    assert "its policy has changed" in story.said("skipped")[0].body["because"]


def test_a_finding_whose_policy_has_no_steps_any_more_is_no_bug_after_a_crash() -> None:
    story = Story(policy())
    story.dead = True
    story.logins(3)
    story.policies = (Policy("guessing", "P2", story.policies[0].when),)

    story.die_and_start_again()
    story.pass_by(10)

    assert not story.gate.shut


# A shadow ----------------------------------------------------------------------------------------------------------------------


def blocked(*policies: Policy) -> Story:
    story = Story(*policies)
    block = ACTIONS["block_ip"](ip=address("203.0.113.7"), ttl=Ttl.read("1h"))
    hold(story, block, apply=story.gate.close(ip=address("203.0.113.7"), ttl=None))
    return story


def seen(story: Story, kind: str, times: int = 1) -> None:
    story.tell(Seen([Event(kind, story.now, {"src.ip": "203.0.113.7"}, "auth")] * times))


def listens(kind: str) -> Policy:
    return Policy("listens", "P1", (Clause((Part(kind),), by=("src.ip",)),))


def test_a_login_that_succeeded_just_before_the_block_is_an_alarm() -> None:
    story = blocked(listens("auth.ssh.success"))

    seen(story, "auth.ssh.success")

    assert story.agent.state.incidents


def test_what_still_comes_minutes_after_the_block_is_not_kept_out_by_it() -> None:
    story = blocked(listens("auth.ssh.failure"))
    seen(story, "auth.ssh.failure")
    at_once = dict(story.agent.state.incidents)

    story.pass_by(121)
    seen(story, "auth.ssh.failure")

    assert not at_once
    assert story.agent.state.incidents


def test_a_block_that_lacks_something_hides_nothing() -> None:
    story = blocked(listens("auth.ssh.failure"))
    held = story.agent.state.mitigations
    held["M-1"] = held["M-1"]._replace(short="what goes to containers")

    seen(story, "auth.ssh.failure")

    assert story.agent.state.incidents


def test_a_service_that_is_still_being_stopped_is_not_taken_for_one_that_failed() -> None:
    story = Story(watching_checks())
    story.dead = True
    order = Run("alice", "why", since=story.now, asked=Asked("do", {"sure": True}, "alice"))
    gate, ip = story.gate, address("192.0.2.1")
    change = Change("stop it", gate.close(ip=ip, ttl=None), gate.open(ip=ip), gate.holds(ip=ip), (), ("unit shop.service",))
    story.tell(Planned(order, stopped(), (change,)))
    down = check_of(story, "shop", "unit shop.service")

    ask_checks(story, down)
    during = dict(story.agent.state.incidents)
    story.tell(Applied(order, (Outcome("M-1", "failed", "it cannot be stopped"),)))
    ask_checks(story, down)

    assert not during
    assert story.agent.state.incidents


def test_ten_thousand_blocks_are_not_asked_one_by_one_whether_they_mute_an_event() -> None:
    story = blocked()

    assert story.agent.state.shadows.cast == {}
