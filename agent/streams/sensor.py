"""What a sensor is: a stream of the outside that becomes batches of events, for as long as the daemon runs.

    @sensor                                  the file's name is the sensor's name in agent.yaml
    class Logfile:
        path: str                            the fields are its parameters
        parsers: tuple[str, ...]
        @property
        def source(self) -> str: ...         what its events and its position are filed under
        def run(self, deliver, position, stop, wanted=None): ...

Exactly once: a batch carries the position behind its events, and the daemon commits both in one transaction. What was not
committed when the agent died is read again from the committed position, and nothing else is.
"""

from __future__ import annotations

import threading
import time
import typing
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar, dataclass_transform

from agent.event import Event, Kind, Value
from agent.schema import rough

SENSOR: Final = Kind(
    "sensor",
    "How a sensor is: whether it can read its source, how far behind it is, how long its source has been silent.",
    {
        "name": "text",
        "ok": "flag",
        "say": "text",
        "lag_bytes": "integer",
        "silent": "number",
        "usual": "number",
        "overdue": "flag",
        "forgotten": "integer",
    },
    state=True,
)
"""`name` is the sensor's source, as in `file:/var/log/auth.log`; `silent` is seconds since it last had something to read,
`usual` the longest that took in the last day, absent until it has been read for an hour. `overdue` is a source that can be
read and is silent for longer than 5 min and three times `usual`. `forgotten` counts what its tables had no room for."""


class Batch(NamedTuple):
    """What was waiting in a source. `position` is where to go on behind it; empty leaves the committed one as it is.

    `lines` counts everything that was read, `events` only what meant something; a batch without events moves the position.
    `kept` is called by the owner right after the commit of what was read and of all that followed from it: True where that is
    durable, False where evidence cannot be written just now. It must not block. `news` is a message for flow.py, worked off
    before the events are.
    """

    source: str
    events: tuple[Event, ...]
    position: str
    lines: int
    seen: float
    kept: Callable[[bool], None] | None = None
    news: Any = None


Deliver = Callable[[Batch], None]
"""Takes a batch, and blocks while the daemon has no room for it."""


class Sensor(Protocol):
    """An instance of a class under agent/sensors/: parameters bound, ready to run."""

    name: ClassVar[str]
    anchors: ClassVar[bool]
    """Whether it delivers a position as soon as it stands at its source; a start waits for that, to miss no line."""
    serves: ClassVar[bool]
    """Whether others are served by it: it goes on through a reload, whatever is wanted, and a stop waits for its goodbye."""

    @property
    def source(self) -> str:
        """What events and position are filed under; one of a kind on this host."""
        ...

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:
        """Read from the position on until `stop` is set; trouble with the source is told as a `sensor` event and waited out.

        `wanted` are the kinds that some policy names; None means all.
        """
        ...


T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def sensor(cls: T) -> T:
    """Declare the one sensor of a file under agent/sensors/."""
    if not (cls.__doc__ or "").strip() or not hasattr(cls, "run") or not hasattr(cls, "source"):
        raise TypeError(f"{cls.__module__}: a sensor needs a docstring, source and run()")
    made: Any = dataclass(frozen=True)(cls)
    made.name, made.anchors = cls.__module__.rpartition(".")[2], getattr(cls, "anchors", True)
    made.serves = getattr(cls, "serves", False)
    return typing.cast("T", made)


def discover_sensors() -> dict[str, type[Any]]:
    """Every sensor of agent/sensors/ by name."""
    from agent import sensors
    from agent.action import discover

    return discover(sensors, mark="run")


# What every sensor does the same way ----------------------------------------------------------------------------------

_TELL_EVERY: Final = 60.0
_COMMIT_EVERY: Final = 5.0
_COMMIT_BYTES: Final = 8 << 20
_HOUR: Final = 3600.0
_DAY: Final = 25
"""Hours: one more than a day has, so that what comes once a day is not taken for lost when it is a little late."""
_TIMES: Final = 3
_AT_LEAST: Final = 300.0
"""Seconds of silence that raise no alarm, however lively a source is."""


class Silence:
    """How long a source is silent, and how long that usually takes: the longest gap between its lines, hour by hour for a day.

    `now` is in monotonic seconds. It is learnt anew after each start and reload: for an hour, silence raises no alarm.
    """

    def __init__(self, now: float) -> None:
        """Nothing is known."""
        self._first: float | None = None
        self._last = self._since = now
        self._hours: deque[tuple[int, float]] = deque()
        self._blind = False

    def ended(self, now: float) -> None:
        """There was something to read."""
        self.seen(ok=True, now=now)
        hour, gap = int(now // _HOUR), now - self._since
        if self._first is None:
            self._first = now
        elif self._hours and self._hours[-1][0] == hour:
            self._hours[-1] = (hour, max(self._hours[-1][1], gap))
        else:
            self._hours.append((hour, gap))
        while self._hours and self._hours[0][0] <= hour - _DAY:
            self._hours.popleft()
        self._last = self._since = now

    def seen(self, *, ok: bool, now: float) -> None:
        """Whether the source can be read: while it cannot, that is no silence, and afterwards the silence begins anew."""
        if ok and self._blind:
            self._since = now
        self._blind = not ok

    def lasts(self, now: float) -> float:
        """Seconds since there was something to read."""
        return now - self._last

    @property
    def usual(self) -> float | None:
        """The longest silence of the day before the last line, in seconds; None until the lines span an hour."""
        if self._first is None or self._last - self._first < _HOUR:
            return None
        return max((gap for _, gap in self._hours), default=None)

    def overdue(self, now: float) -> str:
        """A sentence where the source should have said something by now; else nothing. One that never did owes nothing."""
        usual, silent = self.usual, now - self._since
        if usual is None or self._blind or silent <= max(_AT_LEAST, _TIMES * usual):
            return ""
        most = rough(timedelta(seconds=round(usual, 1)))
        return f"silent for {rough(timedelta(seconds=silent))}; the longest silence of a day was {most}"


@dataclass
class Outlet:
    """Delivers one sensor's events: at once where there are any. A position alone costs a commit, so it waits a while."""

    source: str
    deliver: Deliver
    clock: Callable[[], float] = time.monotonic
    _lines: int = 0
    _bytes: int = 0
    _position: str = ""
    _committed: str = ""
    _told_at: float = float("-inf")
    _state: tuple[bool, str, bool] | None = None
    _committed_at: float = field(init=False)
    _silence: Silence = field(init=False)

    def __post_init__(self) -> None:
        self._committed_at, self._silence = self.clock(), Silence(self.clock())

    def send(self, events: list[Event], position: str | None = None, lines: int = 0, size: int = 0) -> None:
        """Deliver events with the position behind them, or remember the position for later; None: it is where it was."""
        now = self.clock()
        self._lines, self._bytes = self._lines + lines, self._bytes + size
        if lines:
            self._silence.ended(now)
        if position is not None:
            self._position = position
        late = now - self._committed_at >= _COMMIT_EVERY or self._bytes >= _COMMIT_BYTES
        if events or (late and self._position != self._committed):
            self._flush(events, now)

    def anchor(self, position: str) -> None:
        """Deliver the very first position at once, so that a crash before the first line loses nothing either."""
        self._position = position
        self._flush([], self.clock())

    def tell(self, *, ok: bool, say: str, lag: Callable[[], int] = lambda: 0, forgotten: int = 0) -> None:
        """Say how the sensor is, when that changed and once a minute; only then is the lag asked for."""
        now = self.clock()
        self._silence.seen(ok=ok, now=now)
        overdue = self._silence.overdue(now)
        state = (ok, say, bool(overdue))
        if self._state == state and now - self._told_at < _TELL_EVERY:
            return
        self._state, self._told_at = state, now
        fields: dict[str, Value] = {"name": self.source, "ok": ok, "say": overdue or say, "lag_bytes": lag()}
        fields |= {"silent": round(self._silence.lasts(now), 1), "overdue": bool(overdue), "forgotten": forgotten}
        if (usual := self._silence.usual) is not None:
            fields["usual"] = round(usual, 1)
        self._flush([Event(SENSOR.name, time.time(), fields, self.source)], now)

    def _flush(self, events: list[Event], now: float) -> None:
        self.deliver(Batch(self.source, tuple(events), self._position, self._lines, time.time()))
        self._lines = self._bytes = 0
        self._committed, self._committed_at = self._position, now


@dataclass
class Backoff:
    """Seconds to wait after each failure in a row: 1, 2, 4 … 60."""

    _next: float = 1.0

    def wait(self, stop: threading.Event) -> None:
        """Wait, or return at once when asked to stop."""
        stop.wait(self._next)
        self._next = min(self._next * 2, 60.0)

    def reset(self) -> None:
        """It went well."""
        self._next = 1.0
