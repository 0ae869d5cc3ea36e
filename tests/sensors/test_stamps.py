"""Times in log lines: stamps without a year, local times where summer begins and ends, zones by offset and by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.event import Event
from agent.streams import syslog
from agent.streams.syslog import HEAD, exact_time, local_time, time_of, zoned_time


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """This process lives in that zone."""
    before = os.environ.get("TZ")
    _move(request.param)
    yield request.param
    _move(before)


def _move(zone: str | None) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()
    syslog._both.cache_clear()  # what is remembered of another zone; a running agent has one
    zoned_time.cache_clear()


def utc(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


def in_zones(*zones: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("zone", zones, indirect=True)


@in_zones("UTC")
@pytest.mark.parametrize(
    ("stamp", "seen", "meant"),
    [
        ("Nov 23 06:00:01", utc(2026, 11, 23, 6, 0, 2), utc(2026, 11, 23, 6, 0, 1)),
        ("Dec 31 23:59:59", utc(2027, 1, 1, 0, 0, 3), utc(2026, 12, 31, 23, 59, 59)),
        ("Jan  1 00:00:01", utc(2026, 12, 31, 23, 59, 58), utc(2027, 1, 1, 0, 0, 1)),  # a clock that is a little ahead
        ("Jan  1 00:00:01", utc(2027, 1, 1, 0, 0, 3), utc(2027, 1, 1, 0, 0, 1)),
        ("Feb 29 12:00:00", utc(2028, 2, 29, 12, 0, 1), utc(2028, 2, 29, 12)),
        ("Feb 29 12:00:00", utc(2029, 1, 5), utc(2028, 2, 29, 12)),
        ("Feb 29 12:00:00", utc(2027, 3, 1), 0.0),  # there was none lately
        ("Mar  1 00:00:01", utc(2028, 3, 1, 0, 0, 2), utc(2028, 3, 1, 0, 0, 1)),
        ("Dec  1 06:00:00", utc(2026, 11, 23), utc(2025, 12, 1, 6)),  # in the future: last year's
        ("Nov 31 06:00:00", utc(2026, 11, 23), 0.0),
        ("Xyz 23 06:00:00", utc(2026, 11, 23), 0.0),
    ],
)
def test_a_stamp_without_a_year_is_of_the_latest_year_that_fits(zone: str, stamp: str, seen: float, meant: float) -> None:
    assert local_time(stamp, seen) == meant


@in_zones("UTC", "Pacific/Kiritimati", "Etc/GMT+12")
def test_around_new_year_no_zone_is_a_year_off(zone: str) -> None:
    for hours in range(-30, 31):
        seen = utc(2027, 1, 1) + 3600 * hours + 5
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(seen - 5))

        assert local_time(stamp, seen) == seen - 5


@in_zones("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")
def test_every_minute_of_the_days_when_clocks_change_is_read_as_what_it_was(zone: str) -> None:
    days = {"Europe/Berlin": ((3, 29), (10, 25)), "America/St_Johns": ((3, 8), (11, 1)), "Australia/Lord_Howe": ((4, 5), (10, 4))}
    wrong = []
    for month, day in days[zone]:
        for minute in range(-1500, 3000):
            seen = utc(2026, month, day) + 60 * minute + 2
            stamp = time.strftime("%b %e %H:%M:%S", time.localtime(seen - 2))
            if local_time(stamp, seen) != seen - 2:
                wrong.append((stamp, seen))

    assert wrong == []


@in_zones("Europe/Berlin")
def test_a_minute_that_summer_leaves_out_is_some_time_of_that_night(zone: str) -> None:
    found = local_time("Mar 29 02:30:00", utc(2026, 3, 29, 1, 30))

    assert abs(found - utc(2026, 3, 29, 1, 0)) <= 3600


@in_zones("Europe/Berlin")
@pytest.mark.parametrize(
    ("stamp", "meant"),
    [
        ("2026-11-23 06:00:01.123 CET", utc(2026, 11, 23, 5, 0, 1) + 0.123),
        ("2026-07-23 06:00:01.123 CEST", utc(2026, 7, 23, 4, 0, 1) + 0.123),
        ("2026-10-25 02:30:00.000 CEST", utc(2026, 10, 25, 0, 30)),
        ("2026-10-25 02:30:00.000 CET", utc(2026, 10, 25, 1, 30)),
        ("2026-11-23 06:00:01 UTC", utc(2026, 11, 23, 6, 0, 1)),
        ("2026-11-23 06:00:01 GMT", utc(2026, 11, 23, 6, 0, 1)),
        ("2026-11-23 06:00:01.5 +03", utc(2026, 11, 23, 3, 0, 1) + 0.5),
        ("2026-11-23 06:00:01 -03:30", utc(2026, 11, 23, 9, 30, 1)),
        ("2026-11-23 06:00:01 IST", 0.0),
        ("2026-07-23 06:00:01 CET", 0.0),  # it is not that in summer
        ("2026-99-23 06:00:01 CET", 0.0),
        ("CET", 0.0),
        ("", 0.0),
        ("2026-11-23 06:00:01 +", 0.0),
    ],
)
def test_a_zone_by_name_is_this_hosts_or_none(zone: str, stamp: str, meant: float) -> None:
    assert zoned_time(stamp) == pytest.approx(meant)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 4, 14 * 4))  # noqa: DTZ001
def test_an_offset_is_never_lost(when: datetime, quarters: int) -> None:
    moment = when.replace(tzinfo=timezone(timedelta(minutes=15 * quarters)))

    head = HEAD.match(f"{moment.isoformat(timespec='microseconds')} db1 sshd[812]: x")

    assert head is not None
    assert time_of(head, 0.0) == exact_time(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-5)


@pytest.mark.parametrize(
    ("ts", "skewed"), [(0.0, False), (1000.0, False), (401.0, False), (1599.0, False), (399.0, True), (1601.0, True)]
)
def test_an_event_whose_own_time_is_over_ten_minutes_off_says_so(ts: float, skewed: bool) -> None:
    assert Event("x", 1000.0, {}, ts=ts).skewed is skewed
