"""People's lists: what is added counts at once, lifts what it must, says so when it refuses, ends by itself, and survives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from agent import policy as policies
from agent.guard import Lifeline, Lifelines
from agent.messages import Learnt, Lift
from agent.people import lists_view
from agent.people.listed import MOST, Lists
from agent.policy import Limits
from agent.record import Record
from agent.schema import address
from agent.snapshot import restore, snapshot
from agent.turn import watching
from tests.stories import T0, Gate, Story, policy, shut

DAY = 86400.0
UNLESS_OFFICE = (policies.Test("src.ip", "list", ("office",), "[office]"),)


def story(*wanted: Any, **more: Any) -> Story:
    """A story in which agent.yaml names the list `office`."""
    made = Story(**more)
    made.settings = made.agent.settings = replace(made.settings, lists={"office": (address("192.0.2.0/28"),)})
    made.policies = wanted or made.policies
    made.agent.policies = {one.name: one for one in made.policies}
    made.agent.watch = watching(made.agent)
    return made


def add(one: Story, name: str = "never_touch", ip: str = "203.0.113.7", seconds: float = DAY, **more: Any) -> Any:
    return one.ask("list_add", **{"list": name, "address": ip, "seconds": seconds, "why": "pentest", **more})


def remove(one: Story, ip: str = "203.0.113.7", name: str = "never_touch", **more: Any) -> Any:
    return one.ask("list_remove", **{"list": name, "address": ip, "why": "it is over", **more})


# Life-lines that people add -------------------------------------------------------------------------------------------------


def test_who_is_added_is_not_touched_by_policies_nor_people_and_the_refusal_says_who_until_when_why_and_the_mend() -> None:
    one = story()
    add(one)

    one.logins(3)
    ordered = one.ask("do", action=shut().action(ip=address("203.0.113.0/24"), ttl=shut().literal["ttl"]), why="now")

    assert one.gate.shut == {}
    said = "on never_touch until 2027-01-16 08:00:00Z, by alice (uid 1000): pentest"
    mend = "take it off: contain list remove never_touch 203.0.113.7"
    assert ordered["because"] == f"203.0.113.0/24 contains 203.0.113.7, never touched: {said}; {mend}"
    assert one.said("refused")[0].body["because"] == f"203.0.113.7 is a life-line, never touched: {said}; {mend}"


def test_adding_a_life_line_lifts_what_already_blocks_it_and_nothing_else() -> None:
    one = story()
    one.logins(3)
    one.logins(3, ip="203.0.113.8")

    answer = add(one)

    assert answer["result"] == "listed"
    assert answer["lifting"] == ["M-1"]
    assert sorted(one.gate.shut) == ["203.0.113.8"]
    (lifted,) = one.said("lifted")
    assert lifted.body["because"].startswith("203.0.113.7 is a life-line now: on never_touch until ")


def test_adding_a_network_lifts_all_that_lies_in_it_as_one_batch() -> None:
    one = story()
    for at in range(1, 21):
        one.logins(3, ip=f"203.0.113.{at}")
    one.dead = True

    effects = one.order("list_add", list="never_touch", address="203.0.113.0/24", seconds=DAY, why="ours")

    (lift,) = [effect for effect in effects if isinstance(effect, Lift)]
    assert len(lift.jobs) == 20


def test_what_is_being_applied_while_a_life_line_is_added_is_lifted_once_it_is_done() -> None:
    one = story()
    one.gate.broken = "silent"
    one.logins(3)
    one.agent.busy.add("M-1")
    answer = add(one)
    assert one.said("lifting") == []

    one.gate.broken = ""
    one.agent.busy.clear()
    one.pass_by(0.5)

    assert answer["lifting"] == ["M-1"]
    assert one.gate.shut == {}
    assert one.agent.owed == {}


def test_what_was_taken_off_again_before_anything_could_be_lifted_is_left_in_force() -> None:
    one = story()
    one.logins(3)
    one.agent.busy.add("M-1")
    add(one)
    remove(one)

    one.agent.busy.clear()
    one.pass_by(1)

    assert sorted(one.gate.shut) == ["203.0.113.7"]


def test_whoever_is_taken_off_can_be_contained_again() -> None:
    one = story()
    add(one)
    one.logins(3)

    answer = remove(one)
    one.logins(3)

    assert answer == {"result": "removed", "removed": 1}
    assert sorted(one.gate.shut) == ["203.0.113.7"]


def test_with_a_policy_only_that_one_leaves_it_alone_and_others_still_contain_an_attacker_inside() -> None:
    one = story(policy("scans"), policy("guessing"))
    one.logins(3)
    before = {held.policy for held in one.agent.state.in_force()}

    add(one, policies=["scans"])
    one.logins(3)

    assert before == {"scans"}
    assert {held.policy for held in one.agent.state.in_force()} == {"guessing"}
    assert any("this policy leaves it alone" in refused.body["because"] for refused in one.said("refused"))


def test_one_address_can_be_listed_for_all_and_for_some_and_each_goes_by_itself() -> None:
    one = story()
    add(one)
    add(one, policies=["guessing"], seconds=2 * DAY)

    scoped = remove(one, policies=["guessing"])
    one.logins(3)

    assert scoped["removed"] == 1
    assert one.gate.shut == {}


# Lists of agent.yaml --------------------------------------------------------------------------------------------------------


def test_an_entry_on_a_list_counts_for_unless_and_the_windows_stay_as_full_as_they_were() -> None:
    one = story(policy(unless=UNLESS_OFFICE))
    one.logins(2)
    one.logins(2, ip="203.0.113.8")

    add(one, "office")
    one.logins(1)
    one.logins(1, ip="203.0.113.8")

    assert sorted(one.gate.shut) == ["203.0.113.8"]
    assert "which is on the list office" in one.said("left_alone")[0].body["because"]


@pytest.mark.parametrize("leaving", [{"unless": UNLESS_OFFICE}, {"guard": Limits(never=("office",))}])
def test_an_entry_on_a_list_lifts_what_its_policies_would_leave_alone_now(leaving: Any) -> None:
    one = story(policy(**leaving), policy("other"))
    one.logins(3)
    before = {held.policy for held in one.agent.state.in_force()}

    answer = add(one, "office", "203.0.113.0/24")

    assert "guessing" in before
    assert answer["lifting"]
    assert "guessing" not in {held.policy for held in one.agent.state.in_force()}


def test_an_entry_on_a_list_is_refused_by_the_policies_that_never_touch_it_and_by_no_other() -> None:
    one = story(policy(guard=Limits(never=("office",))), policy("other"))
    add(one, "office")

    one.logins(3)

    assert {held.policy for held in one.agent.state.in_force()} == {"other"}
    refused = one.said("refused")[0].body["because"]
    assert refused.startswith("203.0.113.7 is on office until 2027-01-16")
    assert "this policy never touches that list; take it off: contain list remove office 203.0.113.7" in refused


# What is wrong --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "ofice"}, "no list is called `ofice`; known: never_touch, office; did you mean `office`?"),
        ({"name": "whitelist"}, "no list is called `whitelist`; known: never_touch, office"),
        ({"name": "office", "policies": ["guessing"]}, "a list counts for the policies that name it"),
        ({"policies": ["gessing"]}, "no policy is called `gessing`; did you mean `guessing`?"),
        ({"ip": "203.0.113.7/24"}, "has host bits set; for the containing network write 203.0.113.0/24"),
        ({"ip": "example.org"}, "`example.org` is neither an address nor a network"),
        ({"ip": "fe80::1%eth0"}, "is neither an address nor a network"),
        ({"ip": ""}, "neither an address nor a network"),
    ],
)
def test_a_mistake_is_told_with_its_mend_and_changes_nothing(asked: Any, said: str) -> None:
    one = story()

    answer = add(one, **asked)

    assert answer["result"] == "usage"
    assert said in answer["error"]
    assert one.said("listed") == []


@pytest.mark.parametrize(("ip", "waits"), [("10.0.0.0/8", False), ("8.0.0.0/7", True), ("2001::/19", False), ("2000::/18", True)])
def test_a_network_that_would_swallow_the_world_needs_a_second_yes(ip: str, waits: bool) -> None:
    one = story()

    answer, sure = add(one, ip=ip), add(one, ip=ip, sure=True)

    assert (answer["result"] == "waits") is waits
    assert sure["result"] in ("listed", "extended")


def test_ipv4_written_as_ipv6_is_the_same_address() -> None:
    one = story()

    answer = add(one, ip="::ffff:203.0.113.7")
    one.logins(3)

    assert answer["address"] == "203.0.113.7"
    assert one.gate.shut == {}


def test_added_again_it_stays_until_the_later_end_and_overlaps_are_told() -> None:
    one = story()
    add(one, seconds=2 * DAY)
    add(one, ip="203.0.113.0/24")

    shorter = add(one, seconds=DAY)

    assert shorter["result"] == "extended"
    assert shorter["until"] == T0 + 2 * DAY
    assert shorter["overlaps"] == ["203.0.113.0/24"]
    assert len(one.agent.state.lists.entries) == 2


def test_there_is_no_end_to_nothing_and_at_most_ten_thousand_entries() -> None:
    one = story()
    book = one.agent.state.lists
    for at in range(MOST):
        book.fold(listed(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"), T0)

    more, again = add(one), add(one, ip="10.0.0.1")

    assert more["error"] == "10,000 addresses are listed, and more there cannot be"
    assert again["result"] == "extended"


@pytest.mark.parametrize(
    ("ip", "said"),
    [
        ("198.51.100.4", "it is an established ssh peer"),
        ("203.0.113.9", "203.0.113.0/24 is: contain list remove never_touch 203.0.113.0/24"),
        ("192.0.2.99", "192.0.2.99 was not put on never_touch by anybody"),
    ],
)
def test_what_nobody_added_is_not_removed_and_the_answer_says_where_it_stands(ip: str, said: str) -> None:
    one = story(never=["198.51.100.4"])
    add(one, ip="203.0.113.0/24")

    answer = remove(one, ip)

    assert answer["result"] == "nothing"
    assert said in answer["because"]


# Ends, restarts, evidence ---------------------------------------------------------------------------------------------------


def test_an_entry_ends_by_itself_and_that_is_evidence() -> None:
    one = story()
    add(one, seconds=60)

    one.pass_by(61)
    one.logins(3)

    (over,) = one.said("unlisted")
    assert (over.body["actor"], over.body["why"]) == ("agent", "its time is over")
    assert sorted(one.gate.shut) == ["203.0.113.7"]


def test_entries_survive_a_crash_and_count_before_anything_else_does() -> None:
    one = story()
    add(one)
    add(one, "office")

    one.die_and_start_again()
    one.agent.watch = watching(one.agent)
    one.logins(3)

    assert one.gate.shut == {}
    assert len(one.agent.state.lists.entries) == 2


def test_what_was_blocked_while_the_agent_did_not_know_is_lifted_at_the_start() -> None:
    one = story()
    one.logins(3)
    one.lifelines = Lifelines([Lifeline(address("203.0.113.7"), "a name server of this host")])

    one.die_and_start_again()

    assert one.gate.shut == {}


def test_a_snapshot_holds_every_entry_as_plain_json() -> None:
    one = story()
    add(one)
    add(one, policies=["guessing"])
    add(one, "office", "2001:db8::/32")

    plain = json.loads(json.dumps(to_jsonable_python(snapshot(one.agent.state))))
    again = restore(plain, {"gate": Gate})

    assert again.lists.entries == one.agent.state.lists.entries


def test_a_jump_of_the_clock_moves_every_end() -> None:
    book = Lists()
    book.fold(listed("203.0.113.7", until=T0 + 60), T0)

    book.shift(3600)

    assert book.over(T0 + 3600) == []
    assert len(book.over(T0 + 3660)) == 1


def listed(ip: str, until: float = T0 + DAY) -> Record:
    body = {"list": "never_touch", "address": ip, "until": until, "actor": "alice", "why": "a test", "policies": []}
    return Record("listed", body)


# What is shown --------------------------------------------------------------------------------------------------------------


def test_everything_that_counts_is_shown_with_where_it_comes_from() -> None:
    one = story(never=["198.51.100.4"])
    add(one)

    rows = lists_view.show(one.agent)["items"]

    by_source = {row["from"]: row for row in reversed(rows)}
    assert by_source["added"]["by"] == "alice (uid 1000)"
    assert by_source["learnt"]["why"] == "an established ssh peer"
    assert by_source["agent.yaml"]["address"] == "192.0.2.0/28"
    assert by_source["always"]["why"] == "this network (RFC 1122)"


def test_a_check_says_what_leaves_an_address_alone_and_what_is_in_force_against_it() -> None:
    one = story(policy(guard=Limits(never=("office",))))
    one.logins(3)
    office = lists_view.check(one.agent, "192.0.2.5", one.now, {})
    blocked = lists_view.check(one.agent, "203.0.113.0/24", one.now, {})

    assert office["listed"]
    assert office["policies"] == [
        {"policy": "guessing", "because": "192.0.2.5 is on the list `office` (192.0.2.0/28), which this policy never touches"}
    ]
    assert not blocked["listed"]
    assert [held["id"] for held in blocked["in_force"]] == ["M-1"]
    assert "neither an address" in lists_view.check(one.agent, "nonsense", one.now, {})["error"]


def test_a_reload_lets_new_lines_count_and_lifts_what_reaches_them() -> None:
    one = story()
    one.logins(3)
    fresh = Lifelines([Lifeline(address("203.0.113.0/24"), "never_touch in agent.yaml")])

    one.tell(Learnt(fresh, one.agent.reading + 1))

    assert one.gate.shut == {}
    assert one.said("lifted")[0].body["because"] == "203.0.113.0/24 is a life-line now: never_touch in agent.yaml"
