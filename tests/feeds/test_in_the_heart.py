"""Lists that others keep, in stories: they choose who is found sooner, and never make a life-line or a crowd reachable."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent import policy as policies
from agent.feeds import followed
from agent.feeds.listing import Change, Listing
from agent.guard import Lifeline, Lifelines
from agent.messages import Fed, Learnt
from agent.people import lists_view
from agent.policy import Limits, Rate
from agent.say import sentence
from agent.schema import address
from agent.turn import watching
from agent.watching.networks import Networks
from tests.stories import Story, policy

ON_DROP = (policies.Test("src.ip", "list", ("drop",), "drop"),)
LISTED = policies.Clause((policies.Part("login", ON_DROP, policies.Count(3, timedelta(minutes=2))),), by=("src.ip",))


def story(*wanted: Any, **more: Any) -> Story:
    """A story in which others keep the list `drop`."""
    made = Story(**more)
    made.settings = made.agent.settings = replace(made.settings, feeds=("drop",))
    made.policies = wanted or (replace(policy(), when=(LISTED,)),)
    made.agent.policies = {one.name: one for one in made.policies}
    made.agent.watch = watching(made.agent)
    return made


def fed(one: Story, *networks: str, changed: bool = True, **more: Any) -> None:
    listing = Listing("https://lists.example.com/drop.txt", Networks(address(each) for each in networks), "abc", one.now, **more)
    one.tell(Fed("drop", listing, Change("refreshed", len(networks), 0) if changed else None))


def test_only_who_is_on_the_list_is_found() -> None:
    one = story()
    fed(one, "203.0.113.0/24")

    one.logins(3, "203.0.113.7")
    one.logins(9, "198.51.100.7")

    assert sorted(one.gate.shut) == ["203.0.113.7"]


def test_a_list_that_changes_leaves_every_window_and_all_evidence_as_they_were() -> None:
    one = story(replace(policy(), when=(LISTED,)), policy("others", least=3))
    fed(one, "203.0.113.7")
    one.logins(2, "203.0.113.7")
    watch = one.agent.watch

    fed(one, "203.0.113.7", "203.0.113.8")
    one.logins(1, "203.0.113.7")

    assert one.agent.watch is watch
    assert {record.body["policy"] for record in one.said("finding")} == {"guessing", "others"}
    assert all(len(record.body["evidence"]) == 3 for record in one.said("finding"))


def test_each_change_is_one_record_however_long_the_list_is_and_a_refresh_alone_is_none() -> None:
    one = story()
    fed(one, *(f"203.0.113.{at}" for at in range(200)))

    fed(one, *(f"203.0.113.{at}" for at in range(200)), changed=False)

    (record,) = one.said("feed")
    assert record.body == {
        "name": "drop", "entries": 200, "added": 200, "removed": 0, "digest": "abc", "because": "refreshed", "actor": "agent",
    }  # fmt: skip
    assert sentence(record) == "list drop has 200 networks, 200 new and 0 gone: refreshed"


def test_a_text_that_was_refused_is_a_record_and_changes_nothing() -> None:
    one = story()
    fed(one, "203.0.113.7")

    one.tell(Fed("drop", replace(one.agent.feeds["drop"].listing, offered=4), None, "it has 4 networks, and had 10"))

    assert sentence(one.said("feed_refused")[0]).endswith("the one of before stays: it has 4 networks, and had 10")
    assert one.agent.feeds["drop"].find("203.0.113.7")


def test_a_life_line_that_is_on_a_list_is_found_and_never_touched() -> None:
    one = story(never=["203.0.113.7"])
    fed(one, "203.0.113.0/24")

    one.logins(5, "203.0.113.7")

    assert one.gate.shut == {}
    assert "203.0.113.7 is a life-line, never touched" in one.said("refused")[0].body["because"]


def test_a_life_line_that_is_learnt_later_gets_off_though_the_list_names_it() -> None:
    one = story()
    fed(one, "203.0.113.7")
    one.logins(3, "203.0.113.7")

    one.tell(Learnt(Lifelines([Lifeline(address("203.0.113.7"), "an ssh login")]), one.agent.reading))
    one.logins(5, "203.0.113.7")

    assert one.gate.shut == {}


def test_a_whole_list_on_the_move_is_bounded_by_the_limits_of_the_guard() -> None:
    few = Limits(Rate(5, timedelta(minutes=10)))
    one = story(replace(policy(), when=(LISTED,), guard=few))
    fed(one, "203.0.113.0/24")

    for at in range(60):
        one.logins(3, f"203.0.113.{at}", every=0.01)

    assert len(one.gate.shut) == 5


NEVER: dict[str, Any] = {"guard": Limits(never=("drop",))}
UNLESS: dict[str, Any] = {"unless": ON_DROP}


@pytest.mark.parametrize("leaving", [NEVER, UNLESS])
def test_where_a_policy_leaves_alone_who_is_on_it_that_holds_and_lifts_what_is_in_force(leaving: Any) -> None:
    one = story(policy(**leaving))
    one.logins(3, "203.0.113.7")
    assert sorted(one.gate.shut) == ["203.0.113.7"]

    fed(one, "203.0.113.0/24")
    one.pass_by(1)
    assert one.gate.shut == {}
    one.logins(3, "203.0.113.8")

    assert one.gate.shut == {}
    said = [record.body["because"] for kind in ("refused", "left_alone") for record in one.said(kind)]
    assert any("drop (203.0.113.0/24)" in text or "the list `drop` (203.0.113.0/24)" in text for text in said)


def test_who_gets_off_such_a_list_can_be_contained_again() -> None:
    one = story(policy(**NEVER))
    fed(one, "203.0.113.0/24")
    one.logins(3, "203.0.113.7")

    fed(one, "198.51.100.0/24")
    one.logins(3, "203.0.113.7")

    assert sorted(one.gate.shut) == ["203.0.113.7"]


def test_people_put_nobody_on_a_list_that_others_keep_and_are_told_where_to() -> None:
    one = story()

    answer = one.ask("list_add", list="drop", address="203.0.113.7", seconds=60.0, why="x")

    assert answer["error"] == "others keep the list `drop`; put the address on one of never_touch"


def test_a_check_names_the_list_and_where_it_comes_from() -> None:
    one = story()
    fed(one, "203.0.113.0/24")

    answer = lists_view.check(one.agent, "203.0.113.7", one.now, {})

    (row,) = answer["items"]
    assert (row["list"], row["address"], row["from"]) == ("drop", "203.0.113.0/24", "feed")
    assert row["why"] == "203.0.113.0/24 is on it, says https://lists.example.com/drop.txt"
    assert answer["listed"]


def test_its_networks_come_in_pages() -> None:
    one = story()
    fed(one, *(f"203.0.113.{at}" for at in range(20)))

    page = followed.entries(one.agent, "drop", 5, 3)

    assert (page["entries"], page["items"]) == (20, ["203.0.113.5", "203.0.113.6", "203.0.113.7"])
    assert "known: drop" in followed.entries(one.agent, "dorp", 0, 1)["error"]


def test_a_list_that_agent_yaml_no_longer_names_is_passed_over() -> None:
    one = story()

    one.tell(Fed("gone", Listing(), Change("refreshed", 1, 0)))

    assert one.said("feed") == []
