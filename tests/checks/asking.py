"""Ask a check as the daemon does."""

from __future__ import annotations

from typing import Any

from agent.action import System
from agent.check import Answer, run


def answers(question: Any, **systems: System) -> list[Answer]:
    return run(question, systems)


def the_answer(question: Any, **systems: System) -> Answer:
    """The answer of a question that has exactly one."""
    (answer,) = run(question, systems)
    return answer
