"""The peers' lock-outs, one test for each: an agent that blocked its own infrastructure, its admins, and its allow list."""

from __future__ import annotations

import queue
import random
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from agent import dispatch, execute
from agent.action import Call, Change
from agent.guard import Lifeline, Lifelines, Network, barred, touches
from agent.messages import Apply, Heal, Learnt, Run, Seen
from agent.schema import address
from agent.systems.firewall import Firewall
from agent.workers import Lanes
from tests import network as machines
from tests.needs import need_root
from tests.stories import Gate, Story, login

HOUR = timedelta(hours=1)
OURS = "203.0.113.7"


def learnt(story: Story, *lines: Lifeline) -> None:
    story.tell(Learnt(Lifelines(lines), story.agent.reading))


def line(ip: str, why: str = "a name server of this host", *, sure: bool = True) -> Lifeline:
    return Lifeline(address(ip), why, sure)


def shutting(gate: Gate, ip: str, touching: str = "") -> Change:
    to = address(ip)
    apply, undo, verify = gate.close(ip=to, ttl=HOUR), gate.open(ip=to), gate.holds(ip=to)
    return Change(f"close the gate to {ip}", apply, undo, verify, touches=(touching,) if touching else ())


# "Agent blocks its own infrastructure": a heuristic on the first octet, and no look at what was learnt meanwhile -----------


def test_what_became_a_life_line_between_verdict_and_act_is_refused_at_the_door() -> None:
    gate, lines = Gate(), Lifelines([line("198.51.100.4")])
    jobs = [("M-1", shutting(gate, "198.51.100.4")), ("M-2", shutting(gate, OURS))]

    batches = execute.apply([[job] for job in jobs], {"gate": gate}, door=lambda changes: barred(changes, lines))

    assert [one.result for (one,) in batches] == ["failed", "in_force"]
    said = "refused at the door: 198.51.100.4 is a life-line, never touched: a name server of this host"
    assert batches[0][0].error == said
    assert gate.closings == 1


def test_what_is_protected_now_is_refused_at_the_door() -> None:
    gate = Gate()
    change = shutting(gate, OURS, "unit postgresql.service")

    ((one,),) = execute.apply([[("M-1", change)]], {"gate": gate}, door=lambda all_: barred(all_, Lifelines(), ("unit post*",)))

    assert one.error == "refused at the door: unit postgresql.service is protected in agent.yaml (`unit post*`)"
    assert gate.shut == {}


def test_a_plan_stops_at_the_change_that_the_door_refuses() -> None:
    gate, lines = Gate(), Lifelines([line(OURS)])
    plan = [("M-1", shutting(gate, OURS)), ("M-2", shutting(gate, "203.0.113.8"))]

    (outcomes,) = execute.apply([plan], {"gate": gate}, door=lambda changes: barred(changes, lines))

    assert [one.result for one in outcomes] == ["failed", "not_tried"]
    assert gate.shut == {}


def test_the_door_stands_in_every_lane_and_what_is_put_back_is_judged_by_what_is_sure_alone() -> None:
    gate, mailbox = Gate(), queue.SimpleQueue[Any]()
    lines = Lifelines([line(OURS, "connected", sure=False)])
    outside = dispatch.Outside(
        {"gate": gate},
        Lanes(mailbox),
        lambda *_: {},
        lambda: None,
        lambda changes: barred(changes, lines),
        lambda changes: barred(changes, lines.certain),
    )
    jobs = (("M-1", shutting(gate, OURS)),)

    dispatch.carry_out([Apply(Run("alice", "a test"), jobs)], outside, time.monotonic())
    (applied,) = mailbox.get(timeout=10).message
    dispatch.carry_out([Heal(jobs)], outside, time.monotonic())
    (healed,) = mailbox.get(timeout=10).message

    assert [one.error for one in applied.outcomes] == [f"refused at the door: {OURS} is a life-line, never touched: connected"]
    assert [one.result for one in healed.outcomes] == ["in_force"]


def _block(network: Network) -> Change:
    call = Call("firewall", "block", {"ip": network, "ttl": HOUR, "ports": ()})
    return Change("block", call, call, call)


# "Lock-out of admins" -------------------------------------------------------------------------------------------------------


def test_whoever_logs_in_after_they_were_blocked_is_let_go() -> None:
    story = Story()
    story.logins(3, OURS)
    assert OURS in story.gate.shut

    learnt(story, line(OURS, "logged in over ssh, on port 22"))

    assert story.gate.shut == {}
    assert story.said("lifted")[0].body["because"] == f"{OURS} is a life-line now: logged in over ssh, on port 22"


def test_an_attacker_does_not_get_off_by_just_connecting() -> None:
    story = Story()
    story.logins(3, OURS)

    learnt(story, line(OURS, "connected to ssh port 22, and this host keeps no list of who is logged in", sure=False))
    story.pass_by(1)

    assert OURS in story.gate.shut
    assert story.said("lifting") == []


def test_a_mere_connection_still_keeps_new_acts_away() -> None:
    story = Story()
    learnt(story, line(OURS, "connected to ssh port 22", sure=False))

    story.logins(3, OURS)

    assert story.gate.shut == {}
    assert story.said("refused")[0].body["because"].endswith("never touched: connected to ssh port 22")


def test_nobody_stays_off_because_a_block_was_gone_for_a_moment_in_which_they_connected() -> None:
    lines = Lifelines([line(OURS, "connected to ssh port 22", sure=False)])

    assert barred([_block(address(OURS))], lines) != {}
    assert barred([_block(address(OURS))], lines.certain) == {}


def test_the_same_address_twice_is_as_sure_as_its_surest_reason() -> None:
    lines = Lifelines([line(OURS, "connected", sure=False), line(OURS, "never_touch in agent.yaml")])

    assert lines.certain.touched(address(OURS)) == line(OURS, "never_touch in agent.yaml")


# "Allow list ignored": an event that carries the agent's own address in another field; the final arguments count -----------


def test_the_final_arguments_count_whatever_field_of_the_event_they_came_from() -> None:
    story = Story(never=[OURS])
    seen = login("198.51.100.9")

    for _ in range(3):
        story.tell(Seen([login(OURS)]))
        story.tell(Seen([seen]))

    assert sorted(story.gate.shut) == ["198.51.100.9"]


def test_a_life_line_of_before_keeps_counting_when_learning_is_begun_before_a_reload_and_ends_after_it() -> None:
    story = Story(never=[OURS])

    story.tell(Learnt(Lifelines([line("198.51.100.1"), line(OURS)]), story.agent.reading + 1))
    story.tell(Learnt(Lifelines(), story.agent.reading - 1))
    story.logins(3, OURS)

    assert story.gate.shut == {}


# The kernel's own list: guard and braces ------------------------------------------------------------------------------------


@pytest.fixture
def fresh() -> Iterator[Firewall]:
    """A firewall that has made no table yet; whatever a test before it left is taken away."""
    need_root()
    clear = ["nft", "delete", "table", "inet", "containment"]
    subprocess.run(clear, check=False, timeout=10, capture_output=True)
    yield Firewall()
    subprocess.run(clear, check=False, timeout=10, capture_output=True)


BELT = [ip_network("10.77.2.1"), ip_network("fd77:2::1")]
"""The bystander is the operator."""


def done(firewall: Firewall, *calls: Call) -> None:
    assert [str(one.error) for one in firewall.perform(calls) if one.error] == []


def test_knowing_the_life_lines_makes_no_table(fresh: Firewall) -> None:
    fresh.protect(BELT)

    assert "inet containment" not in machines.ruleset()


def test_the_belt_is_there_with_the_first_block_of_a_fresh_table(network: machines.Network, fresh: Firewall) -> None:
    fresh.protect(BELT)

    done(fresh, fresh.block(ip=ip_network("10.77.0.0/16"), ttl=HOUR), fresh.block(ip=ip_network("fd77::/28"), ttl=HOUR))

    assert network.bystander.reach(("connects", "10.77.2.2", 22), ("connects", "fd77:2::2", 22)) == [True, True]
    assert network.attacker.reach(("connects", "10.77.1.2", 22), ("connects", "fd77:1::2", 22)) == [False, False]


def test_a_table_that_somebody_removed_gets_its_belt_when_it_is_made_again(network: machines.Network, fresh: Firewall) -> None:
    fresh.prepare()
    machines.nft("delete table inet containment")

    fresh.protect(BELT)
    done(fresh, fresh.block(ip=ip_network("10.77.0.0/16"), ttl=HOUR))

    assert network.bystander.connects("10.77.2.2", 22)


def test_the_belt_comes_back_with_what_it_protects_when_somebody_flushed_the_ruleset(
    network: machines.Network, fresh: Firewall
) -> None:
    fresh.protect(BELT)
    done(fresh, fresh.block(ip=ip_network("10.77.0.0/16"), ttl=HOUR))
    machines.nft("flush ruleset")

    fresh.prepare()
    done(fresh, fresh.block(ip=ip_network("10.77.0.0/16"), ttl=HOUR))

    assert network.bystander.connects("10.77.2.2", 22)
    assert not network.attacker.connects("10.77.1.2", 22)


OTHERS = ("10.77.1.0/24", "10.77.2.0/24", "fd77:1::/64", "fd77:2::/64")
"""The networks of attacker and bystander."""


def test_a_life_line_is_reached_although_all_that_is_sent_to_its_network_is_dropped(
    network: machines.Network, fresh: Firewall
) -> None:
    fresh.protect(BELT)

    done(fresh, *(fresh.block_egress(ip=ip_network(net), ttl=HOUR) for net in OTHERS))

    assert network.host.reach(("connects", "10.77.2.1", 9000), ("connects", "fd77:2::1", 9000)) == [True, True]
    assert network.container.reach(("connects", "10.77.2.1", 9000), ("connects", "fd77:2::1", 9000)) == [True, True]
    assert network.host.reach(("connects", "10.77.1.1", 9000), ("connects", "fd77:1::1", 9000)) == [False, False]


@pytest.mark.parametrize("of", ["address", "service", "everybody"])
def test_a_life_line_is_never_rate_limited(network: machines.Network, fresh: Firewall, of: str) -> None:
    fresh.protect(BELT)
    limited = {
        "address": [fresh.limit(ip=one, ports=(22,), rps=1, burst=1, ttl=HOUR) for one in BELT],
        "service": [fresh.limit(ip=None, ports=(22,), rps=1, burst=1, ttl=HOUR, per="source")],
        "everybody": [fresh.limit(ip=None, ports=(22,), rps=1, burst=1, ttl=HOUR, per="all")],
    }[of]

    done(fresh, *limited)

    assert network.bystander.syns("10.77.2.2", 22, 20) == 20
    assert network.bystander.syns("fd77:2::2", 22, 20) == 20
    if of != "address":
        assert network.attacker.syns("10.77.1.2", 22, 20) < 20


def test_no_network_around_a_life_line_locks_its_people_out_with_the_guard_bypassed(
    network: machines.Network, fresh: Firewall
) -> None:
    fresh.protect(BELT)
    chance = random.Random(7)
    around = [_around(chance, BELT[at % 2]) for at in range(200)]

    for batch in (around[at : at + 20] for at in range(0, 200, 20)):
        disjoint = [*dict.fromkeys(batch)]
        done(fresh, *(fresh.block(ip=one, ttl=HOUR) for one in disjoint))
        assert network.bystander.reach(("connects", "10.77.2.2", 22), ("connects", "fd77:2::2", 22)) == [True, True], batch
        assert not network.attacker.connects("10.77.1.2", 22) or not any(_holds(one, "10.77.1.1") for one in batch), batch
        done(fresh, *(fresh.unblock(ip=one) for one in disjoint))


def _around(chance: random.Random, life: Network) -> Network:
    """A network that holds a life-line, or lies near it."""
    length = chance.randint(8 if life.version == 4 else 19, life.max_prefixlen)  # what is wider no kernel call takes
    near = int(life.network_address) ^ (chance.getrandbits(4) if chance.random() < 0.3 else 0)
    return (
        ip_network((near, length), strict=False)
        if life.version == 4
        else ip_network((near.to_bytes(16, "big"), length), strict=False)
    )


def _holds(one: Network, ip: str) -> bool:
    return ip_network(ip).version == one.version and one.overlaps(ip_network(ip))


def test_guard_and_door_refuse_each_of_those_networks_by_themselves() -> None:
    lines = Lifelines(Lifeline(one, "an operator") for one in BELT)
    chance = random.Random(7)

    for at in range(2000):
        one = _around(chance, BELT[at % 2])
        meets = any(one.version == life.version and one.overlaps(life) for life in BELT)
        verdict = touches([_block(one)], lines, {})
        assert not (meets and verdict.allowed), one
        assert not meets or barred([_block(one)], lines), one
