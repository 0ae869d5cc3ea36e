"""One subject under one agent: put into force, looked at from outside, and its end awaited. What must hold stands here."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.record import Record
from tests.chaos.life import BoxedLife, Life
from tests.chaos.subjects import Subject
from tests.running import sshd_lines, wait_for

ANSWERED = 8.0
"""Seconds in which an agent answers, whatever hangs: it gives a system three to say what holds, and this machine is slow."""
PATIENCE = 30.0
"""Seconds in which all comes to rest once a fault is over."""
POLICY = """
policy: guessing
severity: P1
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: %s}
guard: {max: 20000 per 10m, cooldown: 1s}
"""


class BrokenError(AssertionError):
    """Something did not hold."""


class Scene:
    """`with_policy` has the finding of a policy bring it about, else it is a person's order."""

    def __init__(self, life: Life, subject: Subject, ttl: float, *, by_policy: bool = False) -> None:
        self.life, self.subject, self.ttl, self.by_policy = life, subject, ttl, by_policy
        self.before: object = None
        self.first, self._made, self._ends = 0, 0, 0.0

    # What is done -----------------------------------------------------------------------------------------------------

    def begin(self, death: str = "") -> None:
        """The agent is up, and the subject as it is when nothing is contained."""
        self.life.start(*([death] if death else []))
        self.life.calm()
        self.subject.ready()
        self.before = self.subject.world()
        self.first = int(self.life.ask("status")["records"])
        self._made = max((_number(one) for one in self.life.ask("mitigations", ended=True)["items"]), default=0)

    def put(self) -> dict[str, Any]:
        """Have it contained; nothing where the agent died over it."""
        self._ends = time.monotonic() + self.ttl
        if self.by_policy:
            with (self.life.place / "auth.log").open("a") as log:
                log.write("".join(sshd_lines(self.subject.target, 4)))
            return {}
        with suppress(OSError, ValueError):  # it died before it answered
            answer: dict[str, Any] = self.life.ask("do", **self.subject.order(f"{self.ttl:g}s"))
            return answer
        return {}

    def left(self) -> float:
        """Seconds until it is over, by a clock that nobody sets."""
        return self._ends - time.monotonic()

    # What must hold ---------------------------------------------------------------------------------------------------

    def items(self, *, ended: bool = False) -> list[dict[str, Any]]:
        """What the agent says of the subject, those of this scene alone."""
        shown = self.life.ask("mitigations", ended=ended)["items"]
        ours = [one for one in shown if one["action"] == self.subject.action and _number(one) > self._made]
        return ours if ended else [one for one in ours if one["stage"] in ("applying", "in_force", "lifting")]

    def in_force(self) -> bool:
        made = self.items()
        return bool(made) and all(one["stage"] == "in_force" and not one["short"] for one in made)

    def must_hold(self) -> None:
        """It is in force, by the agent's word and the system's own."""
        self.wait("in force by the agent's word", self.in_force)
        self.wait("contained by the system's own word", self.subject.holds)

    def must_be_equal(self, within: float = PATIENCE) -> None:
        """Status is what the system says: something in force, and the world is another; nothing, and it is as it was."""
        self.answers()
        self.life.calm(PATIENCE)
        self.wait("status equal to the system", self._equal, within)

    def _equal(self) -> bool:
        if self.subject.once:
            return any(one["stage"] == "done" for one in self.items(ended=True)) == self.subject.holds()
        return bool(self.items()) != (self.subject.world() == self.before)

    def answers(self) -> None:
        """It is alive, and its lanes are free: a question that asks every system is answered in time."""
        begun = time.monotonic()
        self.life.ask("status")
        took = time.monotonic() - begun
        if took > ANSWERED:
            raise BrokenError(f"it took {took:.1f} s to answer what its status is")

    def must_end(self) -> None:
        """It ends in time, and nothing of it is left anywhere."""
        if self.subject.once:
            self.must_be_equal()
        else:
            patience = max(0.0, self.left()) + PATIENCE + self.subject.takes
            self.wait("the end in the agent's word", lambda: not self.items(), patience)
            self.wait("the end in the world", lambda: self.subject.world() == self.before, PATIENCE)
        self.life.calm(PATIENCE)
        self.wait("no capsule", lambda: not self.life.capsules(), PATIENCE)
        if isinstance(self.life, BoxedLife):
            timers = self.life.timers
            self.wait("no timer", lambda: not timers(), PATIENCE)
        self.evidence()
        if found := self.life.litter():
            raise BrokenError(f"files are left: {', '.join(found)}")
        self.subject.again()

    def evidence(self) -> None:
        """`contain evidence verify` finds nothing, and nothing is left open."""
        if wrong := self.life.wrong_evidence():
            raise BrokenError(f"the evidence: {'; '.join(wrong)}")

    def records(self) -> list[Record]:
        """What was written down since the scene began."""
        return self.life.records(self.first - 1)

    def wait(self, what: str, true: Callable[[], object], within: float = PATIENCE) -> None:
        """Until it comes true.

        Raises:
            BrokenError: it does not in time.
        """
        try:
            wait_for(lambda: _asked(true), within)
        except AssertionError as error:
            raise BrokenError(f"not within {within:.0f} s: {what}\n{self.told()}") from error

    def told(self) -> str:
        """What the agent says and what it is about, for whoever has to find out."""
        lines = [f"{one['id']} {one['stage']} {one['describe']}: {one['short']}" for one in self.items(ended=True)[-8:]]
        world = f"world before: {self.before!s:.1500}\nworld now:    {self.subject.world()!s:.1500}"
        log = self.life.log.read_text(errors="replace").splitlines()[-12:]
        return "\n".join([*lines, world, *(line[:300] for line in log)])


def _asked(true: Callable[[], object]) -> bool:
    """With a pause where it is not true yet: each question is one to a real system."""
    if found := bool(true()):
        return found
    time.sleep(0.05)
    return False


def _number(one: dict[str, Any]) -> int:
    return int(one["id"].rpartition("-")[2])
