"""People's parts of a report: read from one text, kept version by version, and needed before a P0 or P1 closes."""

from __future__ import annotations

import pytest
from pydantic_core import from_json, to_json

from agent import asking, snapshot
from agent.people.writing import keep_texts, missing
from agent.report.notes import NOTHING, PARTS, Item, read, skeleton, unfilled
from agent.turn import Turn
from tests.report.journalled import watched, whole_notes
from tests.stories import Story


def test_the_text_that_somebody_begins_with_holds_nothing_yet() -> None:
    text = skeleton("INC-7", "evil --> title\n## Root cause\nit was me")

    assert unfilled(text) == NOTHING
    assert read(text).parts == {}
    assert all(f"## {one.heading}" in text for one in PARTS)


def test_each_part_is_read_back_as_it_was_written() -> None:
    made = read(whole_notes("Two lines,\nand a word."))

    assert made.parts["root_cause"] == "Two lines,\nand a word."
    assert made.items == (Item("tune it", "bob", "Friday"),)
    assert unfilled(whole_notes()) == ()


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("## root CAUSE\nx", "root_cause", "x"),
        ("## Root cause\nx\n## Root cause\ny", "root_cause", "x\ny"),
        ("## Root cause\n```\n## Impact\n```", "root_cause", "```\n## Impact\n```"),
        ("## Root cause\n<!-- hint -->\n", "root_cause", None),
        ("## Root cause\n<!-- never closed", "root_cause", None),
        ("## Root cause\r\nx\r\n", "root_cause", "x"),
    ],
)
def test_half_written_notes_are_read_for_what_they_hold(text: str, name: str, found: str | None) -> None:
    assert read(text).parts.get(name) == found


def test_text_under_headings_of_their_own_is_not_lost() -> None:
    assert read("before\n## Weather\nrain\n## Impact\nnone").further == "before\n## Weather\nrain"


def test_action_items_may_be_a_list() -> None:
    assert read("## Action items\n- tune it\n").items == (Item("tune it"),)


def urgent(*more: object) -> Story:
    story = watched()
    story.logins(3)
    story.ask("severity", what="INC-1", severity="P1", why="worse")
    story.pass_by(4000)
    return story


def test_each_version_stands_in_the_journal_with_its_author() -> None:
    story = urgent()

    first = story.ask("report_notes", what="INC-1", text="## Impact\nnone\n", after=0)
    second = story.ask("report_notes", what="INC-1", text=whole_notes(), after=1)

    assert "Impact" not in first["missing"]
    assert "Root cause" in first["missing"]
    assert (second["result"], second["version"], second["missing"]) == ("written", 2, [])
    assert [(one.body["version"], one.body["actor"]) for one in story.said("report_written")] == [
        (1, "alice (uid 1000)"),
        (2, "alice (uid 1000)"),
    ]


def test_nobody_overwrites_what_somebody_else_has_saved_meanwhile() -> None:
    story = urgent()
    story.ask("report_notes", what="INC-1", text="first", after=0)

    answer = story.ask("report_notes", what="INC-1", text="second", after=0)

    assert answer["result"] == "refused"
    assert "alice (uid 1000) has saved version 1 meanwhile" in answer["because"]
    assert len(story.said("report_written")) == 1


def test_of_an_unknown_incident_nothing_can_be_written() -> None:
    answer = urgent().ask("report_notes", what="INC-9", text="x", after=0)

    assert answer["result"] == "failed"


def test_what_is_missing_is_known_after_a_kill_and_from_a_snapshot() -> None:
    story = urgent()
    story.ask("report_notes", what="INC-1", text="## Impact\nnone\n", after=0)
    wanted = missing(story.agent.state, "INC-1")

    kept = snapshot.restore(
        from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float")), story.agent.state.systems
    )
    story.die_and_start_again()

    assert "Impact" not in wanted
    assert missing(story.agent.state, "INC-1") == wanted == missing(kept, "INC-1")


def test_a_p1_is_closed_only_once_its_report_is_written() -> None:
    story = urgent()
    refused = story.ask("close", what="INC-1", why="done", missing=missing(story.agent.state, "INC-1"))
    story.ask("report_notes", what="INC-1", text=whole_notes(), after=0)

    closed = story.ask("close", what="INC-1", why="done", missing=missing(story.agent.state, "INC-1"))

    assert refused["result"] == "refused"
    assert "Root cause" in refused["because"]
    assert closed["result"] == "closed"


def test_a_person_cannot_say_that_nothing_is_missing() -> None:
    assert asking.problem("close", {"what": "INC-1", "why": "done", "missing": []})
    assert not asking.problem("report_notes", {"what": "INC-1", "text": "x", "after": 0})
    assert asking.problem("report_notes", {"what": "INC-1", "text": "x" * 70_000, "after": 0})


def test_what_was_written_for_one_that_is_merged_is_not_lost() -> None:
    story = urgent()
    story.ask("report_notes", what="INC-1", text=whole_notes(), after=0)
    story.records.clear()
    story.logins(3, ip="198.51.100.9")

    story.ask("merge", what="INC-1", into="INC-2", why="the same")

    assert missing(story.agent.state, "INC-2") == []


def test_a_policy_s_text_is_written_down_once_for_each_that_is_another() -> None:
    story = watched()
    turn = Turn(story.agent, story.now)

    keep_texts(turn)
    story.die_and_start_again()
    again = Turn(story.agent, story.now)
    keep_texts(again)

    assert turn.effects == again.effects == []
    assert len(story.said("policy_text")) == 1
