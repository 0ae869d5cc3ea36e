"""Load: is more work waiting than the processors can do?"""

from __future__ import annotations

import os

from agent.checks.load import Load
from tests.checks.asking import the_answer


def test_the_value_is_the_load_of_a_minute_per_processor() -> None:
    before = os.getloadavg()[0]

    answer = the_answer(Load(per_core_limit=10_000))

    assert answer.state == "good"
    assert answer.value in [load / (os.cpu_count() or 1) for load in (before, os.getloadavg()[0])]


def test_the_limit_itself_is_bad() -> None:
    answer = the_answer(Load(per_core_limit=0))

    assert (answer.state, answer.limit) == ("bad", 0)
