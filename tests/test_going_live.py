"""Going live as a story: a policy that is switched to enforce while somebody is at it acts at their next try."""

from __future__ import annotations

from datetime import timedelta

from agent.policy import Limits
from tests.stories import Story, policy


def watched(cooldown: timedelta = timedelta(minutes=5)) -> Story:
    """A story in which a dry run has just found somebody."""
    story = Story(policy(guard=Limits(cooldown=cooldown)), mode="dry_run")
    story.logins(3)
    assert story.kinds().count("would") == 1
    return story


def test_what_a_dry_run_found_a_moment_ago_is_no_reason_to_look_away() -> None:
    story = watched()

    story.ask("mode", policy="guessing", mode="enforce")
    story.logins(3)

    assert "203.0.113.7" in story.gate.shut
    assert story.kinds().count("finding") == 2


def test_still_in_dry_run_it_is_found_once() -> None:
    story = watched()

    story.logins(3)

    assert not story.gate.shut
    assert story.kinds().count("finding") == 1


def test_what_was_refused_after_going_live_is_not_tried_for_every_line() -> None:
    story = watched()
    story.ask("mode", policy="guessing", mode="enforce")
    story.gate.broken = "refuses"

    story.logins(10)

    assert story.kinds().count("finding") == 2


def test_what_was_lifted_by_a_person_after_going_live_stays_lifted() -> None:
    story = watched()
    story.ask("mode", policy="guessing", mode="enforce")
    story.logins(3)

    story.ask("undo", what="203.0.113.7", why="our scanner")
    story.logins(3)

    assert not story.gate.shut
