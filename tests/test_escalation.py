"""Nobody answers: the steps of agent.yaml and of policies at their times, the promise, and questions that wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.notifying.routes import Escalation
from tests.stories import T0, policy, shut
from tests.telling import ROUTES, Telling

MIN = 60.0
STEPS = (
    Escalation(timedelta(minutes=5), "unacknowledged", ("mail",)),
    Escalation(timedelta(minutes=30), "open", ("boss",)),
)
ESCALATING = replace(ROUTES, escalation={"P0": STEPS, "P1": STEPS})


def burning(severity: Any = "P1", **more: Any) -> Telling:
    """An incident that goes on for hours and holds."""
    story = Telling(replace(policy(then=[shut("12h")]), severity=severity, **more), routes=ESCALATING)
    story.logins(3)
    return story


def test_each_step_is_taken_once_at_its_time_and_tells_its_own_channels() -> None:
    story = burning()

    story.live(45 * MIN)

    steps = [(one.body["step"], one.body["late"]) for one in story.said("escalated")]
    told = [(notice.at - T0, to) for notice, to in story.told if notice.what == "escalated"]
    assert steps == [("300 unacknowledged", False), ("1800 open", False)]
    assert [round(at / 60) for at, _ in told] == [5, 30]
    assert ["mail" in to for _, to in told] == [True, False]
    assert "boss" in told[1][1]


def test_an_answer_ends_what_is_about_no_answer_and_not_what_is_about_time() -> None:
    story = burning()
    story.live(2 * MIN)

    story.ask("acknowledge", what="INC-1")
    story.live(45 * MIN)

    assert [one.body["step"] for one in story.said("escalated")] == ["1800 open"]


def test_whoever_was_called_hears_that_somebody_is_on_it() -> None:
    story = burning()
    story.live(6 * MIN)

    story.ask("acknowledge", what="INC-1")

    assert story.last.what == "acknowledged"
    assert "mail" in story.told[-1][1]


@pytest.mark.parametrize(("severity", "after", "proposed"), [("P0", 5, []), ("P1", 60, ["P0"]), ("P2", 240, ["P1"])])
def test_a_promise_that_is_broken_is_told_and_a_higher_severity_only_proposed(
    severity: Any, after: int, proposed: list[str]
) -> None:
    story = Telling(replace(policy(then=[shut("12h")]), severity=severity))
    story.logins(3)
    story.live((after - 1) * MIN, 30)
    before = len(story.said("escalated"))

    story.live(2 * MIN)

    assert before == 0
    assert [one.body["step"] for one in story.said("escalated")] == [f"promise {severity}"]
    assert [one.body["severity"] for one in story.said("proposed")] == proposed
    assert story.agent.state.incidents["INC-1"].severity == severity
    if proposed:
        assert f"contain incidents severity INC-1 {proposed[0]}" in story.last.news


def test_what_came_due_while_nobody_ran_is_told_once_in_order_and_late() -> None:
    story = burning()
    story.live(MIN)
    story.now += 2 * 3600

    story.die()
    story.live(10 * MIN)

    steps = [(one.body["step"], one.body["late"]) for one in story.said("escalated")]
    assert steps == [("300 unacknowledged", True), ("1800 open", True), ("promise P1", True)]
    late = [notice for notice, _ in story.told if notice.what == "escalated"]
    assert len(late) == 1
    assert "late)" in late[0].news


def test_a_kill_between_a_step_and_its_notice_loses_no_word() -> None:
    story = burning()
    story.live(6 * MIN)
    cut = next(at for at, (_, one) in enumerate(story.records) if one.kind == "escalated")
    story.records = story.records[: cut + 1]

    story.die()
    story.live(MIN)

    assert [one.body["step"] for one in story.said("escalated")] == ["300 unacknowledged"]
    assert story.last.what == "escalated"
    assert "mail" in story.told[-1][1]


def test_one_that_goes_on_again_is_escalated_anew_from_then_on() -> None:
    story = Telling(replace(policy(then=[shut("10m")]), severity="P1"), routes=ESCALATING)
    story.logins(3)
    story.live(3600, 30)
    assert story.last.what == "resolved"
    before = len(story.said("escalated"))

    story.logins(3)
    story.live(4 * MIN)
    early = len(story.said("escalated"))
    story.live(2 * MIN)

    assert early == before
    assert len(story.said("escalated")) == before + 1


def test_one_that_is_worse_than_was_known_has_its_steps_from_then_on() -> None:
    story = Telling(policy(then=[shut("12h")]), routes=ESCALATING)
    story.logins(3)
    story.live(3600, 30)

    story.ask("severity", what="INC-1", severity="P0", why="data is gone")
    story.live(4 * MIN)

    assert story.said("escalated") == []
    story.live(2 * MIN)
    assert [one.body["step"] for one in story.said("escalated")] == ["300 unacknowledged", "promise P0"]


def test_a_policys_own_steps_take_the_place_of_those_of_agent_yaml() -> None:
    own = (Escalation(timedelta(minutes=2), "unacknowledged", ("boss",)),)
    story = burning(escalate=own)

    story.live(20 * MIN)

    assert [one.body["step"] for one in story.said("escalated")] == ["120 unacknowledged"]


def test_a_step_without_channels_tells_all_but_strangers() -> None:
    story = burning(escalate=(Escalation(timedelta(minutes=2)),))

    story.live(3 * MIN)

    assert set(story.told[-1][1]) == {"phone", "chat", "mail", "boss"}


def test_a_question_that_nobody_answers_is_told_once_more_at_half_its_time() -> None:
    story = Telling(policy(then=[replace(shut(), asks=True)]))
    story.logins(3)

    story.live(16 * MIN)

    assert story.whats == ["opened", "escalated"]
    assert "A-1 still waits for a yes" in story.last.news
    assert story.last.need[-1] == "contain approve A-1"


def test_a_dry_run_and_what_is_silenced_are_not_escalated() -> None:
    dry = Telling(replace(policy(), severity="P1"), mode="dry_run", routes=ESCALATING)
    silent = burning()
    silent.ask("silence", policy="guessing", seconds=7200.0, why="we know")

    for story in (dry, silent):
        story.logins(3)
        story.live(90 * MIN, 30)

    assert dry.said("escalated") == []
    assert silent.said("escalated") == []
