"""Let go by what checks and senders say: ends that come early, a service that must answer first, and a check that flaps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent import policy as grammar
from agent import rounds
from agent.check import Answer, bad, good, unknown
from agent.event import Event
from agent.messages import ClockSet, Seen
from agent.policy import Clause, Of, Part, Policy, Step
from agent.recovery import health
from agent.recovery.rungs import Ladder, Proof, Recover
from agent.schema import Ttl, address
from tests.stories import Guard, Shut, Story, policy

MINUTE = 60.0
IP = "203.0.113.7"
_IP = address(IP)


def failing(*names: str, recover: Recover, by: tuple[str, ...] = ("name", "target"), then: Any = None, ttl: str = "2h") -> Policy:
    tests: tuple[grammar.Test, ...] = (grammar.Test("ok", "is", False, "false"),)
    tests += (grammar.Test("name", "in", frozenset(names), str(names)),) if names else ()
    steps = (Step(Shut, {"ip": _IP, "ttl": Ttl.read(ttl)}),) if then is None else then
    clause = Clause((Part("check", tests, Of(3, 5)),), by=by)
    return Policy("outage", "P1", (clause,), steps, title="It does not answer", digest="digest of outage", recover=recover)


class Checked(Story):
    """A story with checks that are asked every ten seconds."""

    def __init__(self, *policies: Policy, checks: tuple[str, ...] = ("shop",), **more: Any) -> None:
        super().__init__(*policies, **more)
        self.settings = replace(self.settings, checks=dict.fromkeys(checks, "http"))
        self.agent.settings = self.settings

    def says(self, *answers: Answer | bool | None, name: str = "shop", about: str = "") -> None:
        """One answer after the other: True is good, None unknown."""
        for one in answers:
            self.pass_by(10.0)
            self.tell(Seen([self.answer(one, name, about)]))

    def answer(self, one: Any, name: str, about: str) -> Event:
        said = {True: good("it answers"), False: bad("no answer"), None: unknown("it could not be asked")}.get(one, one)
        fields = {"name": name, "check": "http", "state": said.state, "say": said.say, "target": "shop.example", "about": about}
        fields |= {} if said.state == "unknown" else {"ok": said.state == "good"}
        return Event("check", self.now, fields, source=f"check:{name}", ts=self.now)

    @property
    def phase(self) -> str:
        return self.agent.state.incidents["INC-1"].phase

    @property
    def shut(self) -> bool:
        return bool(self.gate.shut)

    def phases(self) -> list[str]:
        return [one.body["phase"] for one in self.said("phase")]


OK = Recover(after="ok", ok=Proof())


# ok -----------------------------------------------------------------------------------------------------------------------


def test_three_good_answers_in_a_row_end_what_the_outage_brought() -> None:
    story = Checked(failing(recover=OK))
    story.says(False, False, False)
    held = story.shut

    story.says(True, True)
    still = story.shut
    story.says(True, True, True)

    assert (held, still, story.shut) == (True, True, False)
    assert story.said("end_moved")[0].body["because"] == "shop good again"


@pytest.mark.parametrize("between", [None, False])
def test_an_answer_between_that_is_not_good_begins_the_row_anew(between: bool | None) -> None:
    story = Checked(failing(recover=OK))
    story.says(False, False, False)

    story.says(True, True, between, True, True)
    story.pass_by(60)

    assert story.shut


def test_unknown_answers_end_nothing_however_long() -> None:
    story = Checked(failing(recover=OK))
    story.says(False, False, False)

    story.says(*[None] * 60)

    assert story.shut


def test_ok_for_a_time_wants_good_answers_at_both_ends_of_it() -> None:
    story = Checked(failing(recover=Recover(after="ok", ok=Proof(span=timedelta(minutes=2)))))
    story.says(False, False, False, True)
    story.pass_by(300)
    silent = story.shut

    story.says(True, True)
    story.pass_by(20)

    assert (silent, story.shut) == (True, False)


def test_what_was_good_before_a_mitigation_began_says_nothing_of_it() -> None:
    approved = (Step(Guard, {"ttl": Ttl.read("2h"), "ip": _IP}, asks=True),)
    story = Checked(failing(recover=OK, then=approved))
    story.says(False, False, False)
    story.says(True, True, True, True, True)

    story.ask("approve", what="A-1", why="sure", action=Guard(_IP, Ttl.read("2h")))
    story.pass_by(30)

    assert story.shut


def test_all_checks_of_a_policy_must_be_good_and_one_that_is_still_silent_after_a_start_is_not() -> None:
    story = Checked(failing("shop", "cart", recover=OK, by=()), checks=("shop", "cart"))
    story.says(False, False, False)
    story.says(False, name="cart")
    story.die_and_start_again()

    story.says(True, True, True, True, True)
    alone = story.shut
    story.says(True, True, True, True, name="cart")
    story.says(True)
    story.pass_by(20)

    assert (alone, story.shut) == (True, False)


def test_another_targets_good_answers_are_not_ours() -> None:
    story = Checked(failing(recover=OK), checks=("shop", "cart"))
    story.says(False, False, False)

    story.says(True, True, True, True, True, name="cart")
    story.pass_by(20)

    assert story.shut


def test_while_our_own_action_brings_the_answer_about_it_says_nothing() -> None:
    story = Checked(failing(recover=OK))
    story.says(False, False, False)
    one = story.agent.state.in_force()[0]
    story.agent.state.shadows.begin(
        one._replace(mutes=("check http",), change=replace(one.change, touches=("unit shop.service",)))
    )

    for _ in range(6):
        story.pass_by(10)
        story.tell(Seen([story.answer(True, "shop", "unit shop.service")]))
    story.pass_by(20)

    assert story.shut


def test_a_crash_right_after_the_row_neither_loses_the_end_nor_takes_it_twice() -> None:
    story = Checked(failing(recover=OK))
    story.says(False, False, False, True, True, True)
    story.dead = True
    story.pass_by(10)
    moved = len(story.said("end_moved"))

    story.die_and_start_again()
    story.pass_by(20)

    assert (moved, story.shut, len(story.said("end_moved"))) == (1, False, 1)


def test_ok_is_let_go_by_the_ladder_and_watched() -> None:
    ladder = Ladder(timedelta(minutes=10), 20, timedelta(minutes=10))
    story = Checked(failing(recover=replace(OK, release=ladder, watch=timedelta(minutes=30))))
    story.says(False, False, False, True, True, True)
    story.pass_by(20)
    for _ in range(120):
        story.says(True, True, True)

    assert [one.body["rung"] for one in story.said("released")] == ["limited", "observed", "watched", "off"]
    assert story.phases()[-1] == "resolved"


# resolved -----------------------------------------------------------------------------------------------------------------


def alert(status: str, at: float, fingerprint: str = "a1", name: str = "Flood") -> Event:
    fields = {"name": name, "status": status, "fingerprint": fingerprint, "src.ip": IP}
    return Event("alert", at, fields, source="intake:am", ts=at)


def told(recover: Recover) -> Policy:
    firing = grammar.Test("status", "is", "firing", "firing")
    clause = Clause((Part("alert", (firing,)),), by=("name",))
    step = Step(Shut, {"ip": _IP, "ttl": Ttl.read("2h")})
    return Policy("told", "P1", (clause,), (step,), digest="digest of told", recover=recover)


def test_what_an_alert_brought_ends_when_its_sender_resolves_the_last_of_them() -> None:
    story = Checked(told(Recover(after="resolved")))
    story.tell(Seen([alert("firing", story.now), alert("firing", story.now, "a2")]))
    story.pass_by(30)

    story.tell(Seen([alert("resolved", story.now)]))
    story.pass_by(30)
    one_left = story.shut
    story.tell(Seen([alert("resolved", story.now, "a2")]))
    story.pass_by(5)

    assert (one_left, story.shut) == (True, False)
    assert story.said("end_moved")[0].body["because"] == "intake:am says that it is over"


def test_another_alert_that_is_resolved_ends_nothing() -> None:
    story = Checked(told(Recover(after="resolved")))
    story.tell(Seen([alert("firing", story.now)]))
    story.pass_by(30)

    story.tell(Seen([alert("firing", story.now, "b1", "Other"), alert("resolved", story.now + 1, "b1", "Other")]))
    story.pass_by(30)

    assert story.shut


# The service must answer --------------------------------------------------------------------------------------------------

VERIFY = Recover()


def test_an_outage_is_resolved_only_when_the_service_answers_after_everything_was_let_go() -> None:
    story = Checked(failing(recover=VERIFY, ttl="10m"))
    story.says(False, False, False)
    story.pass_by(610)
    let_go = (story.shut, story.phase)

    story.says(True, True, True, True)
    story.pass_by(5)

    assert let_go == (False, "recovering")
    assert story.phase == "resolved"
    assert story.said("phase")[-1].body["because"] == "shop answered good 3 times in a row after everything was let go"
    assert any("resolved once shop answered good" in one for one in story.agent.state.incidents["INC-1"].told)


@pytest.mark.parametrize("answers", [[None] * 100, [True, None] * 50, []])
def test_one_that_does_not_answer_in_time_is_open_again_and_says_so(answers: list[bool | None]) -> None:
    story = Checked(failing(recover=VERIFY, ttl="10m"))
    story.says(False, False, False)
    story.pass_by(610)

    story.says(*answers)
    story.pass_by(901)

    assert story.phase == "open"
    assert "resolved" not in story.phases()


def test_a_crash_while_it_waits_changes_neither_its_end_nor_what_it_waits_for() -> None:
    story = Checked(failing(recover=VERIFY, ttl="10m"))
    story.says(False, False, False)
    story.pass_by(610)
    story.die_and_start_again()

    story.pass_by(60)
    silent = story.phase
    story.says(True, True, True)
    story.pass_by(5)

    assert (silent, story.phase) == ("recovering", "resolved")


def test_a_finding_while_it_waits_opens_it_at_once() -> None:
    story = Checked(failing(recover=VERIFY, ttl="10m"))
    story.says(False, False, False)
    story.pass_by(610)

    story.says(False, False, False)

    assert story.shut
    assert (story.phases()[-1], story.phase) == ("open", "contained")


def test_the_checks_to_wait_for_can_be_named() -> None:
    flood = policy(then=[Step(Shut, {"ttl": Ttl.read("10m")}, {"ip": "src.ip"})], recover=Recover(verify=("shop",)))
    story = Checked(flood)
    story.logins(3)
    story.says(False)
    story.pass_by(600)
    waits = story.phase

    story.says(True, True, True)
    story.pass_by(5)

    assert (waits, story.phase) == ("recovering", "resolved")


def test_an_incident_about_no_check_waits_for_none() -> None:
    story = Checked(policy(then=[Step(Shut, {"ttl": Ttl.read("10m")}, {"ip": "src.ip"})]))
    story.logins(3)

    story.pass_by(610)

    assert story.phase == "resolved"


def test_one_without_steps_is_not_over_while_its_check_says_nothing() -> None:
    story = Checked(failing(recover=VERIFY, then=()))
    story.says(False, False, False)
    story.says(*[None] * 240)
    silent = story.phase

    story.says(True, True, True)
    story.pass_by(1900)

    assert (silent, story.phase) == ("open", "resolved")


def test_the_hosts_clock_moves_what_it_waits_for_along() -> None:
    story = Checked(failing(recover=VERIFY, ttl="10m"))
    story.says(False, False, False)
    story.pass_by(610)

    story.now += 86400
    story.tell(ClockSet(86400.0))
    story.pass_by(5)
    waits = story.phase
    story.says(True, True, True)
    story.pass_by(5)

    assert (waits, story.phase) == ("recovering", "resolved")


# Flapping -----------------------------------------------------------------------------------------------------------------


def test_a_check_that_comes_and_goes_freezes_the_release_and_is_told_once() -> None:
    story = Checked(failing(recover=OK))
    story.says(False, False, False)
    for _ in range(4):
        story.says(True, False, False)

    story.says(*[True] * 6)
    story.pass_by(20)

    assert story.shut
    assert [one.body["because"] for one in story.said("release_frozen")] == ["shop flaps"]
    assert any(one.startswith("flapping: release is frozen") for one in story.agent.state.incidents["INC-1"].told)


@pytest.mark.parametrize(
    ("states", "least", "most"),
    [
        ((True,) * 21, 0.0, 0.0),
        ((True, False) * 10 + (True,), 99.9, 100.1),
        ((True,) * 20 + (False,), 6.2, 6.3),
        ((False,) + (True,) * 20, 3.7, 3.8),
        ((True, False), 6.2, 6.3),
    ],
)
def test_how_much_of_it_changes_is_reckoned_as_nagios_does(states: tuple[bool, ...], least: float, most: float) -> None:
    assert least <= health.percent(states) <= most


def test_an_outage_with_one_end_is_no_flapping() -> None:
    assert health.percent((True,) * 8 + (False,) * 5 + (True,) * 8) < health.STEADY


def test_it_is_steady_again_only_well_below_where_it_began() -> None:
    story = Checked(failing(recover=VERIFY, then=()))
    story.says(*(one for _ in range(8) for one in (True, False)))
    began = story.agent.answers["shop", "shop.example"].flaps

    seen = []
    for _ in range(21):
        story.says(True)
        row = story.agent.answers["shop", "shop.example"]
        seen.append((row.flaps, health.percent(row.states)))

    assert began
    assert all(flaps == (percent >= health.STEADY) for flaps, percent in seen)
    assert any(health.STEADY < percent < health.FLAPS for flaps, percent in seen if flaps)


def test_the_next_tick_is_never_in_the_past_while_something_waits() -> None:
    story = Checked(failing(recover=VERIFY, ttl="10m"))
    story.says(False, False, False)
    story.pass_by(610)

    assert rounds.next_due(story.agent, story.now) > story.now - 1
