"""What a notice says: a first line that stands alone, and nothing of a stranger's that could do anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from agent import gathering
from agent.notifying.compose import Saying, compose, took
from agent.notifying.notice import LONGEST_LINE, MOST_LINES, MOST_TARGETS, Notice, read
from tests.stories import policy, shut
from tests.telling import Telling


def told(story: Telling, incident: str = "INC-1", **saying: Any) -> Notice:
    seen = gathering.picture(story.agent.state, incident)
    assert seen is not None
    return compose(story.agent, seen, f"{incident}/1", story.now, Saying(saying.pop("what", "opened"), "news", **saying))


def test_the_first_line_says_what_how_much_contained_when_and_who_is_on_it() -> None:
    story = Telling(replace(policy(), severity="P1"))
    for house in range(31):
        story.logins(3, f"203.0.113.{house}", every=0.0)
    story.now += 40

    notice = told(story)

    assert notice.headline == "P1 guessing: Somebody guesses: 31 addresses on db1. Contained in 0.0 s. Not acknowledged."
    assert notice.many == 31
    assert len(notice.targets) == MOST_TARGETS


def test_what_was_done_says_until_when_and_whether_it_holds() -> None:
    story = Telling()
    story.gate.broken = "jams"
    story.logins(3)

    notice = told(story)

    assert notice.did[0].startswith("close the gate to 203.0.113.7: holds in part: a hand's breadth is open; until")


def test_many_alike_are_one_line() -> None:
    story = Telling()
    for house in range(9):
        story.logins(3, f"203.0.113.{house}", every=0.0)

    notice = told(story)

    assert [line.partition("until")[0] for line in notice.did] == ["9 × stories: in force, the last "]


def test_a_step_that_fails_again_and_again_is_one_line_that_says_why() -> None:
    story = Telling()
    story.gate.broken = "refuses"
    for _ in range(3):
        story.logins(3)
        story.live(600, 30)

    assert told(story).did == ("close the gate to 203.0.113.7: failed: the gate is stuck",)


def test_each_incident_asks_for_one_thing() -> None:
    story = Telling(replace(policy(then=[shut("10m")], runbook="https://wiki.example.com/guess"), severity="P1"))
    story.logins(3)
    unanswered = told(story)
    story.ask("acknowledge", what="INC-1")
    answered = told(story)
    story.live(3600, 30)
    over = told(story)

    assert unanswered.need[-1] == "contain ack INC-1"
    assert answered.need == ()
    assert over.need[-1] == "contain postmortem INC-1"
    assert "Over; it lasted" in over.headline
    assert dict(unanswered.links) == {
        "runbook": "https://wiki.example.com/guess",
        "incident": "https://db1.example.com:9444/incidents/INC-1",
    }


def test_a_runbook_that_is_no_address_is_no_link() -> None:
    story = Telling(policy(runbook="javascript:alert(1)"))
    story.logins(3)

    assert [word for word, _ in told(story).links] == ["incident"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (1.2, "1.2 s"), (37, "37 s"), (185, "3 min 5 s"), (90061, "1 d 1 h"), (-5, "0.0 s")]
)
def test_a_length_of_time_is_short(seconds: float, said: str) -> None:
    assert took(seconds) == said


HOSTILE = st.text(min_size=1, max_size=2000)


@settings(max_examples=60, deadline=None)
@given(text=HOSTILE, note=HOSTILE, who=HOSTILE)
def test_whatever_a_stranger_writes_is_visible_short_and_on_its_line(text: str, note: str, who: str) -> None:
    story = Telling()
    story.logins(3)
    one = story.agent.state.incidents["INC-1"]
    changed = one._replace(because=text, target=text, title=text, acked_by=who, assigned=note).hears(note)
    story.agent.state.incidents["INC-1"] = changed

    notice = told(story)

    lines = [notice.headline, notice.news, notice.title, notice.assigned, *notice.saw, *notice.did, *notice.need, *notice.targets]
    assert all(line.isprintable() for line in lines)
    assert all(len(line) <= max(400, LONGEST_LINE) for line in lines)
    assert max(len(notice.saw), len(notice.did), len(notice.need)) <= MOST_LINES
    assert read(from_json(to_json(notice._asdict()))) == notice
