"""Threads that may hang without holding up anyone: whatever blocks runs here, in lanes.

A thread cannot be stopped, only given up on. So a job has a deadline, the answer of a late one is dropped, at most `limit` of
a lane are ever in flight, and the threads are daemons: a hung call must not keep systemd waiting for us to exit (measured:
1.2 s against 8.1 s with a thread pool).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

LIMITS: Final = {"firewall": 1, "host": 1, "units": 3, "postgres": 3, "vault": 4, "containers": 3, "forensics": 2, "net": 16}
"""How many jobs of a lane run at once; one where a lane is not named. The firewall's socket belongs to one thread at a time."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a lane. `work` answers a message; `failed` makes one of the sentence that says why there is no answer.

    A job that `changes` the outside is waited for at a stop; one that only asks is not.
    """

    name: str
    work: Callable[[], Any]
    failed: Callable[[str], Any]
    deadline: float
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A job's answer on its way to the owner; `number` tells whether it was already given up on."""

    number: int
    message: Any


class Timekeeper(Protocol):
    """Whoever wants to know how long jobs take."""

    def worked(self, lane: str, seconds: float) -> None:
        """A job is done, after so many seconds; called by the lane's thread."""

    def gave_up(self, lane: str) -> None:
        """A job was given up on."""


class Lane:
    """The jobs of one outside system. Only the owner's thread calls its methods."""

    def __init__(
        self, name: str, mailbox: queue.SimpleQueue[Any], numbers: Iterator[int], timekeeper: Timekeeper | None = None
    ) -> None:
        """A lane without threads; the first jobs start them."""
        self.name, self._mailbox, self._numbers, self._timekeeper = name, mailbox, numbers, timekeeper
        self._limit = LIMITS.get(name, 1)
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()  # a job that is given up on leaves no more than its number
        self._out: dict[int, tuple[float, Job]] = {}
        self._threads = 0

    def start(self, job: Job, now: float) -> None:
        """Have the job done; `now` is monotonic seconds."""
        number = next(self._numbers)
        self._out[number] = (now + job.deadline, job)
        self._waiting.put(number)
        if self._threads < min(self._limit, len(self._out)):
            self._threads += 1
            threading.Thread(target=self._serve, name=f"{self.name}-{self._threads}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            number = self._waiting.get()
            out = self._out.get(number)
            if out is None:  # given up on before it began: what was told to have failed must not happen later
                continue
            _, job = out
            begun = time.monotonic()
            try:
                message = job.work()
            except Exception as error:  # noqa: BLE001 - one of the three places: a lane's worker
                message = job.failed(f"cannot {job.name}: {type(error).__name__}: {error}")
            if self._timekeeper:
                self._timekeeper.worked(self.name, time.monotonic() - begun)
            self._mailbox.put(Finished(number, message))

    def accept(self, done: Finished) -> bool:
        """Whether the answer was still waited for."""
        return self._out.pop(done.number, None) is not None

    def late(self, now: float) -> list[Any]:
        """Give up on jobs past their deadline: one message for each."""
        over = [number for number, (deadline, _) in self._out.items() if now > deadline]
        return [self._give_up(number) for number in over]

    def _give_up(self, number: int) -> Any:
        _, job = self._out.pop(number)
        if self._timekeeper:
            self._timekeeper.gave_up(self.name)
        return job.failed(f"cannot {job.name}: {self.name} did not answer within {job.deadline:g} s")

    @property
    def busy(self) -> int:
        """Jobs that are out."""
        return len(self._out)

    @property
    def changing(self) -> bool:
        """Whether a job that changes the outside is out."""
        return any(job.changes for _, job in self._out.values())


class Lanes:
    """Every lane by name, made when first needed."""

    def __init__(self, mailbox: queue.SimpleQueue[Any], timekeeper: Timekeeper | None = None) -> None:
        """No lanes yet."""
        self._mailbox, self._timekeeper, self._lanes = mailbox, timekeeper, dict[str, Lane]()
        self._numbers = iter(range(1, 1 << 62))

    def start(self, lane: str, job: Job, now: float) -> None:
        """Have a job done in a lane."""
        if lane not in self._lanes:
            self._lanes[lane] = Lane(lane, self._mailbox, self._numbers, self._timekeeper)
        self._lanes[lane].start(job, now)

    def answer(self, message: Any) -> None:
        """Hand the owner an answer that no job had to be done for."""
        self._mailbox.put(message)

    def accept(self, done: Finished) -> bool:
        """Whether anybody still waits for this answer."""
        return any(lane.accept(done) for lane in self._lanes.values())

    def late(self, now: float) -> list[Any]:
        """The messages of all jobs given up on."""
        return [message for lane in self._lanes.values() for message in lane.late(now)]

    @property
    def changing(self) -> bool:
        """Whether any lane is changing the outside at this moment."""
        return any(lane.changing for lane in self._lanes.values())

    @property
    def busy(self) -> dict[str, int]:
        """How many jobs are out, by lane."""
        return {name: lane.busy for name, lane in self._lanes.items() if lane.busy}


@dataclass(frozen=True, slots=True)
class Crashed:
    """A thread that should run for ever ended, on its way to the owner."""

    name: str
    error: str


def watch_over(name: str, work: Callable[[], None], mailbox: queue.SimpleQueue[Any]) -> None:
    """Run a sensor in a daemon thread of its own, and tell the owner when it ends, whatever ended it."""

    def serve() -> None:
        error = "ended by itself"
        try:
            work()
        except Exception as reason:  # noqa: BLE001 - one of the three places: a lane's worker
            error = f"{type(reason).__name__}: {reason}"
        mailbox.put(Crashed(name, error))

    threading.Thread(target=serve, name=name, daemon=True).start()
