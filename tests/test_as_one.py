"""What people see as one, where its parts differ: severities, channels, acknowledgements, clocks and ends of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent import fold_incident, gathering
from agent.fold import fold
from agent.notifying.routes import Escalation
from agent.policy import Gathering, Policy
from agent.record import Record
from agent.state import KEPT
from tests.stories import policy, shut
from tests.telling import Telling

HOUR = 3600.0
TOGETHER = Gathering(by=("user",))


def pol(name: str, severity: Any, least: int = 3, **more: Any) -> Policy:
    return replace(policy(name, least=least, **more), severity=severity)


def heard(story: Telling, channel: str) -> list[tuple[str, str]]:
    return [(notice.incident, notice.what) for notice, to in story.told if channel in to]


# Who is on it -----------------------------------------------------------------------------------------------------------


def test_when_one_of_them_comes_again_after_all_was_over_nobody_is_on_it_any_more() -> None:
    story = Telling(pol("guessing", "P0", then=[shut("10m")]))
    story.logins(3)
    story.logins(3, "203.0.113.8")
    story.ask("acknowledge", what="INC-1")
    story.live(HOUR, 30)
    assert story.last.what == "resolved"

    story.logins(3, "203.0.113.8")
    story.live(60)

    assert "reopened" in story.whats
    assert "Not acknowledged." in story.last.headline
    story.live(400, 30)
    assert "escalated" in story.whats


def test_while_another_of_them_goes_on_somebody_stays_on_it_when_one_comes_again() -> None:
    story = Telling(pol("guessing", "P1", then=[shut("10m")]))
    story.logins(3)
    story.ask("acknowledge", what="INC-1")
    story.live(500, 10)
    story.logins(3, "203.0.113.8")
    story.live(300, 10)
    story.logins(3)

    lead = story.agent.state.incidents["INC-1"]
    assert lead.acked_by


def test_who_was_on_something_minor_is_not_on_the_worse_one_that_joins_it() -> None:
    story = Telling(pol("minor", "P3", gathering=TOGETHER), pol("worse", "P0", least=6, gathering=TOGETHER))
    story.logins(3)
    story.ask("acknowledge", what="INC-1")

    story.logins(3)
    story.live(400)

    assert story.told[0][0].severity == "P0"
    assert story.told[0][1] == ["phone", "chat"]
    assert "Not acknowledged." in story.told[0][0].headline
    assert "escalated" in story.whats


# How bad it is ----------------------------------------------------------------------------------------------------------


def test_a_person_says_how_bad_all_of_them_are() -> None:
    story = Telling(pol("guessing", "P1"))
    story.logins(3)
    story.logins(3, "203.0.113.8")

    answer = story.ask("severity", what="INC-1", severity="P2", why="our own scanner")

    seen = gathering.picture(story.agent.state, "INC-1")
    assert answer["result"] == "changed"
    assert seen is not None
    assert seen.severity == "P2"
    assert story.ask("severity", what="INC-2", severity="P2", why="x")["result"] == "nothing"


# Whom it wakes ----------------------------------------------------------------------------------------------------------


def test_a_lead_of_which_nobody_is_told_does_not_swallow_the_worse_one_that_joins_it() -> None:
    story = Telling(pol("minor", "P3", gathering=TOGETHER, notify=()), pol("worse", "P0", least=6, gathering=TOGETHER))

    story.logins(6)
    story.live(60)

    assert heard(story, "phone")[:1] == [("INC-1", "opened")]


def test_a_dry_run_does_not_swallow_the_real_one_that_joins_it() -> None:
    dry = pol("dry", "P1", gathering=TOGETHER, mode="dry_run")
    story = Telling(dry, pol("real", "P1", least=6, gathering=TOGETHER))

    story.logins(6)
    story.live(60)

    assert heard(story, "phone")[:1] == [("INC-1", "opened")]
    assert not story.last.dry


@pytest.mark.parametrize("way", ["off", "gone"])
def test_a_policy_in_dry_run_that_is_switched_off_or_removed_wakes_nobody(way: str) -> None:
    story = Telling(pol("guessing", "P1"), mode="dry_run")
    story.logins(3)
    story.live(400)
    before = list(story.whats)

    if way == "off":
        story.ask("mode", policy="guessing", mode="off", why="too loud")
    else:
        story.agent.policies = {}
    story.live(600)

    assert before == ["opened"]
    assert story.whats == ["opened"]


# Strangers --------------------------------------------------------------------------------------------------------------


def test_an_attack_that_is_told_with_an_outage_is_not_told_in_public_by_itself() -> None:
    outage = pol("outage", "P2", gathering=replace(TOGETHER, about="availability"))
    story = Telling(outage, pol("attack", "P0", least=6, gathering=replace(TOGETHER, about="security")))

    story.logins(6)
    story.live(60)

    assert heard(story, "phone")
    assert heard(story, "page") == []


def test_a_policys_own_step_that_names_a_public_channel_publishes_nothing() -> None:
    steps = (Escalation(timedelta(minutes=5), to=("page", "boss")),)
    story = Telling(pol("attack", "P1", gathering=Gathering("security"), escalate=steps))

    story.logins(3)
    story.live(400)

    assert heard(story, "boss")
    assert heard(story, "page") == []


def outages() -> Telling:
    """Two outages of which strangers read, and an attack of which they do not."""
    alone = Gathering("availability", alone=True)
    attack = pol("attack", "P1", least=6, gathering=Gathering("security", alone=True))
    story = Telling(pol("outage", "P1", gathering=alone), pol("slow", "P1", least=4, gathering=alone), attack)
    story.logins(6)
    story.live(60)
    return story


def test_what_strangers_read_of_does_not_end_there_by_being_merged_into_what_they_do_not() -> None:
    story = outages()

    refused = story.ask("merge", what="INC-1", into="INC-3", why="the same")
    merged = story.ask("merge", what="INC-3", into="INC-1", why="the same")
    story.live(60)

    assert "contain incidents merge INC-3 INC-1" in refused["because"]
    assert (refused["result"], merged["result"]) == ("refused", "merged")
    assert heard(story, "page") == [("INC-1", "opened"), ("INC-2", "opened")]


def test_of_two_of_which_strangers_read_one_comes_to_its_end_there_when_they_are_one() -> None:
    story = outages()

    story.ask("merge", what="INC-1", into="INC-2", why="the same")
    story.live(60)

    assert heard(story, "page") == [("INC-1", "opened"), ("INC-2", "opened"), ("INC-1", "closed")]


@pytest.mark.parametrize(("more", "because"), [({"notify": ()}, "notify: off"), ({"mode": "dry_run"}, "dry run")])
def test_what_is_told_to_nobody_is_not_said_to_be_published(more: dict[str, Any], because: str) -> None:
    story = Telling(pol("attack", "P1", gathering=Gathering("security"), **more))
    story.logins(3)

    answer = story.ask("publish", what="INC-1", why="the customers ask")

    assert answer["result"] == "refused"
    assert because in answer["because"]


def test_what_people_said_of_how_bad_it_is_holds_for_the_next_target_and_not_for_a_worse_one() -> None:
    story = Telling(pol("guessing", "P1", gathering=TOGETHER), pol("worse", "P0", least=9, gathering=TOGETHER))
    story.logins(3)
    story.ask("severity", what="INC-1", severity="P3", why="it is our own scanner")
    story.logins(3, "203.0.113.8")
    lowered = gathering.picture(story.agent.state, "INC-1")

    story.logins(9, "203.0.113.9")
    raised = gathering.picture(story.agent.state, "INC-1")

    assert lowered is not None
    assert (lowered.severity, lowered.many) == ("P3", 2)
    assert raised is not None
    assert raised.severity == "P0"


def test_how_fast_it_was_contained_is_counted_from_when_it_began_anew() -> None:
    story = Telling(pol("guessing", "P1", then=[shut("10m")]))
    story.logins(3)
    story.live(HOUR, 30)

    story.logins(3)
    story.live(10)

    assert story.last.what == "reopened"
    assert "Contained in 0.0 s." in story.last.headline


def test_strangers_hear_the_end_of_what_became_less_severe() -> None:
    story = Telling(pol("outage", "P1", then=[shut("10m")], gathering=Gathering("availability")))
    story.logins(3)
    story.live(60)
    story.ask("severity", what="INC-1", severity="P2", why="only one node")

    story.live(HOUR, 30)

    assert heard(story, "page")[-1] == ("INC-1", "resolved")


# Merged -----------------------------------------------------------------------------------------------------------------


def test_what_comes_after_two_merges_comes_with_the_last_one() -> None:
    story = Telling(pol("a", "P2"), pol("b", "P2", least=5), pol("c", "P2", least=7))
    story.logins(7)
    story.ask("merge", what="INC-1", into="INC-2", why="the same")
    story.ask("merge", what="INC-2", into="INC-3", why="the same")

    story.logins(3, "203.0.113.8")

    one = story.agent.state.incident_for("a", "203.0.113.8")
    assert one is not None
    assert one.lead == "INC-3"


def test_a_note_and_the_clock_of_a_law_outlive_a_merge() -> None:
    story = Telling(
        pol("breach", "P2", then=[shut("30d")], gathering=Gathering("data", alone=True, regimes=("gdpr",))),
        pol("other", "P2", least=5, then=[shut("30d")], gathering=Gathering(alone=True)),
    )
    story.logins(5)
    story.live(60)
    story.ask("note", what="INC-1", text="the customers table")
    story.ask("merge", what="INC-1", into="INC-2", why="the same")

    story.live(40 * HOUR, 300)

    assert any("customers table" in notice.news for notice, _ in story.told)
    told = [notice.news for notice, _ in story.told if notice.incident == "INC-2"]
    assert any("GDPR notification is due" in one for one in told)


# The agent's own ----------------------------------------------------------------------------------------------------------


def test_an_old_bug_is_not_told_again_when_a_thousand_others_have_ended() -> None:
    story = Telling(pol("guessing", "P2"))
    fold(story.agent.state, Record("bug", {"error": "a bug"}), story.now)
    story.live(HOUR, 60)
    story.ask("false_positive", what="INC-1", why="mended")

    story.agent.state.ended.extend("M-0" for _ in range(4 * KEPT))
    fold_incident.forget(story.agent.state, "INC-1")
    story.live(60)

    assert [one.id for one in story.agent.state.incidents.values()] == ["INC-1"]


def test_one_at_which_the_agent_stumbles_holds_up_no_other() -> None:
    story = Telling(pol("a", "P2", gathering=Gathering(alone=True)))
    looks = story.agent.looks
    for name in ("INC-1", "INC-2", "INC-3"):
        looks.want(name, story.now)

    seen = []
    for name in looks.due(story.now):
        seen.append(name)
        break  # a bug

    assert seen == ["INC-1"]
    assert list(looks.due(story.now)) == ["INC-2", "INC-3"]
