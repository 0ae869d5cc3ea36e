"""The mailbox: what a turn takes, and the plans that it waits for, a moment and no longer."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from actions.block_ip import BlockIp
from agent.action import System
from agent.dispatch import Outside
from agent.mail import A_TURN, PLANNING, Mail
from agent.messages import Plan, Planned, Run, Tick
from agent.schema import Ttl, address
from agent.workers import Finished, Lanes


class Slow(System):
    """Stands where the firewall stands, and answers a plan once it is let."""

    name = "firewall"

    def __init__(self) -> None:
        self.let = threading.Event()

    def blocks(self, *_: Any) -> bool:
        return self.let.wait(10)


def mail(system: System, planning: float = PLANNING) -> tuple[Mail, queue.SimpleQueue[Any], Outside]:
    mailbox = queue.SimpleQueue[Any]()
    return Mail(mailbox, planning), mailbox, Outside({"firewall": system}, Lanes(mailbox), lambda *_: {}, lambda: None)


def plan() -> Plan:
    return Plan(Run("a person", "a test"), BlockIp(ip=address("203.0.113.7"), ttl=Ttl.read("1h")))


def at_once() -> float:
    return 0.0


def test_plans_that_are_made_at_once_are_had_in_the_same_turn() -> None:
    system = Slow()
    system.let.set()
    reading, _, outside = mail(system, planning=10.0)

    (came,) = reading.planned([plan(), plan()], outside)

    assert [type(one) for one in came.message] == [Planned, Planned]
    assert reading.gather(at_once) == []


def test_a_slow_plan_holds_up_a_turn_for_a_moment_and_comes_in_a_later_one() -> None:
    system = Slow()
    reading, _, outside = mail(system)
    begun = time.monotonic()

    came = reading.planned([plan()], outside)

    assert came == []
    assert PLANNING <= time.monotonic() - begun < 1
    system.let.set()
    (later,) = reading.gather(lambda: 10.0)
    assert isinstance(later, Finished)
    assert isinstance(later.message[0], Planned)


def test_what_comes_meanwhile_is_the_next_turns_and_in_its_order() -> None:
    system = Slow()
    reading, mailbox, outside = mail(system)
    for one in ("stop", Tick(), "reload"):
        mailbox.put(one)

    came = reading.planned([plan()], outside)
    mailbox.put("afterwards")

    assert came == []
    assert reading.gather(at_once) == ["stop", Tick(), "reload", "afterwards"]
    system.let.set()


def test_a_plan_that_was_never_begun_is_not_waited_for() -> None:
    reading, _, outside = mail(Slow(), planning=10.0)
    nowhere = Outside({}, outside.lanes, outside.keep, outside.counted)

    (came,) = reading.planned([plan()], nowhere)

    assert "a bug in block_ip" in came.message[0].error


def test_a_turn_takes_no_more_than_its_share() -> None:
    reading, mailbox, _ = mail(Slow())
    for at in range(A_TURN + 1):
        mailbox.put(at)

    assert reading.gather(at_once) == list(range(A_TURN))
    assert reading.gather(at_once) == [A_TURN]


def test_nobody_waits_where_nothing_came_and_nothing_is_due() -> None:
    reading, _, _ = mail(Slow())

    assert reading.gather(at_once) == []
