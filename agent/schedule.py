"""When each check is asked next, and what it said last.

A check that is still out is not asked again, nor is one that was given up on and hangs: it has one thread, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.action import System
from agent.check import Answer, Check, run, unknown
from agent.workers import Job, Lanes


@dataclass(frozen=True, slots=True)
class Answered:
    """What a check said, on its way to the owner."""

    name: str
    answers: tuple[Answer, ...]


@dataclass
class Scheduled:
    """A check, how often it is asked and how long it may take (seconds), and what it said last (`asked`: Unix seconds).

    `about` is what it depends on, as in `unit nginx.service`, beside what its question names itself.
    """

    name: str
    question: Check
    every: float
    timeout: float
    about: tuple[str, ...] = ()
    due: float = 0.0
    out: bool = False
    at_it: bool = False
    answers: tuple[Answer, ...] = field(default=())
    asked: float = 0.0

    @property
    def lane(self) -> str:
        """Checks of one system share its lane; those that ask no system in particular share the net's."""
        return next((one.name for one in self.question.needs.values()), "net")


class Schedule:
    """All checks. Only the owner's thread calls it."""

    def __init__(self, checks: Sequence[Scheduled], systems: Mapping[str, System]) -> None:
        """Everything is due at once."""
        self.checks = {one.name: one for one in checks}
        self._systems = systems
        self.said: dict[tuple[str, str], str] = {}
        """What each check said last of each of its targets, since the start."""

    def begin(self, lanes: Lanes, now: float) -> None:
        """Ask whatever is due; `now` is monotonic."""
        for one in self.checks.values():
            if now < one.due:
                continue
            one.due = now + one.every if one.due == 0.0 else max(one.due + one.every, now)
            if not (one.out or one.at_it):
                one.out = True
                lanes.start(one.lane, self._job(one), now)

    def _job(self, one: Scheduled) -> Job:
        def work() -> list[Answered]:
            one.at_it = True
            try:
                return [Answered(one.name, tuple(run(one.question, self._systems)))]
            finally:
                one.at_it = False

        return Job(
            f"ask {one.name}",
            work=work,
            failed=lambda why: [Answered(one.name, (unknown(why),))],
            deadline=one.timeout,
        )

    def next_due(self) -> float:
        """When the next check is due, in monotonic seconds."""
        return min((one.due for one in self.checks.values()), default=float("inf"))

    def answered(self, answered: Answered, now: float) -> Scheduled:
        """Take an answer in; `now` is Unix seconds."""
        one = self.checks[answered.name]
        one.out, one.answers, one.asked = False, answered.answers, now
        return one
