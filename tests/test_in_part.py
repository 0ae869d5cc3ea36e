"""Changes that are neither whole nor nothing: in part, under way, done once, waiting for a yes. Stories in virtual time."""

from __future__ import annotations

import queue
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from agent import dispatch, execute, snapshot, state
from agent.action import Change, System, action, call, slow
from agent.evidence.leaf import write_plain
from agent.evidence.redact import Redactor
from agent.fold import fold
from agent.messages import (
    Applied,
    Apply,
    Asked,
    Disturbed,
    Effect,
    Heal,
    Lift,
    Lifted,
    Message,
    Outcome,
    Plan,
    Planned,
    Release,
    Run,
    Tick,
    Verified,
)
from agent.policy import Limits, Rate, Step
from agent.schema import Address, Ttl, address
from agent.turn import looks
from agent.workers import Job, Lanes
from tests.stories import Gate, Guard, Shut, Story, guard, policy, shut


@action(impact="mild")
class Ring:
    """Ring the bell, once."""

    ip: Address

    def plan(self, gate: Gate) -> list[Change]:
        return [Change("ring the bell", gate.ring(ip=self.ip), None, gate.rang(ip=self.ip))]


RING = Step(Ring, {}, {"ip": "src.ip"})


def shut_by_hand(story: Story, *last: int, ttl: str = "1h") -> Any:
    for one in last:
        answer = story.ask("do", action=Shut(ip=address(f"203.0.113.{one}"), ttl=Ttl.read(ttl)), why="an attack")
    return answer


def order(story: Story, ip: str = "203.0.113.7", **body: Any) -> Any:
    action = Guard(ip=address(ip), ttl=Ttl.read("1h"), hard=bool(body.pop("hard", False)))
    return story.ask("do", action=action, why="an attack", **body)


def test_what_holds_in_part_is_told_kept_and_not_called_contained() -> None:
    story = Story()
    story.gate.broken = "jams"

    story.logins(3)

    (held,) = story.agent.state.in_force()
    assert held.short == "a hand's breadth is open"
    assert story.agent.state.incidents["INC-1"].phase == "open"
    assert "not_verified" not in story.kinds()


def test_what_holds_in_part_is_tried_again_at_each_sweep_and_told_once() -> None:
    story = Story()
    story.gate.broken = "jams"
    story.logins(3)

    for _ in range(10):
        story.pass_by(30.0)

    assert 5 <= story.gate.closings <= 6
    assert story.kinds().count("partly") == 1
    assert "drifted" not in story.kinds()


def test_looking_often_does_not_mean_trying_often() -> None:
    story = Story()
    story.gate.broken = "jams"
    story.logins(3)
    before = story.gate.closings

    for _ in range(20):
        story.pass_by(0.3)
        story.tell(Disturbed("gate", "somebody"))

    assert story.gate.closings <= before + 1


def test_a_part_that_becomes_whole_contains_the_incident() -> None:
    story = Story()
    story.gate.broken = "jams"
    story.logins(3)

    story.gate.broken = ""
    story.pass_by(70.0)

    assert story.agent.state.in_force()[0].short == ""
    assert story.agent.state.incidents["INC-1"].phase == "contained"


def test_a_part_ends_in_time_like_a_whole_one() -> None:
    story = Story()
    story.gate.broken = "jams"
    story.logins(3)

    story.pass_by(3600.0)

    assert story.gate.shut == {}
    assert story.said("lifted")


def test_a_crash_that_leaves_a_part_behind_leaves_a_mitigation_with_an_end() -> None:
    story = Story()
    story.dead = True
    story.logins(3)
    story.dead = False
    order(story, "203.0.113.8")
    story.gate.broken = "jams"

    story.die_and_start_again()
    story.pass_by(3700.0)

    assert story.gate.shut == {}
    assert not [one for one in story.agent.state.mitigations.values() if one.active]


def test_what_is_under_way_is_neither_failed_nor_in_force_until_the_system_says_so() -> None:
    story = Story()
    story.gate.broken = "is slow"
    story.logins(3)
    (open_one,) = story.agent.state.mitigations.values()
    waiting = (open_one.stage, story.agent.under_way[open_one.id])

    story.gate.broken = ""
    story.pass_by(6.0)

    assert waiting == ("applying", "half of it is closed")
    assert [one.stage for one in story.agent.state.mitigations.values()] == ["in_force"]
    assert story.agent.state.incidents["INC-1"].phase == "contained"
    assert story.agent.under_way == {}


def test_what_cannot_be_taken_back_is_done_and_nothing_of_it_stays_in_force() -> None:
    story = Story(policy(then=[guard()]))

    story.logins(3)

    stages = {one.change.describe: one.stage for one in story.agent.state.mitigations.values()}
    assert stages == {"close the gate to 203.0.113.7": "in_force", "ring the bell": "done"}
    assert story.said("done")
    assert story.agent.state.incidents["INC-1"].phase == "contained"


def test_a_crash_between_intent_and_outcome_of_what_is_done_once_is_settled_by_the_system() -> None:
    story = Story(policy(then=[guard()]))
    story.dead = True
    story.logins(3)
    story.dead = False
    story.die_and_start_again()
    story.pass_by(1.0)
    records = len(story.records)

    story.die_and_start_again()
    story.pass_by(61.0)

    assert story.gate.rung == ["203.0.113.7"]
    assert [one for one in story.kinds()[records:] if one in ("done", "recovered", "failed")] == []


def test_evidence_is_taken_before_the_act_and_recorded() -> None:
    story = Story(policy(then=[guard()]))
    story.gate.shut["198.51.100.1"] = None

    story.logins(3)

    (captured,) = story.said("captured")
    assert captured.body["files"] == [{"call": "gate.look()", "value": ["198.51.100.1"]}]
    assert story.kinds().index("captured") < story.kinds().index("in_force")


def test_a_plan_of_several_changes_counts_once_for_limits() -> None:
    story = Story(policy(then=[guard()]), limits=Limits(Rate(20, timedelta(minutes=10)), 2, None))

    for last in (1, 2, 3):
        story.logins(3, f"203.0.113.{last}")

    assert len(story.said("intent")) == 4
    assert "2 mitigations" in story.said("finding")[-1].body["because"]


def test_a_person_says_yes_to_what_is_destructive_in_so_many_words() -> None:
    story = Story()

    careless = order(story, hard=True)
    sure = order(story, hard=True, sure=True)

    assert careless["result"] == "refused"
    assert sure["result"] == "in_force"


def test_what_a_system_protects_is_refused_and_no_failure() -> None:
    story = Story(policy(then=[guard()]))

    story.logins(3, "203.0.113.99")

    assert story.said("refused")[0].body["because"] == "203.0.113.99 is the gatekeeper's own house"
    assert not story.said("plan_failed")


def test_what_agent_yaml_protects_is_refused_by_its_name() -> None:
    story = Story(policy(then=[guard()]))

    story.logins(3, "192.0.2.5")

    assert story.said("refused")[0].body["because"] == "house 192.0.2.5 is protected in agent.yaml (`house 192.0.2.*`)"


def test_what_somebody_else_took_back_is_told_and_not_put_back() -> None:
    story = Story()
    story.logins(3)
    story.gate.shut.clear()
    story.gate.broken = "is somebody else's"

    story.pass_by(61.0)
    story.logins(3)

    (lifted,) = story.said("lifted")
    assert (lifted.body["because"], lifted.body["how"]) == ("somebody else took it back", "the mayor opened it")
    assert story.gate.shut == {}
    assert story.agent.state.incidents["INC-1"].phase == "open"
    assert "drifted" not in story.kinds()


# Commit-confirm -----------------------------------------------------------------------------------------------------------


def test_what_nobody_confirms_takes_itself_back() -> None:
    story = Story()
    order(story)

    story.pass_by(301.0)

    assert story.gate.shut == {}
    assert story.said("lifting")[0].body["because"] == "nobody confirmed it"


def test_what_a_person_confirms_stays_for_its_whole_time() -> None:
    story = Story()
    order(story)
    story.pass_by(60.0)

    answer = story.ask("confirm", what="M-1", why="all is well")
    told = story.gate.shut["203.0.113.7"]
    story.pass_by(3500.0)
    still = dict(story.gate.shut)
    story.pass_by(101.0)

    assert answer["result"] == "confirmed"
    assert told == 3600.0
    assert still
    assert story.gate.shut == {}


def test_a_confirmation_that_the_system_did_not_take_changes_nothing() -> None:
    story = Story()
    order(story)
    story.gate.broken = "refuses"
    story.gate.shut.clear()

    answer = story.ask("confirm", what="M-1", why="all is well")

    assert answer["result"] == "failed"
    assert story.agent.state.mitigations["M-1"].confirm is not None


def test_a_confirmation_survives_a_restart() -> None:
    story = Story()
    order(story)
    story.ask("confirm", what="M-1", why="all is well")

    story.die_and_start_again()
    story.pass_by(1000.0)

    assert story.gate.shut
    assert story.agent.state.mitigations["M-1"].confirm is None


def test_confirming_twice_or_what_needs_none_says_so() -> None:
    story = Story()
    order(story)
    story.ask("confirm", what="M-1", why="all is well")

    answer = story.ask("confirm", what="M-1", why="again")

    assert answer["result"] == "nothing"


def test_a_snapshot_keeps_what_stands_under_names_that_sound_like_secrets() -> None:
    known = state.State({})
    known.modes["stolen_token"], known.active["stolen_token"] = "dry_run", 2
    known.done["stolen_token"], known.repeats["lock_role svc_token"] = [1.0], (1, 2.0)
    known.undone["svc_token"] = 3.0

    (stored,) = Redactor(b"k" * 32).clean([write_plain(snapshot.snapshot(known), what="a snapshot")])
    read = snapshot.restore(from_json(stored), {})

    names = ("modes", "active", "done", "repeats", "undone")
    assert [getattr(read, one) for one in names] == [getattr(known, one) for one in names]


# Late ------------------------------------------------------------------------------------------------------------------------


class GivenUpOn(Story):
    """Its applies are given up on, as where a system hangs; the threads that do them come back when `let_go` says so."""

    def lane(self, effect: Effect) -> Message | None:
        if not isinstance(effect, Apply):
            return super().lane(effect)
        self.hanging = effect.jobs
        return Applied(effect.run, tuple(Outcome(name, "late", "it did not answer within 10 s") for name, _ in effect.jobs))

    def let_go(self) -> None:
        self.gate.perform([change.apply for _, change in self.hanging])


def test_a_call_that_takes_effect_after_it_was_given_up_on_is_a_mitigation_with_an_end() -> None:
    story = GivenUpOn()
    story.logins(3)
    story.pass_by(20.0)

    story.let_go()
    story.pass_by(6.0)
    held = [one.stage for one in story.agent.state.mitigations.values()]
    story.pass_by(3600.0)

    assert held == ["in_force"]
    assert story.gate.shut == {}


def test_a_call_that_never_takes_effect_has_failed_after_a_minute() -> None:
    story = GivenUpOn()
    story.logins(3)

    for _ in range(14):
        story.pass_by(5.0)

    assert [one.stage for one in story.agent.state.mitigations.values()] == ["failed"]
    assert story.agent.late == {}


# Longer ----------------------------------------------------------------------------------------------------------------------


def test_asking_again_for_longer_makes_it_stay_longer_where_only_the_agent_holds_the_time() -> None:
    story = Story()
    story.ask("do", action=Shut(ip=address("203.0.113.7"), ttl=Ttl.read("10m")), why="an attack")

    answer = story.ask("do", action=Shut(ip=address("203.0.113.7"), ttl=Ttl.read("2h")), why="it goes on")
    story.pass_by(3600.0)
    still = dict(story.gate.shut)
    story.pass_by(3601.0)

    assert (answer["result"], answer["mitigations"]) == ("in_force", ["M-1"])
    assert still
    assert story.gate.shut == {}


def test_asking_again_for_less_changes_nothing() -> None:
    story = Story()
    story.ask("do", action=Shut(ip=address("203.0.113.7"), ttl=Ttl.read("2h")), why="an attack")

    answer = story.ask("do", action=Shut(ip=address("203.0.113.7"), ttl=Ttl.read("10m")), why="again")

    assert answer["result"] == "nothing"
    assert story.agent.state.mitigations["M-1"].left(story.now) == 7200.0


# Several systems ----------------------------------------------------------------------------------------------------------


def test_what_was_made_last_is_taken_down_first() -> None:
    story = Story()
    for last in (1, 2, 3):
        story.ask("do", action=Shut(ip=address(f"203.0.113.{last}"), ttl=Ttl.read("1h")), why="an attack")

    effects = story.order("undo", what="all", why="over")

    (lift,) = (one for one in effects if isinstance(one, Lift))
    assert [name for name, _ in lift.jobs] == ["M-3", "M-2", "M-1"]


def test_each_system_is_asked_by_itself() -> None:
    story = Story()
    order(story)
    one = story.agent.state.in_force()[0]
    elsewhere = one._replace(id="M-9", change=_moved(one.change))

    asked = looks(story.agent, [one, elsewhere], Asked("status", ticket=7))

    assert [[name for name, _ in part.jobs] for part in asked] == [["M-1"], ["M-9"]]
    assert story.agent.gathering[7].out == 2


def _moved(change: Change) -> Change:
    return replace(change, verify=replace(change.verify, system="another"))


# Done once -----------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_taken_back_is_not_done_again_after_a_crash_in_the_middle() -> None:
    story = Story(policy(then=[guard()]))

    def dies_with_the_call(effect: Any) -> Any:
        answer = Story.lane(story, effect)
        return None if isinstance(effect, Apply) else answer

    story.lane = dies_with_the_call  # type: ignore[method-assign]
    story.logins(3, every=0)
    del story.lane
    assert story.gate.rung == ["203.0.113.7"]

    story.die_and_start_again()
    story.pass_by(1.0)
    story.die_and_start_again()
    story.pass_by(1.0)

    assert story.gate.rung == ["203.0.113.7"]


@pytest.mark.parametrize("dies_with", ["the plan", "the call", "nothing"])
def test_what_is_done_once_is_done_once_whenever_the_agent_dies(dies_with: str) -> None:
    story = Story(policy(then=[RING, shut()]))

    def lane(effect: Any) -> Any:
        answer = Story.lane(story, effect)
        dead = isinstance(effect, Plan if dies_with == "the plan" else Apply) and dies_with != "nothing"
        return None if dead else answer

    story.lane = lane  # type: ignore[method-assign]
    story.logins(3)
    del story.lane
    for _ in range(3):
        story.die_and_start_again()
        story.pass_by(1.0)

    assert story.gate.rung == ["203.0.113.7"]
    assert story.gate.shut
    assert story.agent.state.incidents["INC-1"].phase == "contained"
    assert story.agent.state.unanswered == {}


def test_a_step_put_off_that_was_done_once_is_not_done_again_after_a_restart() -> None:
    put_off = replace(RING, after=timedelta(seconds=5))
    story = Story(policy(then=[put_off], guard=Limits(cooldown=timedelta(minutes=5))))
    story.logins(10)
    rung = list(story.gate.rung)

    story.die_and_start_again()
    story.logins(20)

    assert rung == ["203.0.113.7"]
    assert story.gate.rung == rung


def test_a_step_put_off_and_not_done_yet_is_done_after_a_restart() -> None:
    story = Story(policy(then=[replace(RING, after=timedelta(seconds=60))], guard=Limits(cooldown=timedelta(minutes=5))))
    story.logins(3, every=0)
    story.now += 30
    story.die_and_start_again()
    story.logins(3, every=0)

    story.pass_by(31)

    assert story.gate.rung == ["203.0.113.7"]


def test_an_incident_of_things_done_once_is_contained_and_resolves_when_it_is_quiet() -> None:
    story = Story(policy(then=[RING]))
    story.logins(3)
    contained = story.agent.state.incidents["INC-1"].phase

    story.pass_by(1801)

    assert contained == "contained"
    assert story.agent.state.incidents["INC-1"].phase == "resolved"
    assert story.agent.state.active[""] == 0


def test_a_dry_run_of_what_is_done_once_is_not_told_with_every_event() -> None:
    story = Story(policy(then=[RING], mode="dry_run"))

    story.logins(400)

    assert story.kinds() == ["finding", "would"] * 2


def test_a_dry_run_of_what_is_done_once_keeps_to_the_cooldown_there_is() -> None:
    story = Story(policy(then=[RING], mode="dry_run", guard=Limits(cooldown=timedelta(seconds=60))))

    story.logins(130)

    assert story.kinds() == ["finding", "would"] * 3


# Contained -----------------------------------------------------------------------------------------------------------------


def test_nothing_is_contained_while_a_step_is_still_being_planned() -> None:
    story = Story(policy(then=[shut(), guard()]))
    story.gate.broken = "is slow"

    def holds_up_the_second_plan(effect: Any) -> Any:
        return None if isinstance(effect, Plan) and effect.run.at == 1 else Story.lane(story, effect)

    story.lane = holds_up_the_second_plan  # type: ignore[method-assign]
    story.logins(3, every=0)
    story.gate.broken = ""

    story.pass_by(6.0)

    assert story.agent.state.incidents["INC-1"].phase == "open"


def test_a_run_that_is_whole_once_all_its_steps_are_is_contained() -> None:
    story = Story(policy(then=[shut(), RING]))
    story.gate.broken = "is slow"
    story.logins(3, every=0)
    before = story.agent.state.incidents["INC-1"].phase

    story.gate.broken = ""
    story.pass_by(6.0)

    assert before == "open"
    assert story.agent.state.incidents["INC-1"].phase == "contained"


def test_a_part_that_becomes_whole_does_not_contain_where_something_else_failed() -> None:
    story = Story(policy(then=[guard()]))
    story.gate.broken = "jams"

    def no_bell(effect: Any) -> Any:
        answer = Story.lane(story, effect)
        if not isinstance(answer, Applied):
            return answer
        closed, rung = answer.outcomes
        return replace(answer, outcomes=(closed, rung._replace(result="failed", error="the bell is gone")))

    story.lane = no_bell  # type: ignore[method-assign]
    story.logins(3)
    story.gate.broken = ""
    story.pass_by(70.0)

    assert story.agent.state.mitigations["M-1"].short == ""
    assert story.agent.state.incidents["INC-1"].phase == "open"


# Taken down ----------------------------------------------------------------------------------------------------------------


def test_what_is_under_way_for_ever_can_be_undone_by_a_person() -> None:
    story = Story()
    story.gate.broken = "is slow"
    shut_by_hand(story, 7)

    answer = story.ask("undo", what="203.0.113.7", why="the wrong one")
    story.gate.broken = ""
    story.pass_by(11.0)

    assert "it is being changed" not in str(answer)
    assert story.gate.shut == {}
    assert not [one for one in story.agent.state.mitigations.values() if one.active]


def test_what_is_under_way_for_ever_ends_in_time() -> None:
    story = Story()
    story.gate.broken = "is slow"
    shut_by_hand(story, 7)

    story.pass_by(3601.0)

    assert story.gate.shut == {}


def test_undo_takes_back_what_is_under_way() -> None:
    story = Story()
    story.gate.broken = "is slow"
    change = Shut(ip=address("203.0.113.7"), ttl=Ttl.read("1h")).plan(story.gate)[0]
    execute.apply([[("M-1", change)]], story.systems)

    (release,) = execute.undo([("M-1", change)], story.systems)

    assert story.gate.shut == {}
    assert (release.result, release.say) == ("failed", "half of it is closed")


def test_what_would_not_go_and_is_gone_a_moment_later_is_not_put_back() -> None:
    story = Story()
    shut_by_hand(story, 7)
    story.dead = True
    story.order("undo", what="M-1", why="over")
    story.dead = False
    story.tell(Lifted((Release("M-1", "failed", "no answer within 10 s"),), "over"))
    story.gate.shut.clear()  # the lane's thread did it, later

    story.tell(Disturbed("gate", "nft"))

    assert story.gate.shut == {}
    assert "drifted" not in story.kinds()
    assert story.said("lifted")


def test_what_would_not_go_is_not_made_whole_again_while_it_waits_for_the_next_try() -> None:
    story = Story()
    shut_by_hand(story, 7)
    story.dead = True
    story.order("undo", what="M-1", why="over")
    story.dead = False
    story.tell(Lifted((Release("M-1", "failed", "half of it is open"),), "over"))
    story.gate.broken = "jams"
    before = story.gate.closings

    story.tell(Disturbed("gate", "nft"))
    story.gate.broken = ""
    story.pass_by(11.0)

    assert story.gate.closings == before
    assert story.gate.shut == {}


def test_a_lift_that_failed_and_was_extended_is_kept_up_again() -> None:
    story = Story()
    shut_by_hand(story, 7)
    story.gate.broken = "silent"
    story.ask("undo", what="M-1", why="over")
    story.gate.broken = ""
    shut_by_hand(story, 7, ttl="2h")
    story.gate.shut.clear()

    story.pass_by(61.0)

    assert story.gate.shut


def test_the_last_made_goes_first_beyond_the_ninth_too() -> None:
    story = Story()
    shut_by_hand(story, *range(1, 12))
    story.dead = True
    story.now += 3600

    effects = story.tell(Tick())

    (lift,) = (one for one in effects if isinstance(one, Lift))
    assert [name for name, _ in lift.jobs] == [f"M-{number}" for number in range(11, 0, -1)]


def test_lifts_that_a_crash_interrupted_go_on_together_and_the_last_made_goes_first() -> None:
    story = Story()
    shut_by_hand(story, 1, 2, 3)
    story.dead = True
    story.order("undo", what="all", why="over")
    seen: list[Any] = []

    def watched(effect: Any) -> Any:
        seen.append(effect)
        return Story.lane(story, effect)

    story.lane = watched  # type: ignore[method-assign]
    story.die_and_start_again()

    (lift,) = (one for one in seen if isinstance(one, Lift))
    assert [name for name, _ in lift.jobs] == ["M-3", "M-2", "M-1"]
    assert story.gate.shut == {}


# Healed --------------------------------------------------------------------------------------------------------------------


def test_healing_several_at_once_is_no_bug() -> None:
    story = Story()
    shut_by_hand(story, 1, 2, 3)
    story.gate.shut.clear()

    story.tell(Disturbed("gate", "nft"))

    assert len(story.gate.shut) == 3


def test_whoever_confirms_what_has_ended_meanwhile_gets_an_answer() -> None:
    story = Story()
    order(story)
    story.dead = True
    (heal,) = (one for one in story.order("confirm", what="M-1", why="fine") if isinstance(one, Heal))
    story.dead = False
    story.tell(Lifted((Release("M-1", "lifted"),), "late"))

    story.tell(story.lane(heal))  # type: ignore[arg-type]

    assert story.replies[-1].body == {"result": "failed", "error": "it has ended meanwhile"}


def test_of_two_that_mean_the_same_only_the_one_that_goes_on_is_tried_again() -> None:
    story = Story()
    story.gate.broken = "jams"
    shut_by_hand(story, 7)
    story.gate.shut.clear()
    story.gate.broken = "is slow"
    shut_by_hand(story, 7, ttl="2h")
    story.gate.broken = "jams"
    story.now += 61

    story.tell(Verified(execute.verify([(one.id, one.change) for one in story.agent.state.mitigations.values()], story.systems)))

    assert [one.id for one in story.agent.state.in_force()] == ["M-2"]
    assert story.agent.busy == set()
    assert "M-1" not in story.agent.tried


def test_an_incident_is_not_contained_by_a_finding_that_has_nothing_to_do_while_a_part_is_missing() -> None:
    story = Story(policy(then=[shut()]))
    story.dead = True
    story.logins(2)
    story.dead = False
    story.gate.broken = "is slow"
    story.logins(1, every=0)

    story.die_and_start_again()
    story.now += 1.0
    story.tell(Tick())

    assert story.said("nothing_to_do")
    assert story.agent.state.incidents["INC-1"].phase == "open"


# Read again ----------------------------------------------------------------------------------------------------------------


def test_snapshot_keeps_what_is_short_unconfirmed_and_done() -> None:
    story = Story(policy(then=[guard()]))
    story.gate.broken = "jams"
    story.logins(3)
    shut_by_hand(story, 9)
    story.ask("do", action=Shut(ip=address("203.0.113.9"), ttl=Ttl.read("2h")), why="longer")
    story.gate.broken = "is slow"
    shut_by_hand(story, 10)
    story.ask("undo", what="203.0.113.10", why="the wrong one")
    live = snapshot.snapshot(story.agent.state)

    replayed = state.State({"gate": Gate})
    for at, record in story.records:
        fold(replayed, record, at)
    restored = snapshot.restore(from_json(to_json(live, timedelta_mode="float")), {"gate": Gate})

    assert snapshot.snapshot(replayed) == live
    assert snapshot.snapshot(restored) == live
    assert replayed.holder == restored.holder == story.agent.state.holder


def test_a_snapshot_of_the_version_before_is_read() -> None:
    story = Story()
    story.logins(3)
    old = from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float"))
    for one in old["mitigations"]:
        for name in ("short", "confirm", "ttl", "part"):
            del one[name]
        del one["change"]["touches"]

    assert snapshot.restore(old, {"gate": Gate}).mitigations == story.agent.state.mitigations


# Deadlines and several systems at once ------------------------------------------------------------------------------------


def test_an_order_to_several_systems_is_answered_once_when_all_have_spoken() -> None:
    story = Story()
    shut_by_hand(story, 1, 2)
    there = story.agent.state.mitigations["M-2"]
    story.agent.state.mitigations["M-2"] = there._replace(change=_moved(there.change))
    story.dead = True
    lifts = [one for one in story.order("undo", what="all", why="over") if isinstance(one, Lift)]
    before = len(story.replies)

    story.tell(Lifted(tuple(Release(name, "failed", "no answer") for name, _ in lifts[0].jobs), "over", lifts[0].asked))
    waiting = len(story.replies)
    story.tell(Lifted(tuple(Release(name, "lifted") for name, _ in lifts[1].jobs), "over", lifts[1].asked))

    assert [name for one in lifts for name, _ in one.jobs] == ["M-2", "M-1"]
    assert (waiting, len(story.replies)) == (before, before + 1)
    assert story.replies[-1].body["result"] == "partly"
    assert story.agent.gathering == {}


class SlowGate(Gate):
    @call
    @slow(30)
    def open(self, ip: Address) -> None:
        self.shut.pop(str(ip), None)


class Noted(Lanes):
    """Lanes that only write down what they are given."""

    def __init__(self) -> None:
        super().__init__(queue.SimpleQueue())
        self.jobs: list[Job] = []

    def start(self, lane: str, job: Job, now: float) -> None:
        self.jobs.append(job)


def test_the_deadline_of_a_lift_allows_for_an_undo_that_is_slow() -> None:
    story, lanes = Story(), Noted()
    shut_by_hand(story, 1, 2)
    story.dead = True
    lifts = story.order("undo", what="all", why="over")

    dispatch.carry_out(lifts, dispatch.Outside({"gate": SlowGate()}, lanes, lambda *_: {}, lambda: None), 0.0)

    assert [job.deadline for job in lanes.jobs] == [dispatch.DEADLINE + 60]


class Valve(System):
    """Shut a little or wholly, until somebody opens it."""

    name = "valve"

    def __init__(self) -> None:
        self.at = ""

    @call
    def turn(self, to: str) -> None:
        self.at = to

    @call
    def back(self) -> None:
        self.at = ""

    @call
    def is_shut(self) -> bool:
        return bool(self.at)


@action(impact="mild")
class Throttle:
    """Turn the valve, unless it is turned as far already."""

    where: str
    ttl: Ttl
    how: str = "soft"

    def plan(self, valve: Valve) -> list[Change]:
        if valve.at in ("hard", self.how):
            return []
        return [Change(f"turn it {self.how}", valve.turn(to=self.how), valve.back(), valve.is_shut())]


@pytest.mark.parametrize(("how", "hours"), [("soft", 1), ("hard", 9)])
def test_asking_for_a_longer_time_lengthens_what_was_asked_for_and_nothing_harder(how: str, hours: int) -> None:
    story, valve = Story(), Valve()
    story.systems["valve"] = valve
    story.agent.state.systems = {"gate": Gate, "valve": Valve}

    def throttle(ttl: str, how: str) -> None:
        wanted = Throttle("main", Ttl.read(ttl), how)
        asked = Run("alice", "an attack", since=story.now)
        story.tell(Planned(asked, wanted, tuple(wanted.plan(valve))))

    throttle("1h", "hard")
    throttle("9h", how)

    (held,) = story.agent.state.in_force()
    assert held.until == story.now + hours * 3600
