"""Clocks of laws: when each word is due, who began and ended it, and when people are reminded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.notifying.clocks import Clock, Clocks, month_after
from agent.notifying.regimes import clocks
from agent.notifying.routes import Routes
from agent.policy import Gathering
from tests.stories import T0, policy, shut
from tests.telling import Telling

HOUR = 3600.0


def breach(*regimes: Any, **more: Any) -> Telling:
    gathering = Gathering("data", regimes=regimes)
    story = Telling(replace(policy(then=[shut("30d")]), severity="P1", gathering=gathering), **more)
    story.logins(3, every=0.0)
    story.ask("acknowledge", what="INC-1")
    return story


def due(story: Telling) -> dict[tuple[str, str], float]:
    return {(law, what): at - T0 for law, what, at, _ in clocks(story.agent.state, "INC-1")}


def test_each_law_has_its_times() -> None:
    story = breach("nis2", "dora", "gdpr")

    times = due(story)

    assert times["nis2", "early warning"] == 24 * HOUR
    assert times["nis2", "notification"] == 72 * HOUR
    assert times["dora", "initial notification"] == 4 * HOUR
    assert times["dora", "intermediate report"] == 76 * HOUR
    assert times["gdpr", "notification"] == 72 * HOUR
    assert 28 * 24 * HOUR <= times["nis2", "final report"] - 72 * HOUR <= 31 * 24 * HOUR


@pytest.mark.parametrize(("hours", "first"), [(0, 4), (10, 14), (22, 24), (30, 34)])
def test_dora_gives_four_hours_from_the_classification_and_a_day_from_the_knowledge(hours: int, first: int) -> None:
    clock = Clock("INC-1", "dora", T0, T0 + hours * HOUR, "alice", "major")

    assert clock.stages[0].due == T0 + first * HOUR


@pytest.mark.parametrize(
    ("day", "after"), [("2027-01-31", "2027-02-28"), ("2028-01-31", "2028-02-29"), ("2027-12-15", "2028-01-15")]
)
def test_a_month_is_a_month_of_the_calendar(day: str, after: str) -> None:
    then = datetime.fromisoformat(f"{day}T10:00:00+00:00").timestamp()

    assert datetime.fromtimestamp(month_after(then), UTC).date().isoformat() == after


def test_a_person_begins_one_and_it_runs_from_when_the_incident_was_known() -> None:
    story = breach()
    story.live(10 * HOUR, 600)

    answer = story.ask("regime", what="INC-1", regime="gdpr", why="names were in the dump")

    assert answer["result"] == "begun"
    assert due(story) == {("gdpr", "notification"): 72 * HOUR}
    assert story.last.news.startswith("the clock of GDPR runs")
    assert story.ask("regime", what="INC-1", regime="gdpr", why="again")["result"] == "nothing"
    assert story.ask("regime", what="INC-9", regime="gdpr", why="x")["result"] == "failed"


def test_people_are_reminded_at_half_at_four_fifths_and_when_it_is_due_once_each() -> None:
    story = breach("gdpr")

    story.live(80 * HOUR, 600)

    assert [one.body["step"] for one in story.said("reminded")] == ["notification 50 %", "notification 80 %", "notification due"]
    reminders = [notice for notice, _ in story.told if "GDPR notification" in notice.news and "is due" in notice.news]
    assert [round((one.at - T0) / HOUR) for one in reminders] == [36, 58]
    assert "contain incidents notified INC-1 gdpr" in story.last.news


def test_after_a_long_downtime_only_the_last_reminder_comes() -> None:
    story = breach("gdpr")
    story.now += 60 * HOUR

    story.die()
    story.live(HOUR, 60)

    assert [one.body["step"] for one in story.said("reminded")] == ["notification 80 %"]


def test_a_word_given_ends_its_stage_and_the_next_one_counts_from_it() -> None:
    story = breach("dora")
    story.live(2 * HOUR, 600)

    answer = story.ask("notified", what="INC-1", regime="dora", why="sent, reference 7")
    story.live(10 * HOUR, 600)

    assert answer["clocks"][0]["done"] is True
    assert due(story)["dora", "intermediate report"] == pytest.approx(74 * HOUR, abs=60)
    assert [one.body["step"] for one in story.said("reminded")] == ["initial notification 50 %"]
    for _ in range(2):
        story.ask("notified", what="INC-1", regime="dora", why="sent")
    assert story.ask("notified", what="INC-1", regime="dora", why="sent")["result"] == "nothing"


def test_what_is_not_reportable_after_all_or_was_none_is_nobodys_duty() -> None:
    story = breach("nis2", "gdpr")

    story.ask("notified", what="INC-1", regime="nis2", why="not essential", all=True)
    left = due(story)
    story.ask("undo", what="INC-1", why="mine")
    story.ask("false_positive", what="INC-1", why="our own dump")

    assert set(left) == {("gdpr", "notification")}
    assert due(story) == {}


def test_a_policy_begins_its_clocks_also_where_nobody_is_told() -> None:
    story = breach("gdpr", routes=Routes())

    assert due(story) == {("gdpr", "notification"): 72 * HOUR}
    assert story.told == []


def test_clocks_live_through_a_crash_and_a_snapshot() -> None:
    story = breach("nis2", "dora")
    story.ask("notified", what="INC-1", regime="dora", why="sent")
    before = due(story)

    story.die()
    after_kill = due(story)
    story.restart_from_snapshot()

    assert before == after_kill == due(story)
    assert Clocks().running("INC-1") is False
