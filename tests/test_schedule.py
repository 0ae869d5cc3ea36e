"""When checks are asked: each in its time, and one that hangs in one thread alone."""

from __future__ import annotations

import queue
import threading
from typing import Any

from agent.check import Answer, check, good
from agent.schedule import Schedule, Scheduled
from agent.workers import Lanes

HANG = threading.Event()


@check
class Hanging:
    """Waits until it is told to go on."""

    def ask(self) -> Answer:
        HANG.wait(60)
        return good("at last")


HANGING: Any = Hanging()


def test_a_check_that_hangs_is_given_up_on_and_takes_no_second_thread_from_the_others() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, asked = Lanes(mailbox), Scheduled("web", HANGING, every=10.0, timeout=3.0)
    schedule, said = Schedule([asked], {}), list[str]()
    before = {one.ident for one in threading.enumerate()}

    for now in range(0, 100, 10):
        schedule.begin(lanes, float(now))
        said += [schedule.answered(one, now).answers[0].state for late in lanes.late(now + 4.0) for one in late]
    HANG.set()
    mailbox.get(timeout=5)

    assert said == ["unknown"]
    assert sum(one.name.startswith("net-") and one.ident not in before for one in threading.enumerate()) == 1


def test_one_that_goes_on_is_asked_again() -> None:
    HANG.set()
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, asked = Lanes(mailbox), Scheduled("web", HANGING, every=10.0, timeout=3.0)
    schedule, said = Schedule([asked], {}), list[str]()

    for now in range(0, 30, 10):
        schedule.begin(lanes, float(now))
        done = mailbox.get(timeout=5)
        assert lanes.accept(done)
        said += [schedule.answered(one, now).answers[0].say for one in done.message]

    assert said == ["at last"] * 3
