"""Ends a call in time, whatever it hangs in: a resolver that is gone, a byte now and then, a library without time limits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from agent.notifying.notifier import SECONDS, Busy, Unsure

WITHIN: Final = SECONDS - 1.0
_MOST: Final = 32
_NAME: Final = "in-time:"

T = TypeVar("T")


def in_time(work: Callable[[], T], whom: str, within: float = WITHIN) -> T:
    """What `work` returns or raises, if it does so `within` seconds. One that is late is given up on, not ended.

    Raises:
        Unsure: it was not done in time. Busy: too many that were given up on hang still.
    """
    if sum(one.name.startswith(_NAME) for one in threading.enumerate()) >= _MOST:
        raise Busy(f"cannot reach {whom}: {_MOST} calls to such channels hang already")
    came: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    threading.Thread(target=_run, args=(work, came), name=f"{_NAME}{whom}", daemon=True).start()
    try:
        result, error = came.get(timeout=within)
    except queue.Empty:
        raise Unsure(f"cannot tell whether {whom} took it: no answer within {within:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None only where T is


def _run(work: Callable[[], T], came: queue.SimpleQueue[tuple[T | None, BaseException | None]]) -> None:
    try:
        came.put((work(), None))
    except BaseException as error:  # noqa: BLE001 - handed on to the one who waits, not swallowed
        came.put((None, error))
