"""The process that searches texts where one could keep an expression busy for minutes. See apart.py, which starts it.

It reads questions and writes answers, one JSON list a line, and ends when nobody asks any more, also when the agent was killed.
A search that takes too long is interrupted here: Python's engine looks for signals, and in a process's main thread a handler may
raise. Memory has an end, too: a search that needs more is given up. It imports next to nothing, so that it stays small.

    [key, [searches…]]             remember these expressions; `null` forgets them
    [key, seconds, [[text…]…]]     -> [[told…], CPU seconds, whether the next text was given up]
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

from agent.fail2ban.search import Search

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

_MEMORY: Final = 96 << 20
"""Bytes of address space: Python takes 13 MiB, and the expressions of all filters that are shipped two more."""
_TURN: Final = 0.1
"""Seconds of CPU after which an answer is given, so that others get theirs."""


class _TooLong(Exception):  # noqa: N818 - a verdict
    """The text took too long."""


class _Limit:
    """Raises in the main thread after so many seconds of CPU. Waiting for a processor does not count."""

    def __init__(self) -> None:
        self._armed = False
        signal.signal(signal.SIGPROF, self._strike)

    def set(self, seconds: float) -> None:
        self._armed = True
        signal.setitimer(signal.ITIMER_PROF, seconds)

    def lift(self) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _strike(self, *_: object) -> None:
        if self._armed:
            self._armed = False
            raise _TooLong


def _answer(search: Search, seconds: float, each: Sequence[Sequence[str]], limit: _Limit) -> list[Any]:
    told: list[Any] = []
    begun = time.process_time()
    for texts in each:
        try:
            limit.set(seconds)
            look = search.look(texts)
            one = search.told(look, texts) if look is not None else None
            limit.lift()
        except (_TooLong, MemoryError):
            limit.lift()
            return [told, time.process_time() - begun, True]
        told.append(one)
        if time.process_time() - begun > _TURN:
            break
    return [told, time.process_time() - begun, False]


def main() -> None:
    """Answer until the other end closes."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a desk is for the agent, which ends us
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    limit, known = _Limit(), dict[int, Search]()
    for question in sys.stdin.buffer:
        match json.loads(question):
            case [key, seconds, each]:
                answer = json.dumps(_answer(known[key], seconds, each, limit)).encode() + b"\n"
                while answer:
                    answer = answer[os.write(1, answer) :]
            case [key, None]:
                known.pop(key, None)
            case [key, written]:
                known[key] = Search.read(written)
