"""Who waits for whom: sensors that flood, hang, end with a bug, and an owner who is slow."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent.event import Event, Value
from agent.sensing import EVENTS, MUTE, PLACES, Sensing
from agent.sensors.kernel import Kernel
from agent.sensors.logfile import Logfile
from agent.streams.sensor import SENSOR, Batch, Deliver
from agent.workers import Crashed
from tests.running import sshd_lines, wait_for


@dataclass(frozen=True)
class Told:
    """A sensor that does what the test says."""

    name: ClassVar[str] = "told"
    anchors: ClassVar[bool] = True
    source: str
    work: Callable[[Deliver, threading.Event], None] = field(default=lambda deliver, stop: None)

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:
        self.work(deliver, stop)


class Owner:
    """The daemon's side: a mailbox, and the batches that were taken out of it."""

    def __init__(self, **sensors: Any) -> None:
        self.mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.positions: dict[str, str] = {}
        self.sensing = Sensing(sensors, self.mailbox, self.positions.get, lambda: frozenset({"auth.ssh.failure", "net.syn"}))
        self.taken: list[Batch] = []

    def turn(self) -> list[Any]:
        """Take what waits, as the daemon does."""
        items = []
        while not self.mailbox.empty():
            items.append(self.mailbox.get())
        items = self.sensing.in_turn(items)
        for one in items:
            if isinstance(one, Batch):
                self.sensing.taken(one)
                self.sensing.heard(one)
                self.taken.append(one)
                self.positions[one.source] = one.position or self.positions.get(one.source, "")
        return items


def batch(source: str, events: int = 1, number: int = 0) -> Batch:
    return Batch(source, (Event("auth.ssh.failure", 0.0, {"user": str(number)}, source),) * events, f"at {number}", events, 0.0)


def flooding(source: str, put: list[int]) -> Told:
    def work(deliver: Deliver, stop: threading.Event) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            deliver(batch(source, number=number))
            put[0] = number + 1

    return Told(source, work)


def hang(deliver: Deliver, stop: threading.Event) -> None:
    stop.wait()


@pytest.fixture
def made() -> Iterator[Callable[..., Owner]]:
    owners: list[Owner] = []

    def make(**sensors: Any) -> Owner:
        owners.append(Owner(**sensors))
        owners[-1].sensing.begin()
        return owners[-1]

    yield make
    for owner in owners:
        owner.sensing.stop()
        wait_for(partial(_over, owner))


def _over(owner: Owner) -> bool:
    owner.turn()
    return not {one.name for one in threading.enumerate()} & set(owner.sensing.sensors)


# Who waits --------------------------------------------------------------------------------------------------------------


def test_a_flooding_sensor_waits_and_another_one_finds_its_places_free(made: Callable[..., Owner]) -> None:
    put, done = [0], threading.Event()

    def quiet(deliver: Deliver, stop: threading.Event) -> None:
        for number in range(PLACES):
            deliver(batch("file:auth", number=number))
        done.set()
        stop.wait()

    made(flood=flooding("file:nginx", put), auth=Told("file:auth", quiet))

    assert done.wait(10)
    assert put[0] <= PLACES


def test_batches_are_taken_one_of_each_sensor_in_turn() -> None:
    owner = Owner(a=Told("a"), b=Told("b"))
    waiting = [*(batch("a", EVENTS // 2, number) for number in range(4)), batch("b", 1, 9)]

    first, second = owner.sensing.in_turn(waiting), owner.sensing.in_turn([])

    assert [(one.source, one.position) for one in first] == [("a", "at 0"), ("b", "at 9"), ("a", "at 1")]
    assert [one.position for one in second] == ["at 2", "at 3"]
    assert not owner.sensing.waiting


def test_orders_and_answers_come_before_every_batch() -> None:
    owner = Owner(a=Told("a"))

    items = owner.sensing.in_turn([batch("a"), "reload", batch("a", number=1), "stop"])

    assert items[:2] == ["reload", "stop"]
    assert [one.position for one in items[2:]] == ["at 0", "at 1"]


def test_the_end_of_a_sensor_is_heard_after_its_last_batch_so_that_no_line_is_read_twice() -> None:
    owner = Owner(a=Told("a"))
    end = Crashed("a", "a bug")

    first = owner.sensing.in_turn([batch("a", EVENTS), end, "an order"])
    second = owner.sensing.in_turn([])

    assert [type(one) for one in first] == [str, Batch]
    assert second == [end]


def test_an_owner_who_is_slow_makes_the_log_wait_and_loses_no_line(tmp_path: Path, made: Callable[..., Owner]) -> None:
    log = tmp_path / "auth.log"
    with log.open("w") as file:
        for number in range(30_000):
            file.writelines(sshd_lines("203.0.113.7", 1, user=f"u{number}"))
    owner = made(auth=Logfile(path=str(log), parsers=("sshd",), from_start=True))

    most, users = 0, list[object]()
    wait_for(lambda: owner.mailbox.qsize() == PLACES)
    until = time.monotonic() + 30
    while len(users) < 30_000 and time.monotonic() < until:
        most = max(most, owner.mailbox.qsize())
        for one in owner.turn():
            users += [event.fields["user"] for event in one.events if event.kind == "auth.ssh.failure"]

    assert users == [f"u{number}" for number in range(30_000)]
    assert most <= PLACES


# What is dropped ----------------------------------------------------------------------------------------------------------


def test_a_sample_that_nobody_has_time_for_is_dropped_and_counted(made: Callable[..., Owner]) -> None:
    owner = made(kernel=Kernel(every=timedelta(milliseconds=20)))

    wait_for(lambda: owner.sensing.evictions()["samples"] >= 3)

    assert owner.mailbox.qsize() == PLACES
    owner.turn()
    wait_for(owner.mailbox.qsize)  # and it goes on with the newest


# Who says nothing -----------------------------------------------------------------------------------------------------------


def test_a_sensor_that_hangs_is_blind_though_it_cannot_say_so(made: Callable[..., Owner]) -> None:
    owner = made(stuck=Told("file:nfs", hang))
    owner.turn()

    owner.sensing.revive(time.monotonic() + MUTE + 1)
    owner.turn()

    assert "hangs: its thread has not said a word for 3 min" in owner.sensing.blind["file:nfs"]


def test_it_is_said_once_a_minute_that_one_hangs(made: Callable[..., Owner]) -> None:
    owner = made(stuck=Told("file:nfs", hang))
    owner.turn()
    later = time.monotonic() + MUTE + 1

    for second in range(121):
        owner.sensing.revive(later + second)
        owner.turn()

    assert len(owner.taken) == 3


def test_a_sensor_that_ends_with_a_bug_is_blind_until_it_reads_again(made: Callable[..., Owner]) -> None:
    ends = [True]

    def work(deliver: Deliver, stop: threading.Event) -> None:
        if ends.pop() if ends else False:
            raise RuntimeError("no such thing")
        deliver(Batch("a", (Event(SENSOR.name, 0.0, {"name": "a", "ok": True, "say": "reads a"}),), "", 0, 0.0))
        stop.wait()

    owner = made(a=Told("a", work))
    (crashed,) = wait_for(owner.turn)
    bug = owner.sensing.ended(crashed, 0.0)
    owner.turn()
    blind = dict(owner.sensing.blind)

    owner.sensing.revive(time.monotonic())
    wait_for(lambda: owner.turn() and not owner.sensing.blind)

    assert bug == "sensor a: RuntimeError: no such thing"
    assert blind == {"a": "ended with a bug, and is started again: RuntimeError: no such thing"}


def test_what_a_sensor_says_of_itself_is_written_down_when_it_changes() -> None:
    owner = Owner(a=Told("a"))

    def says(**fields: Value) -> list[tuple[object, object]]:
        said: dict[str, Value] = {"name": "a", "say": "so", "ok": True, "overdue": False}
        event = Event(SENSOR.name, 0.0, said | fields)
        return [(one.body["ok"], one.body["say"]) for one in owner.sensing.heard(Batch("a", (event,), "", 0, 0.0))]

    assert says() == []
    assert says(overdue=True, say="silent for 9 min") == [(False, "silent for 9 min")]
    assert owner.sensing.silent == {"a": "silent for 9 min"}
    assert says(overdue=True, say="silent for 10 min") == []
    assert owner.sensing.silent == {"a": "silent for 10 min"}
    assert says(ok=False, say="cannot read a") == [(False, "cannot read a")]
    assert (owner.sensing.blind, owner.sensing.silent) == ({"a": "cannot read a"}, {})
    assert says(say="reads a") == [(True, "reads a")]
    assert owner.sensing.blind == {}


def test_a_sensor_that_ends_again_and_again_is_started_ever_more_rarely(made: Callable[..., Owner]) -> None:
    def work(deliver: Deliver, stop: threading.Event) -> None:
        if not stop.is_set():
            raise RuntimeError("no such thing")

    owner = made(a=Told("a", work))
    waits, now = [], time.monotonic()
    for _ in range(9):
        crashed = wait_for(lambda: [one for one in owner.turn() if isinstance(one, Crashed)])[0]
        owner.sensing.ended(crashed, now)
        due = owner.sensing._revive[0][0]
        waits.append(round(due - now))
        owner.sensing.revive(due)

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
