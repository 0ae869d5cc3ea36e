"""Effects become jobs: whatever an action's parameters are called."""

from __future__ import annotations

import queue
from datetime import timedelta

from actions.restart_service import RestartService
from agent.dispatch import DEADLINE, Outside, carry_out
from agent.execute import unguarded
from agent.messages import Plan, Run
from agent.workers import Lanes


def test_a_parameter_called_within_is_not_the_time_that_planning_may_take() -> None:
    lanes = Lanes(queue.SimpleQueue())
    outside = Outside({}, lanes, lambda *_: {}, lambda: None, unguarded)
    plan = Plan(Run("a person", "a test"), RestartService(unit="web.service", within=timedelta(hours=1)))

    carry_out([plan], outside, 0.0)

    assert lanes.late(DEADLINE - 1) == []
    assert "did not answer within 10 s" in str(lanes.late(DEADLINE + 1))
