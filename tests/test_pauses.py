"""Pauses and maintenance windows as stories: who does not act, until when, and what was not done meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic_core import from_json, to_json

from agent import rounds, snapshot
from agent.fold import fold
from agent.messages import Apply, Disturbed, Effect, Learnt, Message, Plan, Seen, Started, Tick
from agent.people.approvals import plan_hash
from agent.people.maintenance import Window
from agent.policy import Limits
from agent.say import sentence
from agent.schema import Ttl, address
from agent.state import State
from tests.stories import T0, Gate, Guard, Shut, Story, guard, login, policy, shut

BERLIN = ZoneInfo("Europe/Berlin")


def paused(seconds: float = 600, **more: Any) -> Story:
    """A story in which alice has just paused policies."""
    story = Story(*more.pop("policies_of", ()))
    story.ask("pause", seconds=seconds, why="deploy", **more)
    return story


def answers(story: Story, effects: Sequence[Effect], kind: type[Effect]) -> list[Message]:
    """What the lanes say to effects of a kind, without the agent hearing of it yet."""
    return [answer for one in effects if isinstance(one, kind) and (answer := story.lane(one))]


def resumed(story: Story) -> str:
    return sentence(story.said("resumed")[-1])


# A shadow run -----------------------------------------------------------------------------------------------------------------


def test_what_would_have_been_done_in_a_pause_is_recorded_and_told_at_its_end() -> None:
    story = paused(1800)
    story.logins(3)
    story.logins(3, "203.0.113.8")

    story.pass_by(1800)

    assert not story.gate.closings
    assert [one.body["pauses"] for one in story.said("would")] == [["P-1"], ["P-1"]]
    assert resumed(story) == (
        "the pause of 30 min is over: 2 actions were not done: stories 203.0.113.7 (guessing), stories 203.0.113.8 (guessing)"
        " (P-1, agent: its time was over)"
    )


def test_whoever_ends_a_pause_hears_what_was_not_done() -> None:
    story = paused()
    story.logins(3)

    answer = story.ask("resume")

    (ended,) = answer["ended"]
    assert ended["say"] == "the pause of 3 s is over: 1 action was not done: stories 203.0.113.7 (guessing)"
    assert [(one["policy"], one["target"]) for one in ended["latest"]] == [("guessing", "203.0.113.7")]
    assert answer["left"] == []


@pytest.mark.parametrize("ends", ["by a person", "by its time"])
def test_what_still_goes_on_after_a_pause_is_acted_on_at_once_whatever_the_cooldown(ends: str) -> None:
    story = Story(limits=Limits(cooldown=timedelta(hours=1)))
    story.ask("pause", seconds=10, why="deploy")
    story.logins(5)
    if ends == "by a person":
        story.ask("resume")
    else:
        story.pass_by(6)

    story.tell(Seen([login(at=story.now)]))

    assert story.gate.shut
    assert story.agent.state.would == {}


def test_a_cooldown_of_before_the_pause_still_counts_after_it() -> None:
    story = Story(limits=Limits(cooldown=timedelta(hours=1)), never=["203.0.113.7"])
    story.logins(3)
    story.pass_by(5)
    story.ask("pause", seconds=10, why="deploy")
    story.pass_by(11)

    story.logins(3)

    assert story.kinds().count("finding") == story.kinds().count("refused") == 1


def test_one_who_goes_on_all_through_a_pause_is_counted_once() -> None:
    story = paused()

    story.logins(30)

    assert len(story.said("would")) == 1
    assert story.ask("resume")["ended"][0]["missed"] == 1


def test_of_many_actions_not_done_the_latest_twenty_are_named_and_all_are_counted_by_policy() -> None:
    story = paused(policies_of=(policy("guessing", least=1), policy("spraying", least=1)))
    for last in range(1, 31):
        story.tell(Seen([login(f"203.0.113.{last}", story.now)]))

    (ended,) = story.ask("resume")["ended"]

    assert ended["missed"] == 60
    assert ended["by_policy"] == [["guessing", 30], ["spraying", 30]]
    assert len(ended["latest"]) == 20
    assert ended["say"].endswith(" and 55 more")


def test_the_guard_judges_in_a_pause_as_in_a_dry_run() -> None:
    story = Story(never=["203.0.113.7"])
    story.ask("pause", seconds=600, why="deploy")

    story.logins(3)

    assert "never touched" in story.said("refused")[0].body["because"]
    assert story.ask("resume")["ended"][0]["say"] == "the pause of 3 s is over: no policy would have acted"


def test_what_a_policy_in_dry_run_would_do_is_not_the_pauses_doing() -> None:
    story = paused(policies_of=(policy(mode="dry_run"),))

    story.logins(3)

    assert "pauses" not in story.said("would")[0].body
    assert story.ask("resume")["ended"][0]["missed"] == 0


def test_people_and_ends_and_healing_go_on_in_a_pause() -> None:
    story = Story(policy(then=[shut("10m")]))
    story.logins(3)
    story.ask("pause", seconds=3600, why="deploy")
    story.gate.shut.clear()
    story.tell(Disturbed("gate", "nft"))
    story.pass_by(2)
    assert story.gate.shut

    story.ask("do", action=Shut(address("203.0.113.8"), Ttl.read("1h")), why="mine")
    assert "203.0.113.8" in story.gate.shut
    story.ask("undo", what="203.0.113.8", why="mine")
    story.pass_by(600)

    assert not story.gate.shut
    assert story.kinds().count("lifted") == 2


def test_a_persons_yes_to_what_waits_is_carried_out_in_a_pause() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.logins(3)
    (one,) = story.agent.state.approvals.waiting
    action = Guard(address("203.0.113.7"), Ttl.read("1h"), hard=True)
    story.ask("pause", seconds=600, why="deploy")

    story.ask("approve", what=one.id, why="yes", action=action)

    assert one.plan == plan_hash(action.plan(Gate()))
    assert story.gate.shut


# Steps and runs across its edges ----------------------------------------------------------------------------------------------


def test_a_longer_time_that_was_planned_before_a_pause_is_not_given_in_it() -> None:
    story = Story(policy("short", then=[shut("10m")]), policy("long", then=[shut("5h")], least=4))
    story.logins(3)
    story.dead = True
    (planned,) = answers(story, story.tell(Seen([login(at=story.now)])), Plan)
    story.ask("pause", seconds=600, why="deploy")

    story.tell(planned)

    assert "extended" not in story.kinds()
    assert story.agent.state.mitigations["M-1"].until == T0 + 2 + 600


def test_a_step_put_off_whose_time_comes_in_a_pause_is_not_done() -> None:
    story = Story(policy(then=[shut("10s"), guard(after=timedelta(minutes=1))]))
    story.logins(4)
    story.ask("pause", seconds=3600, why="deploy")

    story.pass_by(60)

    assert story.gate.rung == []
    assert [one.body["action"] for one in story.said("would")] == ["stories", "stories"]
    assert story.ask("resume")["ended"][0]["missed"] == 1


def test_after_a_pause_the_steps_begin_anew_instead_of_where_the_shadow_run_stood() -> None:
    story = Story(policy(then=[shut(), guard(after=timedelta(minutes=1))]))
    story.ask("pause", seconds=30, why="deploy")
    story.logins(4)
    story.pass_by(30)
    story.logins(1)
    assert story.gate.closings == 1

    story.pass_by(40)

    assert story.gate.rung == []
    assert [one.body["pauses"] for one in story.said("would")] == [["P-1"]] * 3
    assert story.agent.state.pauses.over[-1].missed == 2
    assert story.agent.state.would == {}


def test_a_run_that_was_being_applied_when_the_pause_came_is_finished_and_its_next_step_is_not_done() -> None:
    story = Story(policy(then=[shut(), guard()]))
    story.dead = True
    for _ in range(3):
        effects = story.tell(Seen([login()]))
    (planned,) = answers(story, effects, Plan)
    (applied,) = answers(story, story.tell(planned), Apply)
    story.ask("pause", seconds=600, why="deploy")
    (planned,) = answers(story, story.tell(applied), Plan)
    story.tell(planned)

    assert [one.id for one in story.agent.state.in_force()] == ["M-1"]
    assert story.gate.rung == []


# Which, how many, from when ---------------------------------------------------------------------------------------------------


def test_a_pause_of_one_policy_leaves_the_others_acting() -> None:
    story = paused(policies=["spraying"], policies_of=(policy("guessing"), policy("spraying", least=2)))

    story.logins(3)

    assert [one.body["policy"] for one in story.said("would")] == ["spraying"]
    assert [one.policy for one in story.agent.state.in_force()] == ["guessing"]


def test_of_two_pauses_the_other_one_holds_on_and_both_say_what_was_not_done() -> None:
    story = paused(60)
    story.ask("pause", seconds=3600, why="the pentest", policies=["guessing"])
    story.logins(3)
    story.pass_by(60)

    story.logins(3)

    assert not story.gate.shut
    assert story.said("would")[0].body["pauses"] == ["P-1", "P-2"]
    assert story.agent.state.pauses.over[-1].missed == story.agent.state.pauses.all["P-2"].missed == 1
    assert len(story.said("would")) == 1


def test_without_a_name_resume_ends_no_one_of_several() -> None:
    story = paused()
    story.ask("pause", seconds=600, why="the pentest")

    unnamed = story.ask("resume")
    named = story.ask("resume", what="P-1")
    everything = story.ask("resume", what="all")

    assert "name one, or: contain resume all" in unnamed["error"]
    assert [one["id"] for one in named["left"]] == ["P-2"]
    assert [one["id"] for one in everything["ended"]] == ["P-2"]
    assert story.ask("resume", what="P-1")["result"] == "nothing"


def test_a_planned_pause_begins_and_ends_in_its_time() -> None:
    story = Story(policy(then=[shut("1s")]))
    story.ask("pause", seconds=600, why="deploy", begins=T0 + 100)
    story.logins(3)
    assert story.gate.closings == 1

    story.pass_by(100)
    story.logins(3)
    assert story.gate.closings == 1
    story.pass_by(600)
    story.logins(3)

    assert story.gate.closings == 2
    assert [one for one in story.kinds() if "pause" in one or one == "resumed"] == ["pause_planned", "paused", "resumed"]


def test_a_planned_pause_can_be_called_off() -> None:
    story = Story()
    story.ask("pause", seconds=600, why="deploy", begins=T0 + 100)
    assert story.ask("resume")["result"] == "nothing"

    answer = story.ask("resume", what="P-1")

    assert answer["ended"][0]["say"].endswith("is called off")
    story.pass_by(101)
    story.logins(3)
    assert story.gate.shut


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"policies": ["gessing"]}, "no policy is called gessing; known: guessing"),
        ({"begins": T0 - 3600}, "begin in the past"),
        ({"begins": T0 + 40 * 86400}, "in more than 30 days"),
    ],
)
def test_a_pause_that_makes_no_sense_is_not_begun(body: dict[str, Any], wanted: str) -> None:
    story = Story()

    answer = story.ask("pause", seconds=600, why="deploy", **body)

    assert wanted in answer["error"]
    assert story.records == []


def test_more_pauses_than_anybody_oversees_are_refused() -> None:
    story = Story()
    for _ in range(100):
        story.ask("pause", seconds=600, why="again")

    assert "100 pauses are on or planned" in story.ask("pause", seconds=600, why="again")["error"]


def test_the_loop_wakes_when_a_pause_begins_and_ends() -> None:
    story = Story()
    story.tell(Tick())
    story.ask("pause", seconds=2, why="deploy", begins=T0 + 1)

    assert rounds.next_due(story.agent, story.now) == T0 + 1
    story.pass_by(1)
    assert rounds.next_due(story.agent, story.now) == T0 + 3


# Crashes and clocks -----------------------------------------------------------------------------------------------------------


def test_a_pause_with_all_it_missed_is_the_same_from_records_and_from_a_snapshot() -> None:
    story = paused(60)
    story.logins(3)
    story.pass_by(60)
    story.ask("pause", seconds=600, why="again", policies=["guessing"])
    story.ask("pause", seconds=600, why="later", begins=story.now + 600)
    story.logins(3)
    story.ask("silence", seconds=600, why="known", target="203.0.113.7")
    live = snapshot.snapshot(story.agent.state)

    replayed = State({"gate": Gate})
    for at, record in story.records:
        fold(replayed, record, at)
    restored = snapshot.restore(from_json(to_json(live, timedelta_mode="float")), {"gate": Gate})

    assert snapshot.snapshot(replayed) == live
    assert snapshot.snapshot(restored) == live
    assert restored.pauses.all == story.agent.state.pauses.all
    assert restored.pauses.over == story.agent.state.pauses.over


@pytest.mark.parametrize("records", range(1, 5))
def test_kill_nine_after_any_record_of_a_shadow_run_lets_nothing_through(records: int) -> None:
    story = paused()
    story.logins(3)
    story.records = story.records[:records]

    story.die_and_start_again()
    story.pass_by(1)
    story.logins(3)

    assert not story.gate.closings
    assert story.ask("resume")["ended"][0]["missed"] == 1


def test_a_finding_of_a_pause_that_ended_while_no_agent_ran_is_not_acted_on_until_it_comes_again() -> None:
    story = paused(60)
    story.dead = True
    for _ in range(3):
        story.tell(Seen([login()]))
    story.now += 3600
    story.die_and_start_again()
    story.pass_by(1)
    assert not story.gate.closings

    story.logins(3)

    assert story.gate.shut


def test_a_step_put_off_before_a_pause_is_done_after_it_whatever_restarts_in_between() -> None:
    story = Story(policy(then=[shut("10s"), guard(after=timedelta(minutes=1))]))
    story.logins(4)
    story.ask("pause", seconds=30, why="deploy")
    story.die_and_start_again()
    story.pass_by(30)
    story.tell(Seen([login(at=story.now)] * 3))

    story.pass_by(60)

    assert story.gate.rung


def test_a_planned_pause_whose_time_passed_while_no_agent_ran_never_begins() -> None:
    story = Story()
    story.ask("pause", seconds=60, why="deploy", begins=T0 + 60)
    story.now += 3600

    story.die_and_start_again()

    assert resumed(story).endswith("is called off (P-1, agent: its time passed while no agent ran)")


@pytest.mark.parametrize("years", [0.001, 1.0])
def test_a_clock_set_back_makes_no_pause_eternal(years: float) -> None:
    story = paused(600)
    story.pass_by(1)
    story.now -= years * 365 * 86400
    story.tell(Tick())

    story.pass_by(601)

    assert not story.agent.state.pauses.all


def test_a_jump_of_the_clock_that_is_known_moves_what_lasts_and_not_what_goes_by_the_clock() -> None:
    story = paused(600)
    story.ask("pause", seconds=60, why="tonight", begins=T0 + 1000)
    book = story.agent.state.pauses

    book.shift(-3600)

    assert (book.all["P-1"].until, book.all["P-2"].since) == (T0 - 3000, T0 + 1000)


# Maintenance windows ------------------------------------------------------------------------------------------------------------


def window(begins: str = "22:30", minutes: int = 60, **more: Any) -> Window:
    hour, _, minute = begins.partition(":")
    return Window("deploy", int(hour) * 60 + int(minute), minutes, why="weekly deploy", **more)


def in_berlin(when: str) -> float:
    return datetime.fromisoformat(when).replace(tzinfo=BERLIN).timestamp()


def maintained(when: str, *windows: Window) -> Story:
    """A story that begins at a moment of Berlin's clock, on a host with these windows."""
    story = Story(policy("guessing"), policy("spraying", least=2))
    story.settings = replace(story.settings, windows=windows, zone=BERLIN)
    story.agent.settings = story.settings
    story.now = in_berlin(when)
    story.tell(Started("test"))
    return story


def test_a_window_opens_and_shuts_by_the_clock_and_says_what_was_not_done() -> None:
    story = maintained("2026-11-24T22:29:50", window(policies=("spraying",)))  # a Tuesday
    story.pass_by(10)
    story.logins(3)

    story.pass_by(3600)

    assert [one.body["policy"] for one in story.said("would")] == ["spraying"]
    assert {one.policy for one in story.agent.state.mitigations.values()} == {"guessing"}
    assert sentence(story.said("paused")[0]).startswith("spraying is paused until 2026-11-24 22:30:00Z (P-1, maintenance deploy")
    assert resumed(story).startswith(
        "the maintenance window deploy is over: 1 action was not done: stories 203.0.113.7 (spraying)"
    )


def test_an_agent_that_starts_inside_a_window_is_paused_before_any_policy_acts() -> None:
    story = maintained("2026-11-24T23:00:00", window())

    story.logins(3)

    assert not story.gate.closings
    assert story.agent.state.pauses.all["P-1"].until == in_berlin("2026-11-24T23:30:00")


def test_kill_nine_inside_a_window_begins_it_no_second_time() -> None:
    story = maintained("2026-11-24T23:00:00", window())

    story.die_and_start_again()
    story.pass_by(1800)

    assert story.kinds().count("paused") == story.kinds().count("resumed") == 1


def test_a_window_that_a_person_ends_stays_shut_until_its_next_time() -> None:
    story = maintained("2026-11-24T23:00:00", window())
    answer = story.ask("resume", what="deploy")
    story.die_and_start_again()
    story.pass_by(60)
    assert [one["id"] for one in answer["ended"]] == ["P-1"]
    assert not story.agent.state.pauses.all

    story.now = in_berlin("2026-11-25T22:30:00")
    story.tell(Tick())

    assert list(story.agent.state.pauses.all) == ["P-2"]


def test_a_window_that_agent_yaml_loses_or_changes_ends_or_begins_anew() -> None:
    story = maintained("2026-11-24T23:00:00", window())
    story.agent.settings = replace(story.settings, windows=(window(minutes=120),))
    story.tell(Learnt(story.agent.lifelines))
    assert rounds.next_due(story.agent, story.now) == story.now
    story.tell(Tick())
    assert story.agent.state.pauses.all["P-2"].until == in_berlin("2026-11-25T00:30:00")

    story.agent.settings = replace(story.settings, windows=(window(minutes=120, policies=("spraying",)),))
    story.tell(Tick())
    assert story.agent.state.pauses.all["P-3"].policies == ("spraying",)

    story.agent.settings = replace(story.settings, windows=())
    story.tell(Tick())

    assert not story.agent.state.pauses.all
    story.agent.settings = story.settings
    story.tell(Tick())
    assert story.agent.state.pauses.all["P-4"].policies == ()


@pytest.mark.parametrize(
    ("begins", "minutes", "days", "when", "wanted"),
    [
        ("22:30", 60, {1, 3}, "2026-11-24T22:30:00", "2026-11-24T23:30:00"),  # the Tuesday
        ("22:30", 60, {1, 3}, "2026-11-24T23:30:00", None),
        ("22:30", 60, {1, 3}, "2026-11-25T22:45:00", None),  # the Wednesday
        ("23:00", 180, {1}, "2026-11-25T01:59:59", "2026-11-25T02:00:00"),  # over midnight: it is Tuesday's
        ("23:00", 180, {1}, "2026-11-24T01:00:00", None),
        ("00:00", 1440, {5}, "2026-11-28T23:59:59", "2026-11-29T00:00:00"),
        ("01:30", 120, range(7), "2026-03-29T01:30:00", "2026-03-29T04:30:00"),  # the clock goes from 2 to 3
        ("02:30", 30, range(7), "2026-03-29T03:30:00", "2026-03-29T04:00:00"),  # its hour is left out
        ("01:30", 120, range(7), "2026-10-25T01:30:00", "2026-10-25T02:30:00+01:00"),  # the clock goes from 3 to 2
        ("02:30", 30, range(7), "2026-10-25T02:45:00+02:00", "2026-10-25T02:00:00+01:00"),  # its hour comes twice: the first
        ("02:30", 30, range(7), "2026-10-25T02:45:00+01:00", None),
    ],
)
def test_a_window_lasts_what_its_hours_say_on_any_day(
    begins: str, minutes: int, days: set[int], when: str, wanted: str | None
) -> None:
    one = window(begins, minutes, days=frozenset(days))
    now, until = (
        in_berlin(text) if text and "+" not in text else text and datetime.fromisoformat(text).timestamp()
        for text in (when, wanted)
    )

    found = one.open(float(now or 0), BERLIN)

    assert (found[1] if found else None) == until
    assert found is None or found[1] - found[0] == minutes * 60


def test_no_second_of_four_years_sees_a_window_longer_than_it_says_or_never_open_again() -> None:
    one = window("02:30", 1440, days=frozenset({6}))
    now, end = in_berlin("2026-01-01T00:00:00"), in_berlin("2030-01-01T00:00:00")
    count = 0

    while (now := one.next(now, BERLIN)) < end:
        since, until = one.open(now, BERLIN) or (0.0, 0.0)
        assert (since, until) == (now, now + 86400)
        assert one.open(now - 1, BERLIN) is None or one.open(now - 1, BERLIN) != (since, until)
        count += 1

    assert count == 209


def test_without_a_zone_the_hosts_own_counts() -> None:
    one = window()
    begins = datetime(2026, 11, 24, 22, 30).timestamp()  # noqa: DTZ001 - the host's own, on purpose

    assert one.open(begins, None) == (begins, begins + 3600)


def test_a_look_shows_what_is_on_planned_coming_and_over() -> None:
    from agent.people.pausing import shown

    story = maintained("2026-11-24T12:00:00", window())
    story.ask("pause", seconds=60, why="short")
    story.ask("pause", seconds=60, why="later", begins=story.now + 600)
    story.pass_by(60)

    rows = shown(story.agent, story.now)["items"]
    old = shown(story.agent, story.now + 3601)["items"]

    assert [(one["stage"], one["id"]) for one in rows] == [("planned", "P-2"), ("window", "deploy"), ("over", "P-1")]
    assert rows[1]["since"] == in_berlin("2026-11-24T22:30:00")
    assert [one["stage"] for one in old] == ["planned", "window"]
    assert datetime.fromtimestamp(rows[1]["until"], UTC).hour == 22
