"""Silences as stories: of what nobody is told, until when, and that actions go on."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

import pytest

from agent import rounds, view
from agent.cli.live import Lines
from agent.cli.show import Show
from agent.messages import Seen, Tick
from agent.people.silencing import is_quiet, shown, silenced, telling
from agent.record import Record
from agent.say import sentence
from tests.stories import Story, login, policy


def attacked(*more: Any) -> Story:
    """A story with an incident of P2."""
    story = Story(*more)
    story.logins(3)
    return story


def is_silent(story: Story, name: str = "INC-1") -> bool:
    return bool(silenced(story.agent.state, story.agent.state.incidents[name], story.now))


@pytest.mark.parametrize(
    "named",
    [{"policy": "guessing"}, {"target": "203.0.113.7"}, {"incident": "INC-1"}, {"policy": "guessing", "target": "203.0.113.7"}],
)
def test_what_fits_a_silence_is_told_to_nobody_until_it_is_over(named: dict[str, str]) -> None:
    story = attacked()

    answer = story.ask("silence", seconds=600, why="known", **named)

    assert answer["incidents"] == ["INC-1"]
    reason = silenced(story.agent.state, story.agent.state.incidents["INC-1"], story.now)
    assert reason == "alice (uid 1000) has silenced it (S-1): known"
    story.pass_by(601)
    assert not is_silent(story)


def test_what_is_silenced_before_it_is_found_is_acted_on_all_the_same() -> None:
    story = Story()
    story.ask("silence", seconds=600, why="known", target="203.0.113.7")

    story.logins(3)

    assert story.gate.shut
    assert is_silent(story)


@pytest.mark.parametrize("named", [{"target": "203.0.113.8"}, {"policy": "spraying"}, {"policy": "guessing", "target": "other"}])
def test_what_does_not_fit_all_that_is_named_is_told(named: dict[str, str]) -> None:
    story = attacked(policy("guessing"), policy("spraying", least=99))

    story.ask("silence", seconds=600, why="known", **named)

    assert not is_silent(story)


def test_a_word_of_a_target_is_enough_and_a_part_of_a_word_is_not() -> None:
    story = attacked()
    story.agent.state.incidents["INC-1"] = replace_target(story, "shop 443")

    story.ask("silence", seconds=600, why="known", target="sho")
    assert not is_silent(story)
    story.ask("silence", seconds=600, why="known", target="shop")

    assert is_silent(story)


def replace_target(story: Story, target: str) -> Any:
    return story.agent.state.incidents["INC-1"]._replace(target=target)


def test_p0_is_silent_for_an_hour_at_most() -> None:
    story = attacked(replace(policy(), severity="P0"))

    longer = story.ask("silence", seconds=3601, why="known", incident="INC-1")
    by_policy = story.ask("silence", seconds=3601, why="known", policy="guessing")
    hour = story.ask("silence", seconds=3600, why="known", incident="INC-1")

    assert longer["because"] == "INC-1 is P0, and that can be silenced for 1 h at most; use --for 1h"
    assert by_policy["result"] == "refused"
    assert hour["result"] == "silenced"
    assert is_silent(story)


def test_a_policy_of_p0_is_not_silenced_for_longer_before_it_has_found_anything() -> None:
    story = Story(replace(policy(), severity="P0"))

    answer = story.ask("silence", seconds=7200, why="known", policy="guessing")

    assert answer["because"].startswith("the policy guessing is P0")


def test_a_silence_of_a_target_without_an_incident_lets_p0_through() -> None:
    story = Story(replace(policy(), severity="P0"))
    story.ask("silence", seconds=7200, why="our scanner", target="203.0.113.7")

    story.logins(3)

    assert not is_silent(story)
    assert "INC-1 is P0, and P1 was the worst" in sentence(story.said("silence_ended")[0])


def test_a_severity_that_rises_ends_the_silence() -> None:
    story = attacked()
    story.ask("silence", seconds=7200, why="known", incident="INC-1")
    incidents = story.agent.state.incidents
    incidents["INC-1"] = incidents["INC-1"]._replace(severity="P1")

    told_at_once = not is_silent(story)
    story.tell(Tick())

    assert told_at_once
    assert not story.agent.state.silences.all
    assert story.agent.state.silences.over[-1].because == "INC-1 is P1, and P2 was the worst that was silenced"


def test_a_person_ends_a_silence_and_ending_it_twice_is_harmless() -> None:
    story = attacked()
    story.ask("silence", seconds=600, why="known", incident="INC-1")

    first, second = story.ask("end_silence", what="S-1"), story.ask("end_silence", what="S-1")

    assert (first["ended"], second["result"]) == (["S-1"], "nothing")
    assert not is_silent(story)
    assert shown(story.agent)["items"] == []
    assert [one["because"] for one in shown(story.agent, ended=True)["items"]] == ["asked for"]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ({}, "this would silence everything"),
        ({"policy": "gessing"}, "no policy is called gessing; known: guessing"),
        ({"incident": "INC-9"}, "no incident INC-9"),
    ],
)
def test_a_silence_that_makes_no_sense_is_not_begun(named: dict[str, str], wanted: str) -> None:
    story = Story()

    assert wanted in story.ask("silence", seconds=60, why="known", **named)["error"]
    assert story.records == []


def test_kill_nine_changes_no_silence() -> None:
    story = attacked()
    story.ask("silence", seconds=600, why="known", incident="INC-1")
    story.ask("silence", seconds=60, why="known", policy="guessing")
    story.pass_by(60)

    story.die_and_start_again()

    assert list(story.agent.state.silences.all) == ["S-1"]
    assert is_silent(story)


def test_a_clock_set_back_makes_no_silence_eternal() -> None:
    story = attacked()
    story.ask("silence", seconds=600, why="known", incident="INC-1")
    story.now -= 365 * 86400
    story.tell(Tick())

    story.pass_by(601)

    assert not story.agent.state.silences.all


def test_the_loop_wakes_when_a_silence_is_over() -> None:
    story = attacked()
    story.tell(Tick())

    story.ask("silence", seconds=2, why="known", incident="INC-1")

    assert rounds.next_due(story.agent, story.now) == story.now + 2


def test_what_is_silenced_is_shown_as_that_and_counted_apart() -> None:
    story = attacked()
    story.logins(3, "203.0.113.8")
    story.ask("silence", seconds=600, why="known", incident="INC-1")

    answer = view.incidents(story.agent, story.now)

    by_name = {one["id"]: one["silenced"] for one in answer["items"]}
    assert (answer["total"], answer["silenced"]) == (2, 1)
    assert by_name["INC-2"] is None
    assert (by_name["INC-1"] or {})["why"] == "known"


def test_log_lines_about_what_is_silenced_are_no_warnings() -> None:
    story = attacked()
    story.ask("silence", seconds=600, why="known", incident="INC-1")
    story.tell(Seen([login(at=story.now)]))
    lines, heard = Lines(Show()), io.StringIO()
    refused = {"policy": "guessing", "action": "block_ip", "target": "203.0.113.7", "because": "a life-line"}

    with redirect_stdout(heard):
        for name in ("INC-1", "INC-2"):
            telling(story.agent, lines.told)(story.now, Record("refused", refused, incident=name))
        telling(story.agent, Lines(Show(json=True)).told)(story.now, Record("refused", refused, incident="INC-1"))

    first, second, third = heard.getvalue().splitlines()
    assert " info " in first
    assert " warning " in second
    assert json.loads(third)["items"][0]["silenced"] is True
    assert not is_quiet(story.agent.state, Record("started", {}), story.now)
