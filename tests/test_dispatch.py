"""Effects become jobs: whatever an action's parameters are called, and whatever bug there is in making one."""

from __future__ import annotations

import queue
import time
from datetime import timedelta
from typing import Any

from actions.restart_service import RestartService
from agent.action import Call, Change, action
from agent.dispatch import DEADLINE, Outside, carry_out
from agent.execute import unguarded
from agent.messages import Apply, Heal, Lift, Plan, Run, Verify
from agent.workers import Lanes


def test_a_parameter_called_within_is_not_the_time_that_planning_may_take() -> None:
    lanes = Lanes(queue.SimpleQueue())
    outside = Outside({}, lanes, lambda *_: {}, lambda: None, unguarded)
    plan = Plan(Run("a person", "a test"), RestartService(unit="web.service", within=timedelta(hours=1)))

    carry_out([plan], outside, 0.0)

    assert lanes.late(DEADLINE - 1) == []
    assert "did not answer within 10 s" in str(lanes.late(DEADLINE + 1))


def test_a_bug_in_making_a_job_is_its_failure_and_not_the_end_of_the_agent() -> None:
    mailbox = queue.SimpleQueue[Any]()
    outside = Outside({}, Lanes(mailbox), lambda *_: {}, lambda: None, unguarded)
    call = Call("nowhere", "close", {})
    jobs = (("M-1", Change("close it", call, call, call)),)
    run = Run("a person", "a test")

    carry_out([Apply(run, jobs), Lift(jobs, "over"), Heal(jobs), Verify(jobs)], outside, 0.0)

    lifted, healed, verified, applied = (mailbox.get(timeout=1)[0] for _ in range(4))
    assert lifted.releases[0].result == "failed"
    assert healed.outcomes[0].result == "late"
    assert verified.held[0].holds is None
    assert "a bug in the agent: KeyError" in applied.outcomes[0].error


def test_a_bug_in_one_plan_leaves_the_others_of_its_batch_alone() -> None:
    @action(impact="mild")
    class Odd:
        """Plans nothing but trouble, for one of two."""

        who: str

        def plan(self) -> list[Change]:
            if self.who == "bad":
                raise TypeError("no such thing")
            return []

    mailbox = queue.SimpleQueue[Any]()
    outside = Outside({}, Lanes(mailbox), lambda *_: {}, lambda: None, unguarded)

    carry_out([Plan(Run("p", "x"), Odd("bad")), Plan(Run("p", "x"), Odd("good"))], outside, time.monotonic())

    bad, good = mailbox.get(timeout=5).message
    assert "a bug in test_dispatch: TypeError: no such thing" in bad.error
    assert good.error == ""
