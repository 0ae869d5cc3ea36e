"""What a mitigation brings about itself is no alarm, and never keeps it alive."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent import checks
from agent import policy as policies
from agent.action import Change, discover
from agent.check import bad, events, good
from agent.event import CHECK, Event, Value
from agent.messages import Applied, Asked, Outcome, Planned, Run, Seen
from agent.policy import Clause, Of, Part, Policy
from agent.schema import Ttl, address
from agent.wiring import catalogue
from tests.stories import T0, Gate, Story, login, policy, shut

ACTIONS = catalogue(None).actions


def hold(story: Story, action: Any, *touches: str, apply: Any = None) -> str:
    """Have it in force as if its own system had made it: the gate stands in for that system."""
    gate = Gate()
    call = gate.close(ip=address("192.0.2.1"), ttl=timedelta(hours=1))
    change = Change("do it", apply or call, gate.open(ip=address("192.0.2.1")), gate.holds(ip=address("192.0.2.1")), (), touches)
    story.dead = True
    order = Run("alice", "why", since=story.now, asked=Asked("do", {"sure": True}, "alice"))
    story.tell(Planned(order, action, (change,)))
    name = f"M-{story.agent.state.last_mitigation}"
    story.tell(Applied(Run("alice", "why"), (Outcome(name, "in_force"),)))
    story.dead = False
    return name


def stopped(unit: str = "shop.service") -> Any:
    return ACTIONS["stop_service"](unit=unit, ttl=Ttl.read("1h"))


def watching_checks() -> Policy:
    clause = Clause((Part("check", (policies.Test("ok", "is", False, "false"),), Of(3, 5)),), by=("name",))
    return Policy("down", "P1", (clause,), title="A check is bad")


def check_of(story: Story, name: str, about: str, *, ok: bool = False, kind: str = "tcp") -> Event:
    fields: dict[str, Value] = {
        "name": name,
        "check": kind,
        "ok": ok,
        "state": "bad",
        "say": f"{name} does not answer",
        "about": about,
    }
    return Event(CHECK.name, story.now, fields, source=f"check:{name}")


def ask_checks(story: Story, *told: Event, times: int = 5) -> None:
    for _ in range(times):
        story.tell(Seen(list(told)))
        story.pass_by(10)


def test_a_check_about_a_service_that_we_stopped_opens_no_incident() -> None:
    story = Story(watching_checks())
    hold(story, stopped(), "unit shop.service")

    ask_checks(story, check_of(story, "shop", "unit shop.service, unit nginx.service"))

    assert not story.agent.state.incidents
    (record,) = story.said("muted")
    assert record.mitigation == "M-1"


def test_a_check_about_another_service_is_an_alarm_as_before() -> None:
    story = Story(watching_checks())
    hold(story, stopped(), "unit shop.service")

    ask_checks(story, check_of(story, "db", "unit postgresql.service"), check_of(story, "bare", ""))

    assert {one.target for one in story.agent.state.incidents.values()} == {"db", "bare"}


def test_the_shadow_stays_for_two_minutes_and_then_is_gone() -> None:
    story = Story(watching_checks())
    hold(story, stopped(), "unit shop.service")
    story.gate.shut.clear()
    story.ask("undo", what="M-1", why="done")
    down = check_of(story, "shop", "unit shop.service")

    ask_checks(story, down, times=10)
    during = dict(story.agent.state.incidents)
    story.pass_by(60)
    ask_checks(story, down)

    assert not during
    assert story.agent.state.incidents


def test_a_good_answer_is_never_muted() -> None:
    story = Story(watching_checks())
    hold(story, stopped(), "unit shop.service")

    ask_checks(story, check_of(story, "shop", "unit shop.service", ok=True))

    assert not story.said("muted")


def test_stopped_writes_hide_only_the_checks_that_they_trip() -> None:
    story = Story(watching_checks())
    hold(story, ACTIONS["stop_writes"](ttl=Ttl.read("1h")), "postgres main")

    ask_checks(
        story,
        check_of(story, "primary", "postgres main", kind="postgres_primary"),
        check_of(story, "damage", "postgres main", kind="postgres_checksums"),
    )

    assert {one.target for one in story.agent.state.incidents.values()} == {"damage"}


def test_after_a_restart_the_shadow_is_there_again() -> None:
    story = Story(watching_checks())
    hold(story, stopped(), "unit shop.service")
    story.gate.shut["192.0.2.1"] = None
    story.die_and_start_again()

    ask_checks(story, check_of(story, "shop", "unit shop.service"))

    assert not story.agent.state.incidents


# The loop in which a ban feeds itself ------------------------------------------------------------------------------------------


def test_lines_about_a_blocked_address_neither_renew_the_block_nor_count_for_the_next_one() -> None:
    failing = Policy("failing", "P2", (Clause((Part("auth.ssh.failure"),), by=("src.ip",)),), (shut(),))
    story = Story(failing)
    gate = Gate()
    hold(
        story,
        ACTIONS["block_ip"](ip=address("203.0.113.7"), ttl=Ttl.read("1h")),
        apply=gate.close(ip=address("203.0.113.7"), ttl=None),
    )

    story.tell(Seen([login(at=story.now)._replace(kind="auth.ssh.failure")] * 50))

    assert not story.agent.state.incidents


def test_a_block_of_two_ports_hides_nothing_that_comes_to_another() -> None:
    story = Story(policy(then=[shut()]))
    block = ACTIONS["block_ip"](ip=address("203.0.113.7"), ttl=Ttl.read("1h"), ports=(80, 443))
    call = replace(Gate().close(ip=address("203.0.113.7"), ttl=None), args={"ip": address("203.0.113.7"), "ports": (80, 443)})
    hold(story, block, apply=call)

    story.tell(Seen([login(at=story.now)] * 3))

    assert story.agent.state.incidents


# What actions and checks say of themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["stop_service", "freeze_service", "isolate_service", "restart_service", "isolate_container", "isolate_host"]
)
def test_whatever_takes_something_down_mutes_the_checks_about_it(name: str) -> None:
    assert ACTIONS[name].mutes == ("check *",)


def test_a_check_says_what_it_is_about() -> None:
    shelf: dict[str, Any] = discover(checks, mark="ask")
    units, primary = shelf["unit"](units=("shop.service",)), shelf["postgres_primary"](instance="main")

    (unit,) = events("units", units, [bad("down", target="shop.service")], T0, ["container web"])
    (server,) = events("db", primary, [good("it is", target="main")], T0)

    assert unit.get("about") == "unit shop.service, container web"
    assert server.get("about") == "postgres main"
