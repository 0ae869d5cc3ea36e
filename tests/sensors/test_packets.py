"""Packets by source, counted by the real kernel: who floods is named, and cannot be blocked by a name that it made up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest

from agent.action import CannotReach
from agent.event import Event
from agent.kernel.netlink import Netlink
from agent.sensors.packets import PACKETS, TABLE, Packets, Telling, counts, load, unload
from agent.streams.sensor import SENSOR
from tests.network import Network, nft, ruleset
from tests.sensors.conftest import Running, Start

QUICK = Packets(every=timedelta(seconds=0.2), pps=200)


@pytest.fixture(autouse=True)
def gone(network: Network) -> Iterator[None]:
    """Nothing is left of the table."""
    assert network
    yield
    subprocess.run(["nft", "delete", "table", "inet", TABLE], check=False, timeout=10, capture_output=True)


@contextmanager
def flood(network: Network, address: str) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(network.attacker.udp_flood, address, 5555, 2000, 1.0)
        yield
        sent.result(timeout=30)


def loud(running: Running) -> Event:
    """The first event with packets."""
    while True:
        for event in running.next(PACKETS.name).events:
            if event.kind == PACKETS.name and event.fields["pps"]:
                return event


def counting(running: Running) -> None:
    assert running.next(SENSOR.name).events[0].fields["ok"]


@pytest.mark.parametrize(("address", "source"), [("10.77.1.2", "10.77.1.1"), ("fd77:1::2", "fd77:1::1")])
def test_a_flood_is_counted_by_source_which_is_no_address_that_an_action_takes_whoever_it_is(
    network: Network, start: Start, address: str, source: str
) -> None:
    network.attacker.hold(address, 22)
    running = start(QUICK)
    counting(running)

    with flood(network, address):
        event = loud(running)

    assert (event.fields["from"], event.fields["protocol"]) == (source, "udp")
    assert float(str(event.fields["pps"])) > 200
    assert "address" not in PACKETS.fields.values()


def test_made_up_sources_fill_a_table_of_fixed_size(network: Network) -> None:
    load()

    network.attacker.flood("10.77.1.2", 5555, 20_000)

    assert 10_000 < sum(1 for key in counts(Netlink(TABLE)) if len(key) == 8) <= 16_384  # IPv6 has its own


def test_the_table_goes_with_the_sensor_and_leaves_everything_else_as_it_was(start: Start) -> None:
    before = ruleset()
    running = start(QUICK)
    counting(running)
    during = ruleset()

    running.stop()

    assert TABLE in during
    assert ruleset() == before


def test_a_table_that_somebody_took_away_is_told_and_made_anew(start: Start) -> None:
    running = start(QUICK)
    counting(running)

    nft("flush ruleset")
    told = running.next(SENSOR.name).events[0]
    again = running.next(SENSOR.name).events[0]

    assert (told.fields["ok"], again.fields["ok"]) == (False, True)
    assert TABLE in ruleset()


def test_another_ones_table_of_that_name_is_left_alone(network: Network) -> None:
    assert network
    nft(f"add table inet {TABLE}")

    with pytest.raises(CannotReach, match="somebody else's"):
        load()
    unload()

    assert TABLE in ruleset()


def test_a_quiet_source_is_not_told_of_and_a_loud_one_once_more_when_it_is_over() -> None:
    telling, key = Telling(100), b"\xcb\x00\x71\x07\x11\x00\x00\x00"

    told = [
        [event.fields["pps"] for event in telling.of({key: count}, at, at)] for at, count in enumerate((0, 50, 650, 660, 670))
    ]

    assert told == [[], [], [600.0], [10.0], []]
