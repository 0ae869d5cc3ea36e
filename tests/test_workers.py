from __future__ import annotations

import queue
import subprocess
import sys
import threading
from typing import Any

from agent.workers import Crashed, Finished, Job, Lanes, watch_over


def job(name: str, work: Any, deadline: float = 5.0) -> Job:
    return Job(name, work, lambda why: ["failed", why], deadline)


def test_a_hung_job_holds_up_its_own_lane_and_no_other() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, hang = Lanes(mailbox), threading.Event()
    lanes.start("docker", job("hang", hang.wait), now=0.0)
    lanes.start("docker", job("wait behind", lambda: "late"), now=0.0)

    lanes.start("firewall", job("go", lambda: "went"), now=0.0)

    assert mailbox.get(timeout=5).message == "went"
    assert lanes.busy == {"docker": 2, "firewall": 1}
    hang.set()


def test_a_late_job_is_given_up_on_with_a_sentence_and_its_answer_is_dropped() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, hang = Lanes(mailbox), threading.Event()
    lanes.start("docker", job("pause web1", hang.wait, deadline=2.0), now=100.0)

    assert lanes.late(101.9) == []
    ((_, why),) = lanes.late(102.1)
    hang.set()

    assert why == "cannot pause web1: docker did not answer within 2 s"
    assert not lanes.accept(mailbox.get(timeout=5))


def test_a_job_given_up_on_before_it_began_is_never_done() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, hang, done = Lanes(mailbox), threading.Event(), list[str]()
    lanes.start("firewall", job("hang", hang.wait, deadline=60.0), now=0.0)
    lanes.start("firewall", job("block", lambda: done.append("block"), deadline=2.0), now=0.0)
    lanes.late(3.0)
    lanes.start("firewall", job("look", lambda: done.append("look")), now=3.0)

    hang.set()
    mailbox.get(timeout=5)
    mailbox.get(timeout=5)

    assert done == ["look"]


def test_an_error_in_a_job_is_an_answer_and_the_lane_goes_on() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes = Lanes(mailbox)
    lanes.start("docker", job("break", lambda: 1 / 0), now=0.0)
    lanes.start("docker", job("work", lambda: "worked"), now=0.0)

    first, second = mailbox.get(timeout=5), mailbox.get(timeout=5)

    assert isinstance(first, Finished)
    assert first.message[1].startswith("cannot break: ZeroDivisionError")
    assert second.message == "worked"


def test_a_sensor_that_ends_is_told_of_with_its_reason() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        raise OSError("the file is gone")

    watch_over("auth", work, mailbox)

    assert mailbox.get(timeout=5) == Crashed("auth", "OSError: the file is gone")


def test_a_hung_job_does_not_hold_up_the_end_of_the_process() -> None:
    script = (
        "import queue, time\n"
        "from agent.workers import Job, Lanes\n"
        "Lanes(queue.SimpleQueue()).start('docker', Job('hang', lambda: time.sleep(600), str, 1.0), 0.0)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)

    assert done.returncode == 0
