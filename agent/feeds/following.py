"""What all lists that others keep have in common: a thread of its own for each, which hands the heart what counts now.

It runs as a sensor does (agent/sensing.py), so that a hung server holds up nobody, a bug is told and survived, and a list that
cannot be had is seen by the policy `sensor-blind`.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, Final

from agent.event import Event
from agent.feeds.listing import Change, Listing, difference, digest
from agent.grammar.config_feeds import FeedKeys
from agent.guard import Lifelines
from agent.messages import Fed
from agent.schema import rough
from agent.streams.sensor import Batch, Deliver, Outlet

log = logging.getLogger("agent")

LOOK: Final = 0.5
"""Seconds between two looks at the clock, at a file, and at what a person said."""


class Following(ABC):
    """Follows one list. Belongs to its thread; `restore`, `accept` and `listing` are for the owner's.

    Attributes:
        live: the last good list, with what is wrong now.
        look: seconds between two looks.
        quiet: seconds between two records of its changes.
    """

    name: ClassVar[str] = "feed"
    anchors: ClassVar[bool] = False
    serves: ClassVar[bool] = False
    quiet: ClassVar[float] = 0.0

    def __init__(self, called: str, keys: FeedKeys, lines: Callable[[], Lifelines]) -> None:
        """Nothing is known yet; `lines` gives the life-lines of the moment, without those that a stranger can bring about."""
        self.called, self.keys, self.lines = called, keys, lines
        self.live, self.look = Listing(keys.source), LOOK
        self.because, self.actor, self.refused = "", "agent", ""
        self._recorded = self._told = self._aged_from = self._aged = self.live
        self._speak_at = 0.0

    @property
    def source(self) -> str:
        """As in `feed:drop`."""
        return f"feed:{self.called}"

    def restore(self, now: float) -> Listing:
        """What counts at a start, before anything is asked: the very first event meets the list."""
        return self.shown(now)

    def accept(self, actor: str) -> int | None:  # noqa: ARG002 - only a text can wait for a person
        """Use the text that was refused, on a person's word: so many networks. None where none waits."""
        return None

    @abstractmethod
    def begin(self, position: str | None) -> None:
        """The thread starts, perhaps again; `position` is the one that was committed last."""

    @abstractmethod
    def turn(self, now: float, wanted: frozenset[str] | None) -> tuple[list[Event], str | None]:
        """Look whether there is something new; the events that come of it, with the position behind them."""

    @property
    @abstractmethod
    def blind(self) -> bool:
        """Whether its source cannot be read at all."""

    # The thread -------------------------------------------------------------------------------------------------------------

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:
        """Follow the list until stopped."""
        outlet = Outlet(self.source, deliver)
        self.begin(position)
        while True:
            events, behind = self.turn(time.time(), wanted)
            shown = self._hand_over(deliver)
            if behind is not None and position is None:
                outlet.anchor(behind)
            outlet.send(events, behind)
            position = behind if behind is not None else position
            outlet.tell(ok=shown is self.live and not self.blind, say=shown.trouble or f"follows {shown.source}")
            if stop.wait(self.look):
                return

    def _hand_over(self, deliver: Deliver) -> Listing:
        """Give the heart what counts now, where that is new; a change is recorded at once, or when the last one is old."""
        shown, now = self.shown(time.time()), time.monotonic()
        speak = shown.networks.codes != self._recorded.networks.codes and now >= self._speak_at
        if shown is self._told and not speak and not self.refused:
            return shown
        handed, change = replace(shown, digest=self._recorded.digest), None
        if speak:
            handed = replace(shown, digest=digest(shown.networks))
            because = self.because if shown is self.live else "it was not refreshed for too long"
            change = Change(because, *difference(self._recorded.networks, shown.networks), self.actor)
            self._recorded, self._speak_at, self.actor = handed, now + self.quiet, "agent"
        deliver(Batch(self.source, (), "", 0, time.time(), news=Fed(self.called, handed, change, self.refused)))
        self._told, self.refused = shown, ""
        return shown

    def shown(self, now: float) -> Listing:
        """The list as it counts: empty when it was not refreshed for too long."""
        longest, live = self.keys.longest, self.live
        if longest is None or live.refreshed is None or now - live.refreshed <= longest.total_seconds():
            return live
        if self._aged_from is not live:
            said = f"not refreshed for {rough(longest)}, so it counts as empty"
            trouble = f"{said}: {live.trouble}" if live.trouble else said
            self._aged_from, self._aged = live, Listing(live.source, refreshed=live.refreshed, trouble=trouble)
        return self._aged

    def warn(self, trouble: str, offered: int | None = None) -> None:
        """Something is wrong with it; told once in the log, and shown while it is so. Empty: all is well again."""
        if trouble and trouble != self.live.trouble:
            log.warning("list %s: %s", self.called, trouble)
        self.live = self.live.wrong(trouble, offered)


def due(wall: float, now: float, longest: timedelta) -> float:
    """A time of day as one of time.monotonic(): never further away than `longest`, wherever the host's clock was set."""
    return time.monotonic() + min(max(0.0, wall - now), longest.total_seconds())
