"""What people answer in PagerDuty: an acknowledgement counts, unless it is old; all else is a note, and nothing ends by it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.event import ANSWERED, Event
from agent.messages import Seen
from agent.people.answering import LATE, SKEW
from tests.stories import Story


def reported() -> Story:
    story = Story()
    story.ask("report", text="it is slow", severity="P1")
    return story


def answered(story: Story, what: str = "acknowledged", at: float = 0.0, **more: Any) -> Any:
    """The incident after an answer that was given so many seconds from now."""
    fields = {"incident": "INC-1", "incident.host": "db1", "tool": "PagerDuty", "what": what, "who": "Alice", **more}
    story.tell(Seen([Event(ANSWERED.name, story.now, fields, "in:pagerduty", story.now + at)]))
    return story.agent.state.incidents["INC-1"]


def notes(story: Story) -> list[str]:
    return [f"{one.body['actor']}: {one.body['text']}" for one in story.said("noted")]


def test_an_acknowledgement_there_is_one_here() -> None:
    one = answered(reported())

    assert one.acked_by == "Alice at PagerDuty"


def test_the_first_to_acknowledge_stays_the_one() -> None:
    story = reported()
    answered(story)

    one = answered(story, who="Carol")

    assert one.acked_by == "Alice at PagerDuty"
    assert notes(story) == []


@pytest.mark.parametrize("at", [-LATE - 1, -SKEW - 1])
def test_an_acknowledgement_of_long_ago_or_of_before_the_incident_is_only_noted(at: float) -> None:
    story = reported()
    if at < -LATE:
        story.pass_by(LATE + SKEW)

    one = answered(story, at=at)

    assert one.acked is None
    assert notes(story) == [
        "Alice at PagerDuty: acknowledged it, and that came too late to count; whoever is on it: contain ack INC-1"
    ]


def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    assert answered(reported(), at=-SKEW + 1).acked is not None
    assert answered(reported(), at=SKEW).acked is not None


@pytest.mark.parametrize(
    ("what", "more", "says"),
    [
        ("resolved", {}, "resolved it there; it goes on here until it is over here too"),
        ("assigned", {"to": "Bob"}, "handed it on to Bob"),
        ("escalated", {}, "escalated it"),
        ("noted", {"text": "disk is full {to}"}, "disk is full {to}"),
        ("unacknowledged", {}, "it is not acknowledged any more there"),
    ],
)
def test_all_else_is_a_note(what: str, more: Any, says: str) -> None:
    story = reported()

    one = answered(story, what, **more)

    assert (one.phase, one.acked) == ("open", None)
    assert notes(story) == [f"Alice at PagerDuty: {says}"]


@pytest.mark.parametrize(
    "more", [{"incident.host": "web9"}, {"incident": "INC-9"}, {"incident": "INC-1/../x"}, {"incident.host": None}]
)
def test_what_is_about_no_incident_of_this_host_changes_nothing(more: Any) -> None:
    story = reported()

    one = answered(story, **more)

    assert one.acked is None
    assert notes(story) == []
