"""What other tools hand in over HTTP: `POST /in/<sender>`, answered with 202 once it is written down. See agent/intake/."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import Any, ClassVar, Final

from agent.event import Event, Kind, Value
from agent.intake.heard import Heard
from agent.intake.key_file import Learn
from agent.intake.listening import doors
from agent.intake.pending import Handed, Pending
from agent.intake.reception import Reception
from agent.intake.settings import BAD_INPUT, REFUSED, Settings
from agent.streams.sensor import SENSOR, Batch, Deliver, sensor

KINDS: Final[tuple[Kind, ...]] = (BAD_INPUT, REFUSED)
SOURCE: Final = "intake"
LOOK: Final = 0.25
"""Seconds between two looks at whether to stop, and who is overdue, while nobody sends."""
TELL: Final = 60.0
GOODBYE: Final = 2.0
"""Seconds that documents under way have for their commit when the agent stops."""


def _unlearnt(_: str) -> None:
    """Nobody keeps secrets out of anything."""


@sensor
class Intake:
    """Alerts and events that other tools hand in over HTTP."""

    anchors: ClassVar[bool] = False
    serves: ClassVar[bool] = True

    settings: Settings
    learn: Learn = field(default=_unlearnt, compare=False)
    heard: Heard = field(default_factory=Heard, compare=False, repr=False)

    @property
    def source(self) -> str:
        """`intake`; the events of a sender have `in:` and its name."""
        return SOURCE

    @property
    def kinds(self) -> Iterator[Kind]:
        """Every kind that can come in."""
        return self.settings.kinds

    def status(self) -> dict[str, Any]:
        """For people: where it listens, and who was heard. Any thread may ask."""
        return self.heard.status(self.settings.inlets, time.time())

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Serve until stopped. The position is when each sender was last heard."""
        self.heard.begin((one.name for one in self.settings.inlets), _times(position), time.time())
        serving = _Serving(self.settings, self.heard, self.learn, deliver)
        try:
            while not stop.is_set():
                serving.turn()
        finally:
            serving.close()


def _times(position: str | None) -> dict[str, float]:
    with suppress(ValueError, TypeError, AttributeError):
        return {str(name): float(at) for name, at in json.loads(position or "{}").items()}
    return {}


class _Serving:
    """One run: the addresses, the documents on their way, and what is said of both."""

    def __init__(self, settings: Settings, heard: Heard, learn: Learn, deliver: Deliver) -> None:
        from agent.intake.app import app

        self._settings, self._heard, self._deliver = settings, heard, deliver
        self._pending = Pending()
        self._reception = Reception(settings, self._pending, heard, learn)
        self._doors = doors(settings, app(self._reception), heard.turned_away)
        self._said: dict[str, tuple[str, bool]] = {}
        self._told_at = -TELL

    def turn(self) -> None:
        """Hand over what waits, or wait for it; and say how things are."""
        for one in self._doors:
            one.turn(time.monotonic())
        if taken := self._pending.take(LOOK):
            self._hand_over(taken)
        self._tell()

    def _hand_over(self, taken: Sequence[Handed]) -> None:
        """One batch, one commit for all; each is told of it."""
        now = time.time()
        named = [one.name for one in taken if one.name]
        times = {**self._heard.position(), **dict.fromkeys(named, int(now))}
        made = tuple(event for one in taken for event in one.events)
        kept = partial(self._kept, taken)
        self._deliver(Batch(SOURCE, made, json.dumps(times) if named else "", len(named), now, kept))

    def _kept(self, taken: Sequence[Handed], durable: bool) -> None:
        self._pending.settle(taken, "kept" if durable else "not kept")

    def close(self) -> None:
        """Take no more, say so to those who wait, let what is under way be committed, and leave no socket behind."""
        self._pending.close()
        if self._doors[0].opened:
            self._settings.socket.unlink(missing_ok=True)  # first: later it may be the next agent's
        self._pending.drain(GOODBYE)
        closing = [threading.Thread(target=one.close, daemon=True) for one in self._doors]
        for each in closing:
            each.start()
        for each in closing:
            each.join(GOODBYE)

    # How things are ---------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Say how the intake and each sender is, when that changed and once a minute."""
        due = time.monotonic() - self._told_at >= TELL
        if due:
            self._told_at = time.monotonic()
            self._reception.look()
        self._heard.listens = {one.name: one.why for one in self._doors}
        states = dict(self._states(time.time()))
        changed = [name for name, (trouble, late, _) in states.items() if due or self._said.get(name) != (trouble, bool(late))]
        if changed:
            self._said = {name: (trouble, bool(late)) for name, (trouble, late, _) in states.items()}
            made = tuple(_how_it_is(name, *states[name]) for name in changed)
            self._deliver(Batch(SOURCE, made, "", 0, time.time()))

    def _states(self, now: float) -> Iterator[tuple[str, tuple[str, str, float]]]:
        """By name: why it cannot be heard, why it should have been by now, and the seconds since it was."""
        yield SOURCE, ("; ".join(one.why for one in self._doors if one.why), "", 0.0)
        for one in self._settings.inlets:
            silent = self._heard.silent(one.name, now)
            yield one.source, (self._heard.senders[one.name].trouble, self._heard.overdue(one, now), silent)


def _how_it_is(name: str, trouble: str, late: str, silent: float) -> Event:
    fields: dict[str, Value] = {"name": name, "ok": not trouble, "say": trouble or late or "can be heard", "lag_bytes": 0}
    fields |= {"silent": round(silent, 1), "overdue": bool(late), "forgotten": 0}
    return Event(SENSOR.name, time.time(), fields, name)
