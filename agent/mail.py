"""What waits in the mailbox: all of it for a turn, and within a turn, for a moment, the plans that it asked for."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from agent.dispatch import Outside, carry_out
from agent.messages import Plan, Planned
from agent.workers import Finished

A_TURN: Final = 512
"""Items worked off in one turn."""
PLANNING: Final = 0.005
"""Seconds that a turn waits for its plans. Most take a tenth of that; one that takes longer is worked off when it comes."""


class Mail:
    """Reads the mailbox. Only the owner's thread calls it."""

    def __init__(self, mailbox: queue.SimpleQueue[Any], planning: float = PLANNING) -> None:
        """Nothing was read ahead."""
        self._mailbox, self._planning, self._ahead = mailbox, planning, list[Any]()

    def gather(self, patience: Callable[[], float]) -> list[Any]:
        """Wait for the first item, at most for so many seconds, then take what else is there."""
        items, self._ahead = self._ahead, []
        try:
            if not items:
                items.append(self._mailbox.get(timeout=patience()))
            while len(items) < A_TURN:
                items.append(self._mailbox.get_nowait())
        except queue.Empty:
            pass
        return items

    def planned(self, plans: Sequence[Plan], outside: Outside) -> list[Any]:
        """Have plans made, and answer with those that come at once; whatever else comes meanwhile is for the next turn.

        A plan only asks, so nothing must be durable before it. And who waits for it here commits once, what was found together
        with what is about to be done about it: half the way from a line in a log to a block was that other commit.
        """
        begun, missing, came = time.monotonic(), len(plans), list[Any]()
        carry_out(plans, outside, begun)
        while missing > 0 and (left := begun + self._planning - time.monotonic()) > 0:
            try:
                item = self._mailbox.get(timeout=left)
            except queue.Empty:
                break
            if many := _plans_in(item):
                missing -= many
                came.append(item)
            else:
                self._ahead.append(item)
        return came


def _plans_in(item: Any) -> int:
    """How many plans an item brings."""
    message = item.message if isinstance(item, Finished) else item
    return len(message) if isinstance(message, list) and message and isinstance(message[0], Planned) else 0
