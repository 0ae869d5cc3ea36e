"""Memory: is it running out?"""

from __future__ import annotations

import re

from agent.checks.memory import Memory
from tests.checks.asking import the_answer


def test_enough_is_good_and_says_how_much() -> None:
    answer = the_answer(Memory(available_floor=0.001))

    assert answer.state == "good"
    assert re.fullmatch(r"\d+ % of memory is available \([\d,]+ of [\d,]+ MiB\)", answer.say)


def test_less_than_the_floor_is_bad() -> None:
    answer = the_answer(Memory(available_floor=100))

    assert (answer.state, answer.limit) == ("bad", 100)
    assert answer.value
    assert 0 < answer.value < 100
