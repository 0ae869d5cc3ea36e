"""What waits for a person: asked once, bound to its plan, with an end; and how many sources must speak for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from agent import snapshot
from agent.action import from_text
from agent.event import Event
from agent.messages import Asked, Seen
from agent.policy import Clause, Count, Limits, Part, Policy, Rate, Step
from agent.state import State
from agent.turn import Approving
from tests.stories import T0, Gate, Guard, Story, guard, login, policy, shut


def say(story: Story, verb: str, what: str = "A-1", who: str = "alice (uid 1000)", **body: Any) -> Mapping[str, Any]:
    """An answer of a person, with the action rebuilt from the question's own words as the desk does it."""
    one = story.agent.state.approvals.all.get(what)
    if one and verb == "approve":
        body["action"] = from_text(Guard, dict(word.partition("=")[::2] for word in one.order))
    story.tell(Asked(verb, {"what": what, "why": "looked at it", **body}, who))
    return story.replies[-1].body


def strict(**more: Any) -> Story:
    story = Story(policy(then=[guard(hard=True)]), **more)
    story.logins(3)
    return story


def test_what_is_destructive_is_asked_for_and_nothing_is_done_meanwhile() -> None:
    story = strict()

    (one,) = story.agent.state.approvals.waiting
    assert one.describe == ("close the gate to 203.0.113.7", "ring the bell")
    assert one.until == story.now - 1 + 1800
    assert not story.gate.shut
    assert story.said("intent") == []
    (incident,) = story.agent.state.incidents.values()
    assert incident.phase == "open"
    assert "contain approve A-1" in incident.told[-1]


def test_a_finding_that_comes_again_does_not_ask_again() -> None:
    story = strict()

    story.logins(50)

    assert len(story.said("asked_for")) == 1
    assert story.kinds().count("finding") == 1


def test_a_yes_has_it_done_and_contains_the_incident() -> None:
    story = strict()

    answer = say(story, "approve")

    assert answer["result"] == "in_force"
    assert story.gate.shut
    assert [one.phase for one in story.agent.state.incidents.values()] == ["contained"]
    assert story.said("approved")[0].body["actor"] == "alice (uid 1000)"
    assert story.agent.state.approvals.waiting == []


def test_the_steps_behind_go_on_after_the_yes() -> None:
    story = Story(policy(then=[guard(hard=True), shut()]))
    story.logins(3)

    say(story, "approve")

    assert [one.body["action"] for one in story.said("nothing_to_do")] == ["stories"]  # the gate is closed already, by the first


def test_a_no_ends_it_and_policies_leave_the_target_alone_for_a_while() -> None:
    story = strict()

    say(story, "deny", why="our own test")
    story.logins(20)

    assert len(story.said("asked_for")) == 1
    assert not story.gate.shut
    assert "alice (uid 1000) said no: our own test" in story.agent.state.incidents["INC-1"].told[-1]


def test_nobodys_answer_in_time_means_no() -> None:
    story = strict()

    story.pass_by(1801)
    answer = say(story, "approve")

    assert answer["result"] == "nothing"
    assert "nobody said yes in time" in answer["because"]
    assert not story.gate.shut


def test_a_yes_to_a_plan_that_has_changed_since_is_void_and_asked_for_again() -> None:
    story = strict()
    first = story.agent.state.approvals.all["A-1"]._replace(plan="what it would have done then")
    story.agent.state.approvals.all["A-1"] = first

    answer = say(story, "approve")

    assert answer["result"] == "waits"
    assert answer["approval"] == "A-2"
    assert answer["plan"] != first.plan
    assert not story.gate.shut
    assert "the yes was to something else" in story.said("approval_over")[0].body["because"]


def test_a_yes_to_another_plan_than_the_one_that_waits_is_refused() -> None:
    story = strict()

    answer = say(story, "approve", plan="0123456789abcdef")

    assert answer["result"] == "refused"
    assert not story.gate.shut


def test_two_people_mean_two_people_however_they_log_in() -> None:
    story = strict()
    story.settings = story.agent.settings = replace(story.settings, approving=Approving(people=2))
    story.agent.state.approvals.all["A-1"] = story.agent.state.approvals.all["A-1"]._replace(needs=2)

    one = say(story, "approve", who="alice (uid 1000)")
    same = say(story, "approve", who="alice (uid 0)")
    two = say(story, "approve", who="bob (uid 1001)")

    assert "1 more person must say yes" in one["because"]
    assert "another person must" in same["because"]
    assert two["result"] == "in_force"


def test_where_two_must_agree_a_persons_own_order_is_the_first_yes() -> None:
    story = Story()
    story.settings = story.agent.settings = replace(story.settings, approving=Approving(people=2))
    act = from_text(Guard, {"ip": "203.0.113.7", "ttl": "1h", "hard": "true"})
    story.tell(Asked("do", {"action": act, "why": "they are in", "sure": True}, "alice (uid 1000)"))

    mine = say(story, "approve", who="alice (uid 1000)")
    theirs = say(story, "approve", who="bob (uid 1001)")

    assert "another person must" in mine["because"]
    assert theirs["result"] == "in_force"
    assert story.said("intent")[0].body["actor"] == "alice (uid 1000)"


def test_only_those_whom_agent_yaml_names_can_approve() -> None:
    story = strict()
    story.agent.settings = replace(story.settings, approving=Approving(by=("bob",)))

    refused = say(story, "approve", who="alice (uid 1000)")
    done = say(story, "approve", who="bob (uid 1001)")

    assert "alice (uid 1000) may not approve" in refused["because"]
    assert done["result"] == "in_force"


def test_after_a_crash_it_still_waits_and_the_yes_still_counts() -> None:
    story = strict()
    story.die_and_start_again()
    story.pass_by(10)

    answer = say(story, "approve")

    assert len(story.said("asked_for")) == 1
    assert answer["result"] == "in_force"
    assert [one.phase for one in story.agent.state.incidents.values()] == ["contained"]


def test_a_snapshot_keeps_what_waits() -> None:
    story = strict()

    plain = from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float"))
    read = snapshot.restore(plain, {"gate": Gate})

    assert isinstance(read, State)
    assert snapshot.snapshot(read) == snapshot.snapshot(story.agent.state)
    assert [one.id for one in read.approvals.waiting] == ["A-1"]


def test_a_step_that_wants_a_yes_waits_however_mild_it_is() -> None:
    story = Story(policy(then=[shut(asks=True)]))

    story.logins(3)

    assert [one.because for one in story.agent.state.approvals.waiting] == ["the policy wants a person's yes for stories"]


def test_what_a_yes_allows_is_still_stopped_by_a_life_line() -> None:
    story = strict()
    story.agent.lifelines = Story(never=["203.0.113.7"]).lifelines

    answer = say(story, "approve")

    assert answer["result"] == "refused"
    assert not story.gate.shut


def test_a_policy_that_is_gone_takes_its_question_with_it() -> None:
    story = strict()
    story.agent.policies = {}

    answer = say(story, "approve")

    assert answer["result"] == "nothing"
    assert "its policy has changed since, is gone or off" in answer["because"]
    assert story.agent.state.approvals.waiting == []


def test_a_policy_that_was_changed_takes_its_question_with_it_without_anybodys_doing() -> None:
    story = strict()
    story.agent.policies = {"guessing": replace(story.agent.policies["guessing"], digest="another text")}

    story.pass_by(5)

    assert story.agent.state.approvals.waiting == []
    assert not story.gate.shut


def test_steps_that_do_not_need_each_other_go_on_while_one_waits() -> None:
    story = Story(policy(then=[guard(hard=True, on_error="continue"), shut()]))

    story.logins(3)

    assert story.gate.shut
    assert [one.id for one in story.agent.state.approvals.waiting] == ["A-1"]
    assert [one.phase for one in story.agent.state.incidents.values()] == ["open"]


# How many must speak for it -------------------------------------------------------------------------------------------------


def seen_by(*sources: str, forgeable: bool = False) -> list[Event]:
    return [login(at=T0)._replace(source=source, forgeable=forgeable) for source in sources]


@pytest.mark.parametrize(
    ("events", "alone"),
    [
        (seen_by("auth", "auth", "auth"), False),
        (seen_by("auth", "falco", "auth"), True),
    ],
)
def test_what_is_destructive_acts_alone_only_where_two_sources_speak_for_it(events: list[Event], alone: bool) -> None:
    story = Story(policy(then=[guard(hard=True, unasked=True)]))

    story.tell(Seen(events))

    assert bool(story.gate.shut) is alone
    assert bool(story.agent.state.approvals.waiting) is not alone


def test_what_a_stranger_could_have_written_moves_only_what_is_mild() -> None:
    mild, firm = Story(policy(then=[shut()])), Story(policy(then=[guard()]))

    for story in (mild, firm):
        story.tell(Seen(seen_by("auth", "auth", "auth", forgeable=True)))

    assert mild.gate.shut
    assert not firm.gate.shut
    assert "a stranger could have written all" in firm.agent.state.approvals.waiting[0].because


def test_one_event_that_cannot_be_forged_is_enough_for_what_is_disruptive() -> None:
    story = Story(policy(then=[guard()]))

    story.tell(Seen([*seen_by("auth", "auth", forgeable=True), *seen_by("kernel")]))

    assert story.gate.shut


def test_in_a_dry_run_nobody_is_asked() -> None:
    story = strict(mode="dry_run")

    assert story.agent.state.approvals.waiting == []
    assert "waits for a person" in story.said("refused")[0].body["because"]


def test_no_more_questions_wait_than_anybody_could_answer() -> None:
    clause = Clause((Part("login", (), Count(1, timedelta(minutes=2))),), by=("src.ip",))
    step = Step(Guard, {"ttl": guard().literal["ttl"], "hard": True}, {"ip": "src.ip"})
    story = Story(Policy("many", "P2", (clause,), (step,), guard=Limits(max=Rate(10_000, timedelta(minutes=10)))))

    for number in range(300):
        story.tell(Seen([login(f"198.51.{number // 250}.{number % 250 + 1}", story.now)]))

    assert len(story.agent.state.approvals.waiting) == 200
    assert "200 questions wait already" in story.said("refused")[-1].body["because"]
