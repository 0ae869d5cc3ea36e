"""A replay decides what the agent decided: the same events, with a world and without one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.block_ip import BlockIp
from actions.isolate_service import IsolateService
from actions.stop_service import StopService
from agent import policy as grammar
from agent import rounds
from agent.backtest.account import Account
from agent.backtest.replay import Replay, acting
from agent.event import Event
from agent.guard import Lifeline, Lifelines
from agent.messages import Seen, Tick
from agent.policy import Clause, Count, Limits, Mode, Part, Policy, Rate, Step
from agent.proving.grounds import ground
from agent.proving.reach import Ground
from agent.record import Record
from agent.recovery.rungs import Recover
from agent.schema import Ttl, address
from agent.state import State
from agent.turn import Settings
from agent.watching.watch import Watch
from agent.wiring import catalogue
from tests.stories import T0, Story, login, shut

TOLD = frozenset(
    {
        "finding",
        "would",
        "intent",
        "refused",
        "left_alone",
        "asked_for",
        "skipped",
        "nothing_to_do",
        "extended",
        "lifted",
        "phase",
    }
)
NEVER = "203.0.113.9"
HOSTS = ["203.0.113.7", "203.0.113.8", NEVER, "192.0.2.66"]
OFFICE = {"office": (address("192.0.2.0/24"),)}


def policies(die: Random) -> tuple[Policy, ...]:
    """One to three policies, as ops might write them; they get into each other's way."""
    return tuple(_policy(die, f"p{number}") for number in range(die.randint(1, 3)))


def _policy(die: Random, name: str) -> Policy:
    ttls = ["30s", "5m", "1h", "2m x2 up to 1h", "forever"]
    steps = [shut(die.choice(ttls), after=die.choice([None, None, timedelta(seconds=20)])) for _ in range(die.randint(0, 3))]
    rate = die.choice([None, None, Rate(die.randint(1, 3), _minutes(die))])
    office = grammar.Test("src.ip", "list", ("office",), "office")
    return Policy(
        name,
        "P2",
        (Clause((Part("login", (), Count(die.randint(1, 3), _minutes(die))),), by=("src.ip",)),),
        tuple(steps),
        guard=Limits(max=rate, cooldown=die.choice([None, _minutes(die)])),
        unless=die.choice([(), (office,)]),
        recover=die.choice([Recover(), Recover("quiet", _minutes(die))]),
    )


def _minutes(die: Random) -> timedelta:
    return timedelta(minutes=die.choice([1, 2, 10, 45]))


def events(die: Random) -> list[Event]:
    """Guesses in bursts and far apart, by strangers, a colleague and a life-line."""
    at, seen = T0, list[Event]()
    for _ in range(die.randint(5, 60)):
        at += die.choice([0, 0, 1, 1, 2, 7, 30, 61, 200, 1900, 9000])
        seen.append(login(die.choice(HOSTS), at)._replace(kind=die.choice(["login"] * 9 + ["logout"])))
    return seen


def story(policies: tuple[Policy, ...], mode: Mode, events: Sequence[Event], until: float) -> list[tuple[float, Record]]:
    """The agent with its gate and its clock, which ticks as the daemon does: whenever something is due, to the second."""
    told = Story(mode=mode, never=(NEVER,))
    told.agent.settings, told.agent.policies = Settings("db1", mode, lists=OFFICE), {one.name: one for one in policies}
    told.agent.watch, told.agent.started = Watch(policies, OFFICE), T0
    waiting = list(reversed(events))
    while told.now <= until:
        for _ in range(5):  # what a tick moves to now is due at once
            if told.now >= rounds.next_due(told.agent, told.now):
                told.tell(Tick())
        while waiting and waiting[-1].seen <= told.now:
            told.tell(Seen([waiting.pop()]))
        next_event = waiting[-1].seen if waiting else until + 1.0
        told.now = max(told.now + 1.0, min(next_event, float(ceil(rounds.next_due(told.agent, told.now)))))
    return told.records


def replay(policies: tuple[Policy, ...], mode: Mode, events: Sequence[Event], until: float) -> list[tuple[float, Record]]:
    heard: list[tuple[float, Record]] = []
    lifelines = Lifelines([Lifeline(address(NEVER), "an established ssh peer")])
    known = (lifelines, State({}))
    one = Replay(policies, Settings("db1", mode, lists=OFFICE), known, Ground(), lambda ts, record: heard.append((ts, record)))
    one.begin(T0)
    for event in events:
        one.feed(event)
    one.end(until)
    return heard


def essence(records: Sequence[tuple[float, Record]]) -> list[Any]:
    """What was decided, when, about whom and for how long; not in which words the change is written down."""
    fields = ("policy", "target", "severity", "action", "because", "until", "actor", "phase")
    return [
        (ts, one.kind, one.incident, one.mitigation, *(one.body.get(name) for name in fields))
        for ts, one in records
        if one.kind in TOLD
    ]


@pytest.mark.parametrize("mode", ["dry_run", "enforce"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_replay_of_random_stories_decides_what_the_agent_did(mode: Mode, seed: int) -> None:
    die = Random(seed)
    some, seen = policies(die), events(die)
    until = seen[-1].seen + 3700

    assert essence(replay(some, mode, seen, until)) == essence(story(some, mode, seen, until))


# What real actions are judged by, without their systems ------------------------------------------------------------------


KNOWN = catalogue(None)


def judged(step: Step, *seen: Event, lifelines: Lifelines | None = None, protected: tuple[str, ...] = ()) -> Account:
    account = Account()
    policy = Policy("one", "P1", (Clause((Part("login"),), by=("src.ip",)),), (step,))
    made = Settings("db1", "enforce", protected=protected)
    one = Replay(acting([policy], "enforce"), made, (lifelines or Lifelines(), State({})), ground(None, KNOWN), account.hear)
    one.begin(T0)
    for event in seen:
        one.feed(event)
    one.end(T0 + 30)
    return account


def block(ttl: str = "1h") -> Step:
    return Step(BlockIp, {"ttl": Ttl.read(ttl)}, {"ip": "src.ip"})


def test_a_life_line_would_not_be_blocked_and_the_reason_is_told() -> None:
    line = Lifelines([Lifeline(address("203.0.113.0/24"), "our office")])

    account = judged(block(), login(), lifelines=line)

    (one,) = account.targets.values()
    assert one.acts == {}
    assert list(one.refused["block_ip"]) == ["203.0.113.7 lies in 203.0.113.0/24, never touched: our office"]


def test_what_agent_yaml_protects_and_what_is_never_touched_anyway_is_refused() -> None:
    given = {"ttl": Ttl.read("1h")}

    protected = judged(Step(StopService, {**given, "unit": "shop.service"}, unasked=True), login(), protected=("unit shop*",))
    anyway = judged(Step(StopService, {**given, "unit": "ssh.service"}, unasked=True), login())

    assert next(iter(next(iter(protected.targets.values())).refused["stop_service"])).startswith("unit shop.service is protected")
    assert "ssh" in next(iter(next(iter(anyway.targets.values())).refused["stop_service"]))


def test_what_is_destructive_waits_for_a_person() -> None:
    account = judged(Step(StopService, {"unit": "shop.service", "ttl": Ttl.read("1h")}), login())

    (one,) = account.targets.values()
    assert one.asked == {"stop_service shop.service": 1}
    assert one.says() == ("P1", "stop_service shop.service waits for a person")


def test_addresses_that_are_let_in_are_not_taken_for_addresses_that_are_acted_on() -> None:
    line = Lifelines([Lifeline(address("198.51.100.7"), "our office")])
    given = {"unit": "shop.service", "ttl": Ttl.read("1h"), "allow": (address("198.51.100.7"),)}

    account = judged(Step(IsolateService, given), login(), lifelines=line)

    (one,) = account.targets.values()
    assert (one.refused, list(one.acts)) == ({}, ["isolate_service shop.service"])


def test_repeat_offenders_are_blocked_for_longer_each_time() -> None:
    seen = [login(at=T0 + hours * 3600) for hours in (0, 2, 6)]

    account = judged(block("1h x2 up to 7d"), *seen)

    (one,) = account.targets.values()
    assert one.acts["block_ip 203.0.113.7"].lasts == [3600.0, 7200.0, 14400.0]


def test_a_clock_that_is_set_back_ends_nothing_and_hides_nothing() -> None:
    seen = [login(at=T0 + 5000), login("203.0.113.8", at=T0 + 100)]

    account = judged(block(), *seen)

    assert {target for _, target in account.targets} == {"203.0.113.7", "203.0.113.8"}


def test_more_targets_than_are_told_apart_are_counted() -> None:
    account = Account(most=2)
    for last in range(5):
        body = {"policy": "p", "target": f"203.0.113.{last}", "severity": "P2"}
        account.hear(T0, Record("finding", body, f"INC-{last}"))

    assert len(account.targets) == 2
    assert (account.policies["p"].findings, account.policies["p"].more) == (5, 3)
