"""What people see as one: who leads, who is told with whom, and what is a new incident behind an old one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic_core import from_json, to_json

from agent import gathering, snapshot
from agent.event import Event
from agent.gathering import Picture
from agent.messages import Seen
from agent.policy import Gathering
from tests.stories import Gate, Story, login, policy

DAY = 86400.0


def guesses(story: Story, *last: int) -> None:
    for number in last:
        story.logins(3, f"203.0.113.{number}")


def seen(story: Story, name: str = "INC-1") -> Picture:
    found = gathering.picture(story.agent.state, name)
    assert found is not None
    return found


def test_the_first_leads_and_those_of_its_policy_are_told_with_it() -> None:
    story = Story()

    guesses(story, 7, 8, 9)

    assert [one.lead for one in story.agent.state.incidents.values()] == ["", "INC-1", "INC-1"]
    assert seen(story, "INC-3") == seen(story)
    assert (seen(story).many, seen(story).phase) == (3, "contained")
    assert seen(story).targets == ("203.0.113.7", "203.0.113.8", "203.0.113.9")


def test_each_keeps_its_own_mitigation_and_end() -> None:
    story = Story()
    guesses(story, 7, 8)

    story.ask("undo", what="INC-1", why="mine")

    assert story.gate.shut.keys() == {"203.0.113.8"}
    assert seen(story).phase == "contained"  # one is resolved, the other one still contained


def test_behind_the_window_another_one_leads() -> None:
    story = Story(policy(gathering=Gathering(window=timedelta(minutes=10))))
    guesses(story, 7)

    story.pass_by(601)
    guesses(story, 8)

    assert story.agent.state.incidents["INC-2"].lead == ""


def test_one_that_goes_on_and_on_is_one_thread_and_not_for_ever() -> None:
    story = Story()

    for number in range(1, 70):
        guesses(story, number)
        story.pass_by(1500)

    leads = [one for one in story.agent.state.incidents.values() if not one.lead]
    assert len(leads) == 2  # 69 × 25 minutes are more than a day


def test_behind_all_that_is_over_another_one_leads() -> None:
    story = Story()
    guesses(story, 7, 8)
    story.ask("undo", what="all", why="a mistake")

    guesses(story, 9)

    assert seen(story).phase == "resolved"
    assert story.agent.state.incidents["INC-3"].lead == ""


def test_alone_means_alone() -> None:
    story = Story(policy(gathering=Gathering(alone=True)))

    guesses(story, 7, 8)

    assert not any(one.lead for one in story.agent.state.incidents.values())


def test_those_of_two_policies_about_the_same_user_are_one_where_both_say_so() -> None:
    by_user = Gathering(by=("user",))
    story = Story(policy("a", gathering=by_user), policy("b", gathering=by_user, least=4))

    story.logins(4)

    assert {one.policy: one.lead for one in story.agent.state.incidents.values()} == {"a": "", "b": "INC-1"}


def test_an_event_without_the_field_is_gathered_by_its_policy() -> None:
    story = Story(policy(gathering=Gathering(by=("service",))))

    guesses(story, 7, 8)

    assert story.agent.state.incidents["INC-2"].lead == "INC-1"


def test_what_a_worse_one_inhibits_is_told_with_it_and_contained_all_the_same() -> None:
    story = Story(policy("worse", gathering=Gathering(inhibits=("lesser",))), policy("lesser", least=4))

    story.logins(4)

    lesser = story.agent.state.incident_for("lesser", "203.0.113.7")
    assert lesser is not None
    assert lesser.lead == "INC-1"
    assert lesser.phase == "contained" or lesser.mitigations == ()


def test_a_lead_is_as_severe_as_the_worst_that_is_told_with_it() -> None:
    by_user = Gathering(by=("user",))
    story = Story(policy("a", gathering=by_user), replace(policy("b", gathering=by_user, least=4), severity="P0"))

    story.logins(4)

    assert story.agent.state.incidents["INC-1"].severity == "P0"


def test_it_began_with_its_first_event_as_the_source_says() -> None:
    story = Story()
    story.logins(2)

    story.tell(Seen([replace_ts(story.now, 50.0)]))

    assert story.agent.state.incidents["INC-1"].began == 50.0


def replace_ts(now: float, ts: float) -> Event:
    return Event("login", now, {"src.ip": "203.0.113.7", "user": "root"}, source="auth", ts=ts)


# Again -----------------------------------------------------------------------------------------------------------------------


def test_what_comes_again_within_a_day_is_the_same_incident_and_nobody_is_on_it_any_more() -> None:
    story = Story()
    guesses(story, 7)
    story.ask("acknowledge", what="INC-1")
    story.ask("undo", what="all", why="a mistake")

    story.pass_by(3600)
    guesses(story, 7)

    one = story.agent.state.incidents["INC-1"]
    assert (one.phase, one.acked, one.findings) == ("contained", None, 2)


def test_what_comes_again_later_is_a_new_one_that_names_the_old_one() -> None:
    story = Story(replace(policy(), severity="P1"))
    guesses(story, 7)
    story.ask("undo", what="all", why="a mistake")

    story.pass_by(DAY + 700)
    guesses(story, 7)

    fresh = story.agent.state.incident_for("guessing", "203.0.113.7")
    assert fresh is not None
    assert (fresh.id, fresh.before) == ("INC-2", "INC-1")
    assert story.agent.state.incidents["INC-1"].phase == "resolved"  # a person closes it


def test_p2_closes_itself_a_day_after_its_end_and_p1_waits_for_a_person() -> None:
    story = Story(policy("minor"), replace(policy("major"), severity="P1"))
    guesses(story, 7)
    story.ask("undo", what="all", why="a mistake")

    for _ in range(3):
        story.pass_by(DAY / 2)

    assert {one.policy: one.phase for one in story.agent.state.incidents.values()} == {"minor": "closed", "major": "resolved"}


# What must not get lost ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["replay", "snapshot"])
def test_a_restart_knows_who_is_told_with_whom(way: str) -> None:
    story = Story()
    guesses(story, 7, 8)
    story.ask("acknowledge", what="INC-2")
    before = seen(story)

    if way == "replay":
        story.die_and_start_again()
    else:
        plain = from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float"))
        story.agent = story.born(snapshot.restore(plain, {"gate": Gate}))
    guesses(story, 9)

    after = seen(story)
    assert after.lead.acked == before.lead.acked is not None
    assert [one.id for one in after.members] == ["INC-2", "INC-3"]


def test_what_a_person_must_still_close_is_not_forgotten_behind_a_thousand_others() -> None:
    story = Story(replace(policy("major"), severity="P1", gathering=Gathering(alone=True)))
    guesses(story, 7)
    story.ask("undo", what="all", why="a mistake")
    story.policies = (policy("minor", gathering=Gathering(alone=True)),)
    story.die_and_start_again()

    for number in range(600):
        story.logins(3, f"198.51.{number // 250}.{number % 250}")
        story.ask("undo", what="all", why="a mistake")

    assert "INC-1" in story.agent.state.incidents
    assert len(story.agent.state.incidents) < 1100


def test_ten_thousand_that_are_told_as_one_do_not_slow_down_the_next() -> None:
    story = Story(policy(least=1))
    state = story.agent.state

    story.tell(Seen([login(f"198.18.{number // 250}.{number % 250}") for number in range(10_000)]))

    assert state.incidents["INC-1"].joined == 9_999
    assert len(state.gathered["INC-1"]) == 9_999
