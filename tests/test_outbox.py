"""Nothing that people are to be told is lost, and nothing is told twice where the channel can say: a story for each failure."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from agent import snapshot
from agent.notifying import delivered
from agent.notifying.delivering import LONGEST, URGENT
from agent.notifying.falling_back import PATIENCE
from agent.notifying.notice import Notice
from agent.notifying.outbox import MOST_NEWS, MOST_ROWS
from agent.notifying.picking import GIVE_UP
from agent.record import Record
from agent.say import sentence
from tests.posting import Board, Posting, Wall

HOUR = 3600.0


def slips(wall: Wall) -> list[int]:
    """The numbers of the notices whose news hang there, in order."""
    return [int(key.rpartition("/")[2]) for key, part in wall.shown if part == "slip"]


# In order, once -------------------------------------------------------------------------------------------------------------


def test_a_notice_is_told_to_each_channel_part_by_part_with_a_pause_between() -> None:
    story = Posting("hall", "yard")

    story.told(1, "opened")
    story.pass_by(5)

    for wall in story.walls.values():
        assert wall.shown == [("INC-7/1", "standing"), ("INC-7/1", "slip")]
        assert wall.tries[1] - wall.tries[0] >= Board.gap
    assert not story.outbox.lines["hall"].rows
    assert story.outbox.thread("hall", "board", "INC-7") == {"first": "INC-7/1", "last": "INC-7/1"}


def test_news_of_one_incident_stay_in_their_order_and_what_merely_stands_is_replaced_by_the_newest() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    for number in range(1, 6):
        story.told(number, "opened" if number == 1 else "changed")
    story.walls["hall"].manner = ""

    story.pass_by(HOUR)

    shown = story.walls["hall"].shown
    assert slips(story.walls["hall"]) == [1, 2, 3, 4, 5]
    assert [key for key, part in shown if part == "standing"] == ["INC-7/5"]


def test_what_is_urgent_goes_before_what_has_waited_for_longer() -> None:
    story = Posting("hall", slips=False)
    story.walls["hall"].manner = "busy"
    for number in range(20):
        story.told(1, "opened", incident=f"INC-{number}")
    story.told(1, "opened", "P0", incident="INC-99")
    story.walls["hall"].manner = ""

    story.pass_by(60)

    assert story.walls["hall"].shown[0] == ("INC-99/1", "standing")
    assert len(story.walls["hall"].shown) == 21


def test_a_channel_that_has_nothing_to_say_is_done_with_at_once() -> None:
    story = Posting("hall")

    story.told(1, "closed", "P0")
    story.pass_by(HOUR)

    assert not story.walls["hall"].tries
    assert not story.outbox.lines["hall"].rows
    assert not story.cries


def test_a_thread_of_another_type_of_channel_is_not_handed_on() -> None:
    story = Posting("hall")
    story.told(1, "opened")
    story.pass_by(5)

    assert story.outbox.thread("hall", "email", "INC-7") == {}
    assert story.outbox.thread("hall", "board", "INC-7")["first"] == "INC-7/1"


# Trouble --------------------------------------------------------------------------------------------------------------------


def test_tries_come_ever_less_often_up_to_five_minutes() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"

    story.told(1, "opened")
    story.pass_by(2 * HOUR)

    waits = [after - before for before, after in zip(story.walls["hall"].tries, story.walls["hall"].tries[1:], strict=False)]
    assert 0.5 <= waits[0] <= 2.0
    assert LONGEST / 2 <= max(waits) <= LONGEST + 5
    assert 20 < len(waits) < 70


def test_what_is_urgent_is_tried_again_within_half_a_minute() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"

    story.told(1, "opened", "P0")
    story.pass_by(HOUR)

    waits = [after - before for before, after in zip(story.walls["hall"].tries, story.walls["hall"].tries[1:], strict=False)]
    assert max(waits) <= URGENT + 5


def test_something_urgent_does_not_wait_for_the_next_try_of_something_small() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    story.told(1, "opened")
    story.pass_by(HOUR)
    story.walls["hall"].manner = ""

    story.told(1, "opened", "P0", incident="INC-8")

    assert story.walls["hall"].shown == [("INC-8/1", "standing")]


@pytest.mark.parametrize(("after", "least"), [(120.0, 120.0), (9 * HOUR, HOUR)])
def test_a_channel_that_asks_to_be_left_alone_is_for_an_hour_at_most(after: float, least: float) -> None:
    story = Posting("hall")
    story.walls["hall"].manner, story.walls["hall"].after = "busy", after

    story.told(1, "opened", "P0")
    story.told(2, "escalated", "P0")
    story.pass_by(least + 1)

    tries = story.walls["hall"].tries
    assert len(tries) == 2
    assert tries[1] - tries[0] == pytest.approx(least, abs=0.1)


@pytest.mark.parametrize("asks", [True, False])
def test_what_may_be_there_already_is_asked_for_and_comes_twice_only_where_nobody_can_say(asks: bool) -> None:
    story = Posting("hall", asks=asks)
    story.walls["hall"].manner = "silent"
    story.told(1, "opened")
    story.walls["hall"].manner = ""

    story.pass_by(60)

    assert story.walls["hall"].shown.count(("INC-7/1", "standing")) == (1 if asks else 2)
    assert slips(story.walls["hall"]) == [1]


def test_a_doubt_stays_until_the_channel_has_answered() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "silent"
    story.told(1, "opened")
    story.walls["hall"].manner = "busy"
    story.pass_by(30)
    story.walls["hall"].manner = ""

    story.pass_by(60)

    assert story.walls["hall"].shown == [("INC-7/1", "standing"), ("INC-7/1", "slip")]


def test_what_may_be_there_already_is_not_left_to_a_newer_one_that_cannot_know() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "silent"
    story.told(1, "opened")
    story.walls["hall"].manner = ""
    story.told(2)

    story.pass_by(60)

    sending = [(one.body["notice"], one.body["part"], one.body["doubtful"]) for one in story.said("sending")]
    assert sending[:2] == [("INC-7/1", "standing", False), ("INC-7/1", "standing", True)]
    assert slips(story.walls["hall"]) == [1, 2]


def test_one_that_the_channel_does_not_want_holds_nobody_else_up() -> None:
    story = Posting("hall")
    story.walls["hall"].refuses = {"INC-7/1"}
    story.told(1, "opened", "P0")
    story.told(2, "resolved", "P0")
    story.told(1, "opened", incident="INC-8")

    story.pass_by(120)

    assert story.walls["hall"].shown[0] == ("INC-7/2", "standing")
    assert ("INC-8/1", "slip") in story.walls["hall"].shown
    assert story.said("given_up")[0].body["because"] == "INC-7/2 got through before, and says that it is over"


def test_one_that_is_passed_is_told_after_all_but_how_things_stand_is_not_turned_back() -> None:
    story = Posting("hall")
    story.walls["hall"].refuses = {"INC-7/1"}
    story.told(1, "opened", "P0")
    story.pass_by(60)
    story.told(2, "escalated", "P0")
    story.pass_by(60)
    story.walls["hall"].refuses.clear()

    story.pass_by(120)

    assert story.walls["hall"].shown == [("INC-7/2", "standing"), ("INC-7/2", "slip"), ("INC-7/1", "slip")]


def test_one_at_which_the_channel_stumbles_holds_other_incidents_up_for_a_while_only() -> None:
    story = Posting("hall")
    story.walls["hall"].stumbles = {"INC-7/1"}
    story.told(1, "opened", "P0")
    for number in range(20):
        story.told(1, "opened", "P1", incident=f"INC-{number + 10}")

    story.pass_by(600)

    assert len(slips(story.walls["hall"])) == 20
    assert story.outbox.lines["hall"].find("INC-7/1").tries > 10


def test_a_wrong_key_costs_a_handful_of_calls_and_once_mended_all_goes_out_in_order() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "refuses"
    for number in range(1, 6):
        story.told(number, "opened" if number == 1 else "changed")
    story.pass_by(6 * HOUR)
    calls = len(story.walls["hall"].tries)
    story.walls["hall"].manner = ""

    story.reread()
    story.pass_by(10)

    assert calls < 120
    assert slips(story.walls["hall"]) == [1, 2, 3, 4, 5]


def test_a_bug_in_a_channel_is_in_doubt_and_no_end_of_anything() -> None:
    story = Posting("hall", "yard")
    story.walls["hall"].manner = "mad"

    story.told(1, "opened", "P0")
    story.pass_by(60)

    assert slips(story.walls["yard"]) == [1]
    assert {one.body["result"] for one in story.said("not_told")} == {"bug"}
    assert story.outbox.lines["hall"].find("INC-7/1").doubtful


def test_a_channel_that_hangs_starves_only_itself() -> None:
    story = Posting("hall", "yard")
    story.hangs = {"hall"}

    for number in range(1, 4):
        story.told(number, "opened" if number == 1 else "changed")
        story.pass_by(10)
    hung = len(story.out)
    story.hangs = set()
    story.hang_up(done=True)
    story.pass_by(60)

    assert hung == 1
    assert slips(story.walls["yard"]) == [1, 2, 3]
    assert slips(story.walls["hall"]) == [1, 2, 3]


def test_after_a_day_what_need_not_get_through_is_given_up_and_the_rest_never() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    story.told(1, "opened", "P1")
    story.told(2, "changed", "P1")
    story.told(3, "resolved", "P1")
    story.told(1, "opened", "P2", incident="INC-8")

    story.pass_by(GIVE_UP + HOUR)
    left = sorted(row.notice.key for row in story.outbox.lines["hall"].all())
    story.pass_by(7 * 86400)
    story.walls["hall"].manner = ""
    story.pass_by(2 * HOUR)

    assert left == ["INC-7/1", "INC-7/3"]
    assert slips(story.walls["hall"]) == [1, 3]
    assert sorted(key for one in story.said("given_up") for key in one.body["notices"]) == ["INC-7/2", "INC-8/1"]


# Bounds ---------------------------------------------------------------------------------------------------------------------


def test_a_channel_that_is_down_keeps_fifty_news_of_an_incident_and_then_says_how_many_it_left_out() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    for number in range(1, 201):
        story.told(number, "opened" if number == 1 else "changed", "P1" if number == 1 else "P2")
    story.walls["hall"].manner = ""

    story.pass_by(10 * 60)

    assert slips(story.walls["hall"]) == [1, *range(152, 201)]
    wall = story.walls["hall"]
    first = wall.news[wall.shown.index(("INC-7/152", "slip"))]
    assert first == "news 152 (150 earlier words were left out: they could not be told)"


def test_of_many_urgent_ones_of_one_incident_the_first_sorts_are_all_there_and_the_newest_of_each() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    whats: tuple[Any, ...] = ("opened", *("resolved", "reopened", "escalated") * 100)
    for number, what in enumerate(whats, 1):
        story.told(number, what, "P0")

    rows = list(story.outbox.lines["hall"].all())

    assert len(rows) <= MOST_NEWS
    assert rows[0].notice.key == "INC-7/1"
    assert [row.notice.number for row in rows[-3:]] == [299, 300, 301]


def test_a_million_notices_to_a_channel_that_is_down_stay_a_few() -> None:
    """A tenth of them here; the cost of each is the same for all."""
    story = Posting("hall")
    outbox = story.outbox
    made = story.told(1, "opened", "P0")._asdict()
    started = time.process_time()
    for number in range(100_000):
        name = f"INC-{number % 2000}"
        what = "opened" if number < 20 else "changed"
        body = {**made, "key": f"{name}/{number}", "incident": name, "what": what, "severity": "P0" if number < 20 else "P2"}
        outbox.fold(Record("notice", {"notice": body, "to": ["hall"]}), story.now + number)
    took = time.process_time() - started

    line = outbox.lines["hall"]
    assert line.count == sum(1 for _ in line.all()) <= MOST_ROWS
    assert sum(row.must for row in line.all()) == 21
    assert line.lost + sum(row.left_out for row in line.all()) + line.count == 100_001
    assert len(to_json(outbox.plain())) < 2 << 20
    assert took < 20


# Deaths ---------------------------------------------------------------------------------------------------------------------


def life(asks: bool) -> Posting:
    """Two channels, trouble in one of them, and all sorts of notices."""
    story = Posting("hall", "yard", asks=asks)
    story.told(1, "opened", "P1")
    story.pass_by(3)
    story.walls["yard"].manner = "busy"
    story.told(2)
    story.told(3, "acknowledged", "P1", acked_by="alice")
    story.pass_by(20)
    story.walls["yard"].manner = "silent"
    story.pass_by(20)
    story.walls["yard"].manner = ""
    story.told(4, "resolved", "P1")
    story.pass_by(HOUR)
    return story


def test_a_death_behind_any_record_loses_nothing_and_doubles_nothing_where_the_channel_can_say() -> None:
    whole = life(asks=True)
    count = len(whole.records)
    assert count > 20

    for at in range(count + 1):
        story = Posting("hall", "yard")
        kept = whole.records[:at]
        for name, wall in story.walls.items():  # what had been hung up by then hangs there still
            told = [
                (one.body["notice"], one.body["part"]) for _, one in kept if one.kind == "told" and one.body["channel"] == name
            ]
            out = kept[-1][1] if kept and kept[-1][1].kind == "sending" and kept[-1][1].body["channel"] == name else None
            wall.shown = told + ([(out.body["notice"], out.body["part"])] if out else [])
        story.now = kept[-1][0] if kept else story.now
        story.die(kept)
        story.pass_by(HOUR)

        expected = {one.body["notice"]["key"] for _, one in kept if one.kind == "notice"}
        for wall in story.walls.values():
            assert {key for key, part in wall.shown if part == "slip"} == expected
            assert len(wall.shown) == len(set(wall.shown))
            assert slips(wall) == sorted(slips(wall))
        assert not any(line.rows for line in story.outbox.lines.values())


def test_a_call_that_was_out_when_the_agent_died_is_in_doubt() -> None:
    story = Posting("hall")
    story.hangs = {"hall"}
    story.told(1, "opened")
    story.hangs = set()

    story.die()
    story.pass_by(2)

    assert story.said("sending")[1].body["doubtful"] is True


def test_a_snapshot_holds_all_that_the_records_say() -> None:
    story = Posting("hall", "yard", fallback=())
    story.walls["yard"].manner = "silent"
    story.hangs = {"hall"}
    story.told(1, "opened", "P0")
    story.told(2, "changed", "P0")
    before = to_json(snapshot.snapshot(story.agent.state)["books"])

    story.restart_from_snapshot()

    again = Posting("hall", "yard")
    again.outbox.restore(from_json(to_json(dict(snapshot.snapshot(story.agent.state)["books"])["outbox"])))
    assert b"INC-7/2" in before
    assert to_json(again.outbox.plain()) == to_json(story.outbox.plain())
    assert [row.doubtful for row in story.outbox.lines["hall"].all()] == [True, False]


@pytest.mark.parametrize("by", [HOUR, -HOUR, 30 * 86400.0, -30 * 86400.0])
def test_a_clock_that_is_set_neither_hurries_nor_holds_up_anything(by: float) -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    story.told(1, "opened", "P2")
    story.pass_by(100)
    tries = len(story.walls["hall"].tries)

    story.set_clock(by)
    straight = len(story.walls["hall"].tries)
    story.walls["hall"].manner = ""
    story.pass_by(LONGEST)

    assert straight == tries
    assert slips(story.walls["hall"]) == [1]


def test_what_waits_for_a_channel_that_agent_yaml_has_no_more_is_given_up_and_told_elsewhere() -> None:
    story = Posting("hall", "mail", fallback=("mail",))
    story.walls["hall"].manner = "busy"
    story.told(1, "opened", "P0")

    del story.boards["hall"]
    story.reread()
    story.pass_by(5)

    assert story.said("given_up")[0].body["because"] == "agent.yaml has no such channel any more"
    assert slips(story.walls["mail"]) == [1]


def test_nobody_is_called_any_more_while_the_agent_stops() -> None:
    story = Posting("hall")
    story.agent.stopping = True

    story.told(1, "opened", "P0")
    story.pass_by(5)

    assert not story.walls["hall"].tries


# Where nobody can be told ---------------------------------------------------------------------------------------------------


def test_an_urgent_one_that_nobody_gets_is_told_to_the_fallback_and_then_to_the_terminals() -> None:
    story = Posting("hall", "mail", fallback=("mail",))
    story.walls["hall"].manner = story.walls["mail"].manner = "busy"

    made = story.told(1, "opened", "P0")
    story.pass_by(PATIENCE - 1)
    early = list(story.walls["mail"].tries)
    story.pass_by(2)
    later = len(story.walls["mail"].tries)
    story.pass_by(PATIENCE)

    assert not early
    assert later >= 1
    (cry,) = story.cries
    assert cry.startswith(made.headline)
    assert "mail: cannot hang that up: the keeper is out" in cry
    assert [one["incident"] for one in delivered.shown(story.agent, story.now)["untold"]] == ["INC-7"]


def test_where_all_refuse_nobody_waits() -> None:
    story = Posting("hall", "mail", fallback=("mail",))
    story.walls["hall"].manner = "refuses"

    story.told(1, "opened", "P0")
    story.tick()

    assert story.walls["mail"].shown[0] == ("INC-7/1", "standing")
    assert not story.cries


def test_one_channel_that_was_told_is_enough_and_a_call_that_is_still_out_is_waited_for() -> None:
    story = Posting("hall", "yard", "mail", fallback=("mail",))
    story.walls["hall"].manner = "refuses"
    story.hangs = {"yard"}

    story.told(1, "opened", "P0")
    story.pass_by(20)
    waited = list(story.walls["mail"].tries)
    story.hangs = set()
    story.hang_up(done=True)
    story.pass_by(HOUR)

    assert not waited
    assert not story.walls["mail"].tries
    assert not story.cries


def test_the_terminals_hear_of_an_incident_once_in_half_an_hour() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    for number in range(1, 11):
        story.told(number, "opened" if number == 1 else "escalated", "P0")
        story.pass_by(300)

    assert len(story.cries) == 2
    assert len(story.said("cried")) == 10


@pytest.mark.parametrize(("severity", "what"), [("P2", "opened"), ("P0", "noted")])
def test_what_is_not_urgent_wakes_no_terminal(severity: str, what: str) -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"

    story.told(1, what, severity)
    story.pass_by(HOUR)

    assert not story.cries


def test_once_somebody_could_be_told_it_is_no_longer_red() -> None:
    story = Posting("hall")
    story.walls["hall"].manner = "busy"
    story.told(1, "opened", "P0")
    story.pass_by(60)
    red = delivered.shown(story.agent, story.now)
    story.walls["hall"].manner = ""

    story.pass_by(60)

    green = delivered.shown(story.agent, story.now)
    assert (red["channels"][0]["urgent"], len(red["untold"])) == (1, 1)
    assert red["channels"][0]["error"].startswith("cannot hang that up")
    assert (green["channels"][0]["unsent"], green["untold"], green["channels"][0]["error"]) == (0, [], "")
    assert green["channels"][0]["last"] is not None


def test_after_a_long_stop_the_channels_are_tried_before_anybody_cries() -> None:
    story = Posting("hall")
    story.hangs = {"hall"}
    story.told(1, "opened", "P0")
    story.hangs = set()

    story.now += HOUR
    story.die()
    story.pass_by(60)

    assert slips(story.walls["hall"]) == [1]
    assert not story.cries


# People try -----------------------------------------------------------------------------------------------------------------


def test_a_test_is_told_before_everything_else_and_answered() -> None:
    story = Posting("hall", "yard")
    story.walls["hall"].manner = "busy"
    for number in range(1, 9):
        story.told(number, "opened" if number == 1 else "changed")
    story.walls["hall"].manner = ""

    story.ask("notify_test", what="hall")
    story.pass_by(5)
    answer = story.replies[-1].body

    assert answer["result"] == "told"
    assert [one["channel"] for one in answer["channels"]] == ["hall"]
    assert story.walls["hall"].shown[0][0] == "TEST-1/1"


def test_a_test_of_a_severity_says_what_came_of_it_in_each_channel_and_is_not_tried_again() -> None:
    story = Posting("hall", "yard")
    story.walls["yard"].manner = "busy"

    story.ask("notify_test", what="P0")
    story.pass_by(5)
    answer = story.replies[-1].body
    story.walls["yard"].manner = ""
    story.pass_by(HOUR)

    assert answer["result"] == "partly"
    assert {one["channel"]: one["result"] for one in answer["channels"]} == {"hall": "told", "yard": "busy"}
    assert not story.walls["yard"].shown
    assert not story.cries


def test_nobody_waits_for_ever_for_a_test() -> None:
    story = Posting("hall")
    story.walls["hall"].manner, story.walls["hall"].after = "busy", HOUR
    story.told(1, "opened")

    story.ask("notify_test", what="hall")
    story.pass_by(26)
    answer = story.replies[-1].body
    story.walls["hall"].manner = ""
    story.pass_by(2 * HOUR)

    assert answer["channels"][0]["result"] == "unsent"
    assert "the keeper is out" in answer["error"]
    assert [key for key, _ in story.walls["hall"].shown if key.startswith("TEST")] == []


def test_a_dry_test_sends_nothing_and_says_what_it_would_send() -> None:
    story = Posting("hall")

    answer = story.ask("notify_test", what="P1", dry=True)

    assert answer["result"] == "would"
    assert answer["channels"] == [
        {
            "channel": "hall",
            "type": "board",
            "whom": "the board in the hall",
            "result": "would",
            "parts": ["standing", "slip"],
            "say": "",
        }
    ]
    assert answer["notice"]["headline"] == "P1 test: this is a test of the agent on db1. Nothing is wrong."
    assert not story.said("notice")


@pytest.mark.parametrize("what", ["hal", "P3", ""])
def test_a_test_of_what_is_not_there_says_what_there_is(what: str) -> None:
    story = Posting("hall")

    assert "hall" in story.ask("notify_test", what=what)["error"]


def test_what_waits_for_a_channel_can_be_thrown_away_by_a_person() -> None:
    story = Posting("hall", "yard")
    story.walls["hall"].manner = story.walls["yard"].manner = "busy"
    story.told(1, "opened", "P0")

    answer = story.ask("notify_drop", what="hall", why="they know")
    story.walls["hall"].manner = story.walls["yard"].manner = ""
    story.pass_by(60)

    assert answer["result"] == "dropped"
    assert answer["urgent"] == ["INC-7/1"]
    assert not story.walls["hall"].shown
    assert slips(story.walls["yard"]) == [1]
    assert sentence(story.said("given_up")[0]) == "hall is not told of INC-7/1 any more (alice (uid 1000)): they know"
    assert story.ask("notify_drop", what="hall", why="again")["result"] == "nothing"


def test_every_record_of_a_delivery_is_a_sentence() -> None:
    story = life(asks=True)
    said = [sentence(record) for _, record in story.records]

    assert "hall is told of INC-7/1 (standing)" in said
    assert "hall was told of INC-7/1 (slip)" in said
    assert any(one.startswith("yard was not told of INC-7/2 (busy): cannot hang that up") for one in said)
    assert not [one for one in said if one.startswith(("sending ", "told {", "not_told "))]


def test_the_next_moment_is_never_when_nothing_waits() -> None:
    from agent.notifying.delivering import next_due

    assert next_due(Posting("hall").agent) == math.inf
    assert isinstance(Posting("hall").told(1), Notice)
