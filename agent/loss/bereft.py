"""Without what the agent knew: every system is asked in its own lane what it holds of ours, and so are the capsules."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from agent.action import Adopted, CannotReach, System
from agent.desk import Parts
from agent.expiry.outlive import stray
from agent.messages import Adoptable, Message
from agent.turn import Agent
from agent.workers import Job, Lanes

log = logging.getLogger("agent")

PATIENCE: Final = 10.0
"""Seconds that a system has to answer."""
CAPSULES: Final = "capsules"


def ask(agent: Agent, parts: Parts, lanes: Lanes, put: Callable[[Message], None]) -> None:
    """Begin to ask; what they answer comes as messages. One that does not answer is asked again at the next start."""
    left, now = stray(parts.socket, agent.state), time.time()
    found = [Adopted(one.action, one.target, one.change, None if one.until is None else one.until - now, False) for one in left]
    put(Adoptable(CAPSULES, tuple(found)))
    for name, system in parts.systems.items():
        if name not in agent.state.mishaps.answered:
            lanes.start(name, Job(f"see what {name} holds", partial(_asked, system), _unanswered, PATIENCE), time.monotonic())


def _asked(system: System) -> list[Message]:
    try:
        return [Adoptable(system.name, tuple(system.adopt()))]
    except CannotReach as error:
        return _unanswered(str(error))


def _unanswered(why: str) -> list[Message]:
    log.error("%s; what it holds of ours is not known, because the journal was lost", why)
    return []
