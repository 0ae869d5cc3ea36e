"""What is usual: a median that a flood does not move, learnt in ten minutes, of fixed size."""

from __future__ import annotations

from statistics import median

import pytest

from agent.streams.parser import Scan, discover_parsers
from agent.streams.usual import Usual


def fed(rates: list[float], every: float = 5.0) -> Usual:
    made = Usual()
    for number, rate in enumerate(rates):
        made.add(rate, number * every)
    return made


def test_nothing_is_usual_before_ten_minutes_were_seen() -> None:
    assert fed([10.0] * 12 * 10).median is None
    assert fed([10.0] * (12 * 10 + 1)).median == 10.0


def test_a_flood_of_twenty_minutes_does_not_become_usual() -> None:
    assert fed([10.0] * 12 * 40 + [900.0] * 12 * 20).median == 10.0


def test_an_hour_and_no_more_is_remembered() -> None:
    assert fed([10.0] * 12 * 60 + [30.0] * (12 * 60 + 1)).median == 30.0


def test_it_is_the_median_of_the_minutes_means() -> None:
    rates = [float(number % 7) for number in range(12 * 30 + 1)]

    assert fed(rates).median == median(sum(rates[at : at + 12]) / 12 for at in range(0, 12 * 30, 12))


def test_from_nearly_nothing_everything_is_not_many_times_as_much() -> None:
    quiet = fed([0.0] * 12 * 20)

    assert quiet.compare(4.0, 1200.0) == {"usual": 0.0, "times": 4.0}


def test_a_year_takes_no_more_room_than_an_hour() -> None:
    year = fed([1.0] * 100_000, 60.0)

    assert len(year._minutes) == 60


# In the rates of a web log ------------------------------------------------------------------------------------------------


def lines(*addresses: str, site: str = "shop") -> bytes:
    return "".join(f'{{"remote_addr":"{one}","server_name":"{site}","status":"200"}}\n' for one in addresses).encode()


def stats(scan: Scan, seen: float, chunk: bytes = b"") -> list[dict[str, object]]:
    if chunk:
        scan.events(chunk, seen)
    return [dict(event.fields) for event in scan.tick(seen)]


@pytest.fixture
def scan() -> Scan:
    made = Scan.of([discover_parsers()["nginx"]], "file:x", frozenset({"http.stats"}))
    made.tick(-5.0)
    return made


def test_a_site_says_how_many_clients_it_had_and_how_often_each_asked(scan: Scan) -> None:
    (said,) = stats(scan, 5.0, lines("203.0.113.7", "203.0.113.7", "203.0.113.8", "2001:db8::1"))

    assert (said["clients"], said["per_client"]) == (3, 1.33)
    assert "times" not in said


def test_a_site_that_is_asked_five_times_as_much_as_usual_says_so_beside_one_that_is_not(scan: Scan) -> None:
    for at in range(5, 900, 5):
        stats(scan, float(at), lines(*["203.0.113.7"] * 10) + lines(*["203.0.113.7"] * 50, site="blog"))

    said = stats(scan, 900.0, lines(*["203.0.113.7"] * 50) + lines(*["203.0.113.7"] * 50, site="blog"))

    assert {one["vhost"]: (one["usual"], one["times"]) for one in said} == {"shop": (2.0, 5.0), "blog": (10.0, 1.0)}


def test_hours_in_which_nobody_asked_count_as_that(scan: Scan) -> None:
    stats(scan, 5.0, lines("203.0.113.7"))
    for at in range(10, 1200, 5):
        stats(scan, float(at))

    (said,) = stats(scan, 1200.0, lines(*["203.0.113.7"] * 50))

    assert (said["usual"], said["times"]) == (0.0, 10.0)


def test_what_is_usual_is_remembered_for_a_bounded_number_of_sites(scan: Scan) -> None:
    for at in range(5, 100, 5):
        stats(scan, float(at), b"".join(lines("203.0.113.7", site=f"{at}-{number}") for number in range(300)))

    ((_, meter),) = scan.meters
    assert len(meter._usual) <= 1000
