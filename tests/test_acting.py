"""What people do with incidents, as orders: each says what came of it, stands in the evidence, and lives through a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent import gathering
from agent.asking import BODIES, problem
from agent.people.acting import ORDERS
from agent.say import sentence
from tests.stories import Story, policy

WORDS: dict[str, dict[str, Any]] = {
    "acknowledge": {},
    "assign": {"to": "bob"},
    "note": {"text": "the pool was full"},
    "severity": {"severity": "P0", "why": "data is gone"},
    "merge": {"into": "INC-1", "why": "the same"},
    "reopen": {"why": "again"},
    "close": {"why": "done"},
    "false_positive": {"why": "our own test"},
    "resolve": {"why": "it works"},
}


@pytest.fixture
def story() -> Story:
    made = Story(replace(policy(), severity="P1"), policy("other", least=5))
    made.logins(3)
    return made


def over(story: Story) -> Story:
    story.ask("undo", what="all", why="a mistake")
    return story


@pytest.mark.parametrize("verb", ORDERS)
def test_an_unknown_incident_is_said_to_be_unknown(story: Story, verb: str) -> None:
    before = len(story.records)

    answer = story.ask(verb, what="INC-99", **WORDS[verb])

    assert answer["result"] == "failed"
    assert "INC-99" in answer["error"]
    assert len(story.records) == before


@pytest.mark.parametrize("verb", ORDERS)
def test_its_body_is_checked_before_it_is_carried_out(verb: str) -> None:
    assert problem(verb, {"what": "INC-1", **WORDS[verb]}) == ""
    assert verb in BODIES
    assert problem(verb, {"what": 7})


def test_an_acknowledgement_names_the_person_and_the_moment(story: Story) -> None:
    answer = story.ask("acknowledge", what="INC-1", why="on it")

    one = story.agent.state.incidents["INC-1"]
    assert answer["result"] == "acknowledged"
    assert (one.acked, one.acked_by) == (story.now, "alice (uid 1000)")
    assert sentence(story.said("acknowledged")[0]) == "INC-1 is acknowledged by alice (uid 1000): on it"


def test_a_second_acknowledgement_says_who_was_first(story: Story) -> None:
    story.ask("acknowledge", what="INC-1")

    answer = story.ask("acknowledge", what="INC-1")

    assert answer == {"result": "nothing", "because": "alice (uid 1000) has acknowledged INC-1 already"}
    assert len(story.said("acknowledged")) == 1


def test_an_acknowledgement_of_one_is_for_all_that_are_told_with_it(story: Story) -> None:
    story.logins(3, "203.0.113.8")

    story.ask("acknowledge", what="INC-2")

    assert story.agent.state.incidents["INC-1"].acked is not None
    assert story.said("acknowledged")[0].body["actor"] == "alice (uid 1000)"


def test_whoever_assigns_it_knows_of_it(story: Story) -> None:
    story.ask("assign", what="INC-1", to="bob")

    one = story.agent.state.incidents["INC-1"]
    assert (one.assigned, one.acked_by) == ("bob", "alice (uid 1000)")
    assert story.ask("assign", what="INC-1", to="bob")["result"] == "nothing"


def test_a_blank_note_is_none(story: Story) -> None:
    assert story.ask("note", what="INC-1", text="  ")["result"] == "usage"
    assert not story.said("noted")


def test_a_note_stands_with_the_incident(story: Story) -> None:
    story.ask("note", what="INC-1", text="the pool was full")

    assert story.agent.state.incidents["INC-1"].told[-1] == "alice (uid 1000): the pool was full"


def test_another_severity_is_the_incidents_and_not_the_policys(story: Story) -> None:
    story.ask("severity", what="INC-1", severity="P0", why="data is gone")

    assert story.agent.state.incidents["INC-1"].severity == "P0"
    assert story.agent.policies["guessing"].severity == "P1"
    assert story.said("severity")[0].body["was"] == "P1"


# Merged ----------------------------------------------------------------------------------------------------------------------


def merged(story: Story) -> Story:
    story.logins(5, "203.0.113.9")
    names = {one.policy: one.id for one in story.agent.state.incidents.values() if not one.lead}
    assert story.ask("merge", what=names["other"], into=names["guessing"], why="the same")["result"] == "merged"
    return story


def test_merged_ones_are_one_for_people(story: Story) -> None:
    merged(story)

    seen = gathering.picture(story.agent.state, "INC-1")
    assert seen is not None
    assert {one.policy for one in seen.all} == {"guessing", "other"}


def test_what_comes_with_a_merged_one_comes_with_the_one_it_was_merged_into(story: Story) -> None:
    merged(story)

    story.logins(5, "203.0.113.10")

    assert {one.lead for one in story.agent.state.incidents.values()} == {"", "INC-1"}


def test_merging_with_itself_changes_nothing(story: Story) -> None:
    story.logins(3, "203.0.113.8")

    assert story.ask("merge", what="INC-2", into="INC-1", why="the same")["result"] == "nothing"
    assert not story.said("merged")


def test_nothing_is_merged_into_what_is_closed(story: Story) -> None:
    over(story)
    story.ask("close", what="INC-1", why="done")
    story.logins(5, "203.0.113.9")
    other = story.agent.state.incident_for("other", "203.0.113.9")
    assert other is not None

    assert story.ask("merge", what=other.id, into="INC-1", why="the same")["result"] == "refused"


# The end ---------------------------------------------------------------------------------------------------------------------


def test_what_still_holds_keeps_it_from_being_resolved_or_none(story: Story) -> None:
    for verb in ("resolve", "false_positive"):
        answer = story.ask(verb, what="INC-1", **WORDS[verb])

        assert answer["result"] == "refused"
        assert "contain undo INC-1" in answer["because"]


def test_what_goes_on_is_not_closed(story: Story) -> None:
    assert story.ask("close", what="INC-1", why="done")["result"] == "refused"


def test_a_p1_is_not_closed_before_its_report_is_written(story: Story) -> None:
    over(story)

    answer = story.ask("close", what="INC-1", why="done", missing=["root cause"])

    assert answer["result"] == "refused"
    assert "root cause" in answer["because"]
    assert story.ask("close", what="INC-1", why="done")["result"] == "closed"


def test_none_after_all_is_closed_at_once_and_marked(story: Story) -> None:
    over(story)

    story.ask("false_positive", what="INC-1", why="our own test")

    one = story.agent.state.incidents["INC-1"]
    assert (one.phase, one.false, one.closed) == ("closed", True, story.now)


def test_resolving_and_closing_are_for_all_that_are_told_with_it() -> None:
    story = Story(policy(then=()), mode="off")
    for number in range(3):
        story.ask("report", text=f"it is slow {number}")
    for name in ("INC-2", "INC-3"):
        story.ask("merge", what=name, into="INC-1", why="the same")

    story.ask("resolve", what="INC-2", why="it works")
    story.ask("close", what="INC-3", why="done")

    assert {one.phase for one in story.agent.state.incidents.values()} == {"closed"}


def test_what_is_reopened_is_open_and_quiet_is_counted_from_then_on(story: Story) -> None:
    over(story)
    story.ask("acknowledge", what="INC-1")

    story.ask("reopen", what="INC-1", why="again")
    story.pass_by(60)

    one = story.agent.state.incidents["INC-1"]
    assert (one.phase, one.resolved, one.acked) == ("open", None, None)


def test_a_closed_one_can_be_reopened(story: Story) -> None:
    over(story)
    story.ask("false_positive", what="INC-1", why="our own test")

    story.ask("reopen", what="INC-1", why="it was not")

    one = story.agent.state.incidents["INC-1"]
    assert (one.phase, one.false, one.closed) == ("open", False, None)


@pytest.mark.parametrize("verb", ["acknowledge", "assign", "severity"])
def test_what_people_said_lives_through_a_crash(story: Story, verb: str) -> None:
    story.ask(verb, what="INC-1", **WORDS[verb])
    before = story.agent.state.incidents["INC-1"]

    story.die_and_start_again()

    after = story.agent.state.incidents["INC-1"]
    assert (after.acked, after.acked_by, after.assigned, after.severity) == (
        before.acked, before.acked_by, before.assigned, before.severity,
    )  # fmt: skip
