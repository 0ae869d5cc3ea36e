"""Ask a check until it answers as awaited, for what a server takes a moment to do."""

from __future__ import annotations

import time
from typing import Any

from agent.check import Answer
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer


def once(state: str, question: Any, postgres: Postgres) -> Answer:
    until = time.monotonic() + 15
    while (answer := the_answer(question, postgres=postgres)).state != state:
        assert time.monotonic() < until, answer
        time.sleep(0.01)
    return answer
