"""A source that falls silent for longer than it ever was: learnt, told, and told again when it is read. In virtual time."""

from __future__ import annotations

from typing import Any

from agent.event import Event
from agent.streams.sensor import Batch, Outlet

MINUTE, HOUR = 60.0, 3600.0


class Reader:
    """A sensor's loop in virtual time: it looks every 15 s, and `lines` come at the times that the test says."""

    def __init__(self) -> None:
        self.now, self.told = 1000.0, list[tuple[float, Event]]()
        self.outlet = Outlet("file:/var/log/auth.log", self._take, clock=lambda: self.now)

    def _take(self, batch: Batch) -> None:
        self.told += [(self.now, event) for event in batch.events]

    def run(self, seconds: float, *, every: float = 0.0, ok: bool = True) -> None:
        """Pass time; a line comes `every` so many seconds, none with 0."""
        due, end = self.now + every, self.now + seconds
        while self.now < end:
            self.now += 15.0
            if every and self.now >= due:
                due = self.now + every
                self.outlet.send([], "somewhere", lines=1)
            self.outlet.tell(ok=ok, say="reads it" if ok else "cannot read it")

    @property
    def last(self) -> Any:
        return self.told[-1][1].fields

    def overdue(self) -> list[float]:
        """When it was said to be overdue."""
        return [at for at, event in self.told if event.fields["overdue"]]


def test_a_source_that_stops_is_overdue_after_three_times_its_longest_silence() -> None:
    reader = Reader()
    reader.run(2 * HOUR, every=10 * MINUTE)
    stopped = reader.now

    reader.run(2 * HOUR)

    first = reader.overdue()[0]
    assert 30 * MINUTE <= first - stopped <= 31 * MINUTE
    assert reader.last["usual"] == 10 * MINUTE
    assert reader.last["say"].endswith("; the longest silence of a day was 10 min")


def test_a_lively_source_has_five_minutes() -> None:
    reader = Reader()
    reader.run(2 * HOUR, every=15)
    stopped = reader.now

    reader.run(HOUR)

    assert 5 * MINUTE <= reader.overdue()[0] - stopped <= 6 * MINUTE


def test_it_is_said_once_a_minute_while_it_lasts_and_at_once_when_it_is_over() -> None:
    reader = Reader()
    reader.run(2 * HOUR, every=15)
    reader.run(15 * MINUTE)
    spoken = len(reader.overdue())

    reader.run(15, every=15)

    assert 8 <= spoken <= 11
    assert (reader.last["overdue"], reader.last["silent"]) == (False, 0.0)


def test_a_source_that_never_had_a_line_owes_none() -> None:
    reader = Reader()

    reader.run(30 * HOUR)

    assert reader.overdue() == []
    assert "usual" not in reader.last


def test_for_an_hour_nothing_is_known_of_a_source() -> None:
    reader = Reader()
    reader.run(50 * MINUTE, every=15)

    reader.run(5 * HOUR)

    assert reader.overdue() == []
    assert "usual" not in reader.last


def test_what_comes_once_a_day_in_a_burst_raises_no_alarm() -> None:
    reader = Reader()

    for _ in range(5):
        reader.run(10 * MINUTE, every=15)
        reader.run(24 * HOUR)

    assert reader.overdue() == []


def test_what_comes_once_a_week_is_not_forgotten_while_it_is_waited_for() -> None:
    reader = Reader()
    for _ in range(2):
        reader.run(30, every=15)
        reader.run(7 * 24 * HOUR)

    assert reader.overdue() == []
    assert reader.last["usual"] > 6 * 24 * HOUR


def test_after_a_day_of_lively_reading_a_quiet_night_is_forgotten() -> None:
    reader = Reader()
    reader.run(HOUR, every=15)
    reader.run(8 * HOUR)
    reader.run(10 * HOUR, every=15)
    night = reader.last["usual"]

    reader.run(20 * HOUR, every=15)

    assert (night, reader.last["usual"]) == (8 * HOUR + 15, 15.0)


def test_a_source_that_cannot_be_read_is_blind_and_not_silent_and_that_time_teaches_nothing() -> None:
    reader = Reader()
    reader.run(2 * HOUR, every=15)

    reader.run(3 * HOUR, ok=False)
    reader.run(2 * MINUTE)
    reader.run(HOUR, every=15)

    assert reader.overdue() == []
    assert reader.last["usual"] == 2 * MINUTE


def test_a_source_that_can_be_read_again_and_stays_silent_is_overdue() -> None:
    reader = Reader()
    reader.run(2 * HOUR, every=15)
    reader.run(HOUR, ok=False)
    back = reader.now

    reader.run(HOUR)

    assert 5 * MINUTE <= reader.overdue()[0] - back <= 6 * MINUTE


def test_what_is_learnt_stays_small_however_long_it_reads() -> None:
    reader = Reader()

    reader.run(4 * 24 * HOUR, every=15)

    assert len(reader.outlet._silence._hours) <= 25
