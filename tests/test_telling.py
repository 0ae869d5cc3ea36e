"""When people are told of what: every change that matters once, and a flood of them in a handful of notices."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import gathering
from agent.messages import ClockSet, Seen, Tick
from agent.notifying.routes import Routes
from agent.policy import Gathering, Limits
from agent.record import Record
from agent.state import BOOKS
from tests.stories import T0, Story, login, policy, shut
from tests.telling import CHANNELS, ROUTES, Telling, by


def urgent(name: str = "guessing", severity: Any = "P1", **more: Any) -> Any:
    return replace(policy(name, **more), severity=severity)


# The first notice -----------------------------------------------------------------------------------------------------------


def test_an_urgent_one_that_is_contained_at_once_is_one_notice_that_says_so() -> None:
    story = Telling(urgent())

    story.logins(3)
    story.live(60)

    ((notice, to),) = story.told
    assert (notice.what, notice.phase, notice.severity, notice.key) == ("opened", "contained", "P1", "INC-1/1")
    assert to == ["phone", "chat"]
    assert "Contained in 0.0 s." in notice.headline


def test_an_urgent_one_that_is_still_being_worked_on_is_told_after_two_seconds_and_its_containment_when_it_comes() -> None:
    story = Telling(urgent())
    story.dead = True
    for at in range(3):
        story.tell(Seen([login(at=T0 + at)]))

    told = []
    for _ in range(4):
        story.pass_by(0.5)
        told.append(list(story.whats))

    assert told == [[], [], [], ["opened"]]
    assert "not contained." in story.last.headline


def test_an_urgent_one_about_which_nothing_can_be_done_is_told_at_once() -> None:
    story = Telling(urgent(then=[shut()]))
    story.gate.broken = "refuses"

    for _ in range(3):
        story.tell(Seen([login()]))

    assert story.whats == ["opened"]
    assert any("stuck" in line for line in story.last.did)


def test_a_lesser_one_waits_half_a_minute_for_what_belongs_to_it() -> None:
    story = Telling()
    for house in range(3):
        story.logins(3, f"203.0.113.{house}", every=0.1)

    story.live(25)
    early = list(story.whats)
    story.live(10)

    assert early == []
    ((notice, to),) = story.told
    assert to == ["chat"]
    assert notice.many == 3
    assert "3 addresses" in notice.headline


def test_no_channel_is_no_notice_and_nobody_told_of_a_policy_that_says_off() -> None:
    silent = Telling(routes=Routes())
    off = Telling(replace(urgent(), notify=()))

    for story in (silent, off):
        story.logins(3)
        story.live(5 * 3600, 60)

    assert (silent.told, off.told) == ([], [])


def test_a_policy_names_its_own_channels() -> None:
    story = Telling(replace(urgent(), notify=("mail",)))

    story.logins(3)
    story.live(5)

    assert story.told[0][1] == ["mail"]


# Changes ----------------------------------------------------------------------------------------------------------------------


def test_its_end_is_told_at_once_and_to_everybody_who_was_ever_told() -> None:
    story = Telling(policy(then=[shut("10m")]))
    story.logins(3)
    story.live(60)
    story.ask("severity", what="INC-1", severity="P1", why="it is worse")
    story.live(10)

    story.live(2700, 30)

    assert story.whats == ["opened", "changed", "resolved"]
    assert set(story.told[-1][1]) == {"chat", "phone"}
    assert "Over; it lasted" in story.last.headline


def test_who_is_on_it_is_told_once() -> None:
    story = Telling(urgent())
    story.logins(3)

    story.ask("acknowledge", what="INC-1")
    story.live(600)

    assert story.whats == ["opened", "acknowledged"]
    assert "alice is on it." in story.last.headline
    assert story.last.need == ()


def test_one_that_goes_on_again_is_told_as_reopened_and_wants_an_answer_again() -> None:
    story = Telling(policy(then=[shut("10m")]))
    story.logins(3)
    story.live(60)
    story.ask("acknowledge", what="INC-1")
    story.live(3600, 30)

    story.logins(3)
    story.live(10)

    assert story.whats == ["opened", "acknowledged", "resolved", "reopened"]
    assert story.last.acked_by == ""
    assert story.last.need[-1] == "contain ack INC-1"


def test_new_targets_are_told_at_most_every_five_minutes() -> None:
    story = Telling()
    story.logins(3, "203.0.113.1", every=0.1)
    story.live(60)

    for house in range(2, 60):
        story.logins(3, f"203.0.113.{house}", every=0.1)
        story.live(10)

    assert 2 <= story.whats.count("changed") <= 3
    assert story.whats[0] == "opened"


def test_a_note_is_told_and_stands_in_no_second_notice() -> None:
    story = Telling(urgent())
    story.logins(3)
    story.live(60)

    story.ask("note", what="INC-1", text="it is our\nscanner <!channel>")
    story.live(1200)

    assert story.whats == ["opened", "noted"]
    assert story.last.news == "alice (uid 1000): it is our\\nscanner <!channel>"


def test_what_nobody_acknowledges_comes_again_after_four_hours() -> None:
    story = Telling(policy(then=[shut("2d")]))
    story.logins(3)
    story.live(40)

    story.live(4 * 3600, 30)

    assert story.whats == ["opened", "escalated"]
    assert "nobody has acknowledged it within 4 h" in story.last.news
    story.live(4 * 3600, 30)
    assert story.whats == ["opened", "escalated", "changed"]
    assert story.last.news == "nobody has acknowledged it for 8 h"


def test_one_that_is_not_contained_is_told_every_half_hour() -> None:
    story = Telling(urgent(then=[shut()]))
    story.gate.broken = "refuses"
    story.logins(3)
    story.ask("acknowledge", what="INC-1")
    before = len(story.told)

    for _ in range(8):
        story.live(600, 30)
        story.logins(3)

    updates = [notice.news for notice, _ in story.told[before:]]
    assert 2 <= len(updates) <= 3
    assert all("not contained" in one for one in updates)


def test_a_question_to_people_is_told_at_once_with_the_command_that_answers_it() -> None:
    story = Telling(policy(then=[replace(shut(), asks=True)]))

    story.logins(3)
    story.live(40)

    assert story.last.need[-1] == "contain approve A-1"
    assert story.whats == ["opened"]


def test_what_is_merged_comes_to_its_end_for_those_who_were_told_of_it() -> None:
    alone = Gathering(alone=True)
    story = Telling(urgent("one", gathering=alone), urgent("other", gathering=alone, least=4))
    story.logins(5)
    story.live(10)

    story.ask("merge", what="INC-2", into="INC-1", why="the same")
    story.live(10)

    closing = next(notice for notice, _ in story.told if notice.what == "closed")
    assert closing.key == "INC-2/2"
    assert "told with INC-1" in closing.headline


# Whom nobody wakes --------------------------------------------------------------------------------------------------------------


def test_a_dry_run_is_told_once_as_such() -> None:
    story = Telling(urgent(), mode="dry_run")

    story.logins(3)
    story.live(2 * 3600, 30)

    ((notice, _),) = story.told
    assert notice.dry
    assert "Dry run: nothing is done about it." in notice.headline
    assert not notice.urgent


def test_minor_ones_are_told_once_a_day_in_one_notice() -> None:
    story = Telling(urgent("a", "P3"), urgent("b", "P3", least=4))
    story.logins(5)

    story.live(86400, 300)

    ((notice, to),) = story.told
    assert to == ["chat"]
    assert "2 minor incidents" in notice.headline
    assert len(notice.saw) == 2


def test_minor_ones_with_a_route_are_told_one_by_one() -> None:
    story = Telling(urgent("a", "P3"), routes=replace(ROUTES, by={**ROUTES.by, "P3": ("mail",)}))
    story.logins(3)

    story.live(400)

    assert [(notice.what, to) for notice, to in story.told] == [("opened", ["mail"])]


def test_nobody_is_told_of_what_is_silenced_and_what_still_goes_on_is_told_when_the_silence_ends() -> None:
    story = Telling(urgent(then=[shut("5h")]))
    story.ask("silence", policy="guessing", seconds=1800.0, why="we know")
    story.logins(3)
    story.live(1700, 10)
    silent = list(story.whats)

    story.live(120, 10)

    assert silent == []
    assert story.whats == ["opened"]


def test_what_began_and_ended_in_silence_is_never_told() -> None:
    story = Telling(urgent(then=[shut("5m")]))
    story.ask("silence", policy="guessing", seconds=7200.0, why="we know")
    story.logins(3)

    story.live(3 * 3600, 30)

    assert story.told == []


def test_the_end_of_what_was_told_is_told_after_the_silence_in_which_it_came() -> None:
    story = Telling(urgent(then=[shut("5m")]))
    story.logins(3)
    story.live(10)
    story.ask("silence", policy="guessing", seconds=7200.0, why="we know")
    story.live(7100, 30)
    before = list(story.whats)

    story.live(200)

    assert before == ["opened"]
    assert story.whats == ["opened", "resolved"]


# Strangers ----------------------------------------------------------------------------------------------------------------------


def test_strangers_hear_of_an_outage_by_itself_and_of_an_attack_only_after_a_persons_yes() -> None:
    outage = Telling(urgent(gathering=Gathering("availability")))
    attack = Telling(urgent(gathering=Gathering("security")))
    for story in (outage, attack):
        story.logins(3)
        story.live(10)
    before = [story.told[0][1] for story in (outage, attack)]

    answer = attack.ask("publish", what="INC-1", why="customers ask")

    assert before == [["phone", "chat", "page"], ["phone", "chat"]]
    assert answer["result"] == "published"
    assert "page" in attack.told[-1][1]
    assert outage.ask("publish", what="INC-9", why="x")["result"] == "failed"


def test_strangers_hear_nothing_of_lesser_ones_of_notes_and_of_who_is_on_it() -> None:
    story = Telling(urgent(gathering=Gathering("availability")))
    story.logins(3)
    story.ask("acknowledge", what="INC-1")
    story.ask("note", what="INC-1", text="x")
    story.live(60)

    assert ["page" in to for _, to in story.told] == [True, False, False]
    lesser = Telling(policy(gathering=Gathering("availability")))
    lesser.logins(3)
    assert lesser.ask("publish", what="INC-1", why="x")["result"] == "refused"


# A flood ------------------------------------------------------------------------------------------------------------------------


def test_ten_thousand_at_once_are_a_handful_of_notices_and_cost_next_to_nothing_each() -> None:
    wide = Limits(max=None, max_active=100_000, cooldown=None)
    times = []
    for kind in (Story, Telling):
        story = kind(urgent(least=1), limits=wide)
        houses = [f"10.{one >> 8 & 255}.{one & 255}.1" for one in range(10_000)]
        events = [login(house) for house in houses]
        begun = time.process_time()
        for at in range(0, len(events), 100):
            story.tell(Seen(events[at : at + 100]))
            story.now += 0.05
        story.tell(Tick())
        times.append(time.process_time() - begun)

    assert isinstance(story, Telling)
    story.live(600, 30)
    assert len(story.agent.state.incidents) == 10_000
    assert 1 <= len(story.told) <= 5
    assert story.last.many == 10_000
    assert times[1] < 1.5 * times[0] + 1.0


# The agent itself ---------------------------------------------------------------------------------------------------------------


def test_people_are_told_of_a_bug_once_however_often_it_comes() -> None:
    story = Telling()
    for _ in range(50):
        story.agent.state.tellings.fold(Record("bug", {"error": "TypeError: x", "item": "Seen"}), story.now)
        story.live(5)

    assert [notice.policy for notice, _ in story.told] == ["agent.bug"]
    assert "TypeError: x" in story.last.saw[0]


def test_people_are_told_that_evidence_cannot_be_written_and_that_it_can_again() -> None:
    story = Telling()
    story.agent.evidence = "cannot write: the disk is full"
    story.live(3600, 30)
    story.agent.evidence = ""
    story.live(60)

    first, last = story.told[0][0], story.told[-1][0]
    assert (first.policy, first.what, last.what) == ("agent.evidence", "opened", "resolved")
    assert "the disk is full" in first.saw[0]


def test_people_are_told_of_a_lost_journal_until_somebody_has_seen_to_it() -> None:
    story = Telling()
    body = {"because": "it was broken", "aside": "/x", "incident": 0, "mitigation": 0, "known": True, "mend": "look at the disk"}
    story.agent.state.mishaps.fold(Record("journal_lost", body), story.now)
    story.live(3600, 30)

    story.agent.state.mishaps.fold(Record("mishaps_accepted", {}), story.now)
    story.live(10)

    assert [notice.what for notice, _ in story.told if notice.what != "changed"][-1] == "resolved"
    assert story.told[0][0].policy == "agent.journal"


# kill -9 ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, 40))
def test_after_a_kill_behind_any_record_people_know_all_that_happened_and_nothing_twice(cut: int) -> None:
    story = Telling(urgent(then=[shut("10m")]))
    story.logins(3)
    story.live(30)
    story.ask("acknowledge", what="INC-1")
    story.ask("note", what="INC-1", text="looking")
    story.live(3600, 60)
    story.records = story.records[:cut]
    story.now = story.records[-1][0] + 1

    story.die()
    story.live(2 * 3600, 60)

    known = story.agent.state.incidents
    if "INC-1" in known:
        assert story.whats[0] in ("opened", "resolved")
        assert story.whats.count("opened") <= 1
        assert story.whats.count("acknowledged") <= 1
        assert story.whats.count("noted") <= 1
        assert known["INC-1"].phase in ("resolved", "closed")
        assert story.whats.count("resolved") == 1
    assert len({notice.key for notice, _ in story.told}) == len(story.told)


def test_a_snapshot_holds_what_was_told() -> None:
    story = Telling(urgent())
    story.logins(3)
    story.ask("note", what="INC-1", text="looking")

    story.restart_from_snapshot()
    story.live(600)

    assert story.whats == ["opened", "noted"]
    assert "tellings" in BOOKS


def test_channels_that_come_with_a_reload_are_told_of_what_goes_on() -> None:
    story = Telling(urgent(then=[shut("5h")]), routes=Routes())
    story.logins(3)
    story.live(600)

    story.agent.settings = replace(story.settings, routes=Routes(CHANNELS, by(P1=["chat"])))
    story.live(10)

    assert [to for _, to in story.told] == [["chat"]]
    assert "late" in story.last.news


def test_an_hour_of_the_hosts_clock_is_not_an_hour_without_an_answer() -> None:
    story = Telling(policy(then=[shut("12h")]))
    story.logins(3)
    story.live(60)

    story.now += 5 * 3600
    story.tell(ClockSet(5 * 3600))
    story.live(60)

    assert story.whats == ["opened"]


# Everything at once -------------------------------------------------------------------------------------------------------------

HOUSES = ["203.0.113.7", "203.0.113.8", "203.0.113.9"]
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "logins",
                "logins",
                "time",
                "time",
                "ack",
                "note",
                "worse",
                "undo",
                "silence",
                "speak",
                "reopen",
                "none",
                "kill",
                "cut",
            ]
        ),
        st.integers(0, 2),
    ),
    min_size=3,
    max_size=25,
)


def act(story: Telling, deed: str, dice: int) -> None:  # noqa: C901 - a table
    leads = [one.id for one in story.agent.state.incidents.values()]
    one = leads[dice % len(leads)] if leads else "INC-1"
    match deed:
        case "logins":
            story.logins(3, HOUSES[dice], every=0.5)
        case "time":
            story.live((3.0, 400.0, 4000.0)[dice], (0.5, 20.0, 60.0)[dice])
        case "ack":
            story.ask("acknowledge", what=one)
        case "note":
            story.ask("note", what=one, text=f"note {dice}")
        case "worse":
            story.ask("severity", what=one, severity=("P2", "P1", "P0")[dice], why="so")
        case "undo":
            story.ask("undo", what="all", why="mine")
        case "silence":
            story.ask("silence", target=HOUSES[dice], seconds=600.0, why="known")
        case "speak":
            story.ask("end_silence", what="all")
        case "reopen":
            story.ask("reopen", what=one, why="not over")
        case "none":
            story.ask("false_positive", what=one, why="our scanner")
        case "cut":  # the last turn's records, or some of them, never came to be
            if len(story.records) > 3:
                story.records = story.records[: -1 - dice]
            story.gate.shut.clear()
            story.die()
        case _:
            story.restart_from_snapshot() if dice else story.die()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deeds=DEEDS)
def test_whatever_happens_in_whatever_order_people_know_how_it_ended_and_hear_nothing_twice(
    deeds: list[tuple[str, int]],
) -> None:
    story = Telling(
        urgent(then=[shut("10m")]), replace(policy("other", least=4, then=[shut("20m")]), gathering=Gathering(alone=True))
    )
    for deed, dice in deeds:
        act(story, deed, dice)

    story.ask("end_silence", what="all")
    story.live(3 * 3600, 60)

    state = story.agent.state
    assert len({notice.key for notice, _ in story.told}) == len(story.told)
    for lead in (one for one in state.incidents.values() if not one.lead):
        known = state.tellings.of(lead.id)
        heard = [notice.what for notice, _ in story.told if notice.incident == lead.id]
        seen = gathering.picture(state, lead.id)
        assert seen is not None
        if not heard:  # it was none, or began and ended in silence
            assert lead.false or lead.resolved is not None
            continue
        assert known.phase in ("resolved", "closed") if seen.phase in ("resolved", "closed") else known.phase == seen.phase
        assert heard.count("opened") <= 1
        ends = [what for what in heard if what in ("resolved", "closed", "reopened")]
        assert all(one != after for one, after in itertools.pairwise(ends))  # resolved and closed, or one of them, then reopened
        assert heard.count("noted") <= sum(one.incident == lead.id for one in story.said("noted"))
    assert not any(one.news for one in state.tellings.all.values() if one.number and not state.incidents[one.id].lead)


def test_what_is_left_of_a_worse_one_is_in_the_daily_list() -> None:
    story = Telling(urgent("a", "P3", then=[shut("2d")]))
    story.logins(3)
    story.logins(3, "203.0.113.8")
    known = story.agent.state.incidents
    known["INC-1"] = known["INC-1"]._replace(severity="P2", phase="resolved", resolved=story.now)

    story.live(86400, 300)

    assert [notice.incident for notice, _ in story.told] == ["INC-1"]
