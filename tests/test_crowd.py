"""More targets than a policy may act on: one incident for all, one rung up, its overflow steps, and never silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from pydantic_core import from_json, to_json

from agent import snapshot
from agent.crowd import MANY
from agent.messages import Asked, Plan, Planned, Seen
from agent.policy import Limits, Policy, Rate, Step
from agent.schema import Ttl, address
from tests.stories import Gate, Shut, Story, login, policy, shut


def limited(most: int = 3, **more: Any) -> Policy:
    """Acts at the first event of an address, at most so often in ten minutes."""
    guard = Limits(max=Rate(most, timedelta(minutes=10)), **more)
    return policy("flood", then=[shut()], least=1, guard=guard)


def flood(story: Story, count: int, net: str = "198.51.100") -> None:
    for last in range(1, count + 1):
        story.tell(Seen([login(f"{net}.{last}", story.now)]))


def crowd_of(story: Story) -> Any:
    return next((one for one in story.agent.state.incidents.values() if one.target == MANY), None)


def test_beyond_its_rate_a_policy_opens_one_incident_for_all_and_a_rung_higher() -> None:
    story = Story(limited(3))

    flood(story, 200)

    assert len(story.agent.state.incidents) == 4
    assert crowd_of(story).severity == "P1"
    assert "3 targets were found, and this policy allows 3 per 10m" in crowd_of(story).because
    assert len(story.gate.shut) == 3


def test_what_goes_on_is_told_once_a_minute_with_how_many_more_and_who_came_last() -> None:
    story = Story(limited(3))
    flood(story, 100)

    story.pass_by(61)
    flood(story, 50, "203.0.113")

    told = [one.body["because"] for one in story.said("finding") if one.body["target"] == MANY]
    assert len(told) == 2
    assert "97 more findings" in told[1]
    assert "203.0.113.1" in told[1]


def test_its_overflow_steps_run_once_for_all_of_them_and_again_when_they_are_over() -> None:
    step = Step(Shut, {"ip": address("198.51.100.0/24"), "ttl": Ttl.read("10m")})
    story = Story(limited(3, overflow=(step,)))

    flood(story, 100)
    first = dict(story.gate.shut)
    story.pass_by(60)
    flood(story, 100)
    again = story.gate.closings
    story.pass_by(550)
    flood(story, 200)

    assert "198.51.100.0/24" in first
    assert again == 4
    assert "198.51.100.0/24" in story.gate.shut


def test_a_dry_run_overflows_in_the_same_way_and_does_nothing() -> None:
    step = Step(Shut, {"ip": address("198.51.100.0/24"), "ttl": Ttl.read("10m")})
    story = Story(limited(3, overflow=(step,)), mode="dry_run")

    flood(story, 100)

    assert not story.gate.shut
    assert [one.body["target"] for one in story.said("would")][-1] == "198.51.100.0/24"


def test_when_it_calms_down_each_target_is_an_incident_of_its_own_again() -> None:
    story = Story(limited(3))
    flood(story, 100)

    story.pass_by(601)
    story.tell(Seen([login("203.0.113.77", story.now)]))

    assert "203.0.113.77" in story.gate.shut


def test_another_policy_is_not_held_up_by_the_flood() -> None:
    story = Story(limited(3), policy("quiet", then=[shut()], least=3))
    flood(story, 100)

    story.logins(3, "203.0.113.9")

    assert "203.0.113.9" in story.gate.shut


def test_a_limit_of_agent_yaml_bounds_policies_that_say_nothing() -> None:
    story = Story(policy("flood", then=[shut()], least=1), limits=Limits(max=Rate(5, timedelta(minutes=10))))

    flood(story, 100)

    assert len(story.agent.state.incidents) == 5, "four of five, and one for all others"
    assert "4 mitigations were made, and agent.yaml, which keeps a fifth for P0 and P1, allows 4" in crowd_of(story).because


def test_a_fifth_of_what_agent_yaml_allows_is_kept_for_what_is_most_severe() -> None:
    urgent = replace(policy("urgent", then=[shut()], least=3), severity="P0")
    story = Story(policy("flood", then=[shut()], least=1), urgent, limits=Limits(max=Rate(5, timedelta(minutes=10))))
    flood(story, 100)

    story.logins(3, "203.0.113.9")

    assert "203.0.113.9" in story.gate.shut


def test_an_attacker_cannot_use_up_peoples_hands() -> None:
    story = Story(policy("flood", then=[shut()], least=1), limits=Limits(max=Rate(5, timedelta(minutes=10)), max_active=5))
    flood(story, 100)

    answers = [story.ask("do", action=Shut(address(f"203.0.113.{n}"), Ttl.read("1h")), why="by hand") for n in range(1, 9)]

    assert {one["result"] for one in answers} == {"in_force"}


def test_what_failed_is_tried_again_soon_and_not_after_a_whole_cooldown() -> None:
    story = Story(policy(guard=Limits(cooldown=timedelta(hours=1))))
    story.gate.broken = "refuses"
    story.logins(3, "203.0.113.2")
    story.logins(20, "203.0.113.2")
    story.gate.broken = ""

    story.pass_by(31)
    story.logins(1, "203.0.113.2")

    assert len(story.said("failed")) == 1
    assert "203.0.113.2" in story.gate.shut


def test_a_million_strangers_cost_the_state_nothing() -> None:
    story = Story(policy("only-reports", least=1), limits=Limits(max=Rate(100, timedelta(minutes=10))))
    story.dead = True

    for number in range(20_000):
        story.tell(Seen([login(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", story.now)]))

    assert len(story.agent.state.incidents) == 101
    assert len(story.records) < 300


def test_after_a_crash_the_rate_still_counts() -> None:
    story = Story(limited(3))
    flood(story, 100)

    story.die_and_start_again()
    flood(story, 100, "203.0.113")

    assert len(story.gate.shut) == 3
    restored = snapshot.restore(from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float")), {"gate": Gate})
    assert restored.opened == story.agent.state.opened


# Beyond a rate, a person ----------------------------------------------------------------------------------------------------


def approve(story: Story, what: str) -> Any:
    one = story.agent.state.approvals.all[what]
    act = Shut(address(one.target), Ttl.read("1h"))
    story.tell(Asked("approve", {"what": what, "why": "yes", "action": act}, "alice (uid 1000)"))
    return story.replies[-1].body


def test_above_its_rate_one_person_is_asked_once_for_all_that_follow() -> None:
    story = Story(limited(50, above=Rate(3, timedelta(minutes=10))))
    flood(story, 10)

    waiting = [one.id for one in story.agent.state.approvals.waiting]
    before = len(story.gate.shut)
    approve(story, "A-1")
    story.pass_by(60)
    flood(story, 20)

    assert waiting == ["A-1"]
    assert before == 3
    assert len(story.gate.shut) == 20


def test_the_yes_ends_with_the_time_of_the_rate() -> None:
    story = Story(limited(500, above=Rate(3, timedelta(minutes=10))))
    flood(story, 10)
    approve(story, "A-1")

    story.pass_by(601)
    flood(story, 20, "203.0.113")

    assert [one.id for one in story.agent.state.approvals.waiting] == ["A-2"]


# A share of what there is -----------------------------------------------------------------------------------------------


def clients(count: int) -> dict[str, list[Any]]:
    return {"client": [ip_address(f"192.0.2.{last}") for last in range(1, count + 1)]}


class Busy(Story):
    """A story in which so many clients are connected."""

    there: int = 0

    def lane(self, effect: Any) -> Any:
        answer = super().lane(effect)
        return (
            replace(answer, population=clients(self.there))
            if isinstance(effect, Plan) and isinstance(answer, Planned)
            else answer
        )


def busy(count: int, share: float | None) -> Busy:
    story = Busy(policy("flood", then=[shut()], least=1), limits=Limits(share=share))
    story.there = count
    return story


def test_no_more_than_its_share_of_those_who_are_connected_is_cut_off() -> None:
    story = busy(100, 0.3)

    flood(story, 100, "192.0.2")

    assert len(story.gate.shut) == 30
    assert "that would make 31 of 100 clients, and agent.yaml allows 30%" in story.said("refused")[0].body["because"]


def test_strangers_who_are_not_connected_are_no_clients() -> None:
    story = busy(100, 0.3)

    flood(story, 200, "198.51.100")

    assert len(story.gate.shut) == 200


def test_of_a_few_clients_a_share_is_no_measure() -> None:
    story = busy(10, 0.1)

    flood(story, 10, "192.0.2")

    assert len(story.gate.shut) == 10


def test_a_network_counts_as_all_its_clients() -> None:
    story = busy(100, 0.3)
    wide = Step(Shut, {"ip": address("192.0.2.0/25"), "ttl": Ttl.read("10m")})
    story.agent.policies["flood"] = replace(story.agent.policies["flood"], then=(wide,))
    story.agent.watch = type(story.agent.watch)(list(story.agent.policies.values()), {})

    story.tell(Seen([login("198.51.100.1", story.now)]))

    assert not story.gate.shut
    assert "100 of 100 clients" in story.said("refused")[0].body["because"]


def test_a_person_who_orders_it_is_not_held_to_a_share() -> None:
    story = busy(100, 0.01)

    answer = story.ask("do", action=Shut(address("192.0.2.0/25"), Ttl.read("1h")), why="all of them")

    assert answer["result"] == "in_force"


def test_after_a_while_those_who_were_cut_off_no_longer_count() -> None:
    story = busy(100, 0.3)
    flood(story, 100, "192.0.2")

    story.pass_by(3601)
    flood(story, 60, "192.0.2")

    assert len(story.gate.shut) == 30
