"""Connections by source and port, from real sockets: who holds many, which port cannot keep up, and that quiet costs nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent.event import Event
from agent.sensors.connections import CONNS, LISTENING, Connections, Seen, Telling, look
from agent.streams.sensor import SENSOR
from tests.conftest import WHY_NO_NETWORK
from tests.network import Network, ip
from tests.sensors.conftest import Running, Start

Held = contextlib.ExitStack


@pytest.fixture
def held() -> Iterator[Held]:
    """Whatever a test opens, closed at its end."""
    if WHY_NO_NETWORK:
        pytest.skip(WHY_NO_NETWORK)
    with Held() as made:
        yield made


def listener(held: Held, backlog: int = 128, family: int = socket.AF_INET6) -> int:
    made = held.enter_context(socket.socket(family))
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("", 0))
    made.listen(backlog)
    held.callback(made.close)
    return int(made.getsockname()[1])


def row(seen: Seen, kind: str, telling: Telling | None = None) -> list[Event]:
    return [event for event in (telling or Telling(1)).of(seen, 1.0, 1.0) if event.kind == kind]


def first(running: Running, kind: str) -> Event:
    return next(event for event in running.next(kind).events if event.kind == kind)


def test_a_client_with_many_connections_is_named_by_ipv4_and_ipv6_with_the_port(network: Network, start: Start) -> None:
    before = [network.attacker.hold(address, 22) for address in ("10.77.1.2", "fd77:1::2") for _ in range(12)]
    network.bystander.hold("10.77.2.2", 22)

    running = start(Connections(every=timedelta(seconds=0.2), conns=10, least=0))
    events = [event for event in running.next(CONNS.name).events if event.kind == CONNS.name]

    assert len(before) == 24
    assert {event.fields["src.ip"] for event in events} == {"10.77.1.1", "fd77:1::1"}
    assert {event.fields["conns"] for event in events} == {12}
    assert {event.fields["port"] for event in events} == {22}
    assert all(0.3 < float(str(event.fields["share"])) < 0.5 for event in events)


def test_a_host_with_few_sockets_is_not_read(network: Network) -> None:
    network.attacker.hold("10.77.1.2", 22)

    seen = look(least=1_000_000)

    assert seen.clients == {}
    assert 22 in seen.queues


def test_connections_that_we_opened_count_for_nobody(network: Network, held: Held) -> None:
    for _ in range(5):
        held.enter_context(socket.create_connection(("10.77.1.1", 9000), timeout=5))

    seen = look()

    assert all(port in seen.queues for _, port in seen.clients)
    assert not [event for event in row(seen, CONNS.name) if event.fields.get("port") == 9000]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_queue_that_nobody_works_off_shows_as_a_full_port(held: Held, start: Start, family: int) -> None:
    port = listener(held, backlog=4, family=family)
    for _ in range(5):
        held.enter_context(socket.create_connection(("127.0.0.1" if family == socket.AF_INET else "::1", port), timeout=5))

    running = start(Connections(every=timedelta(seconds=0.2)))
    event = first(running, LISTENING.name)

    assert {name: event.fields[name] for name in ("port", "queue", "room", "share")} == {
        "port": port,
        "queue": 5,
        "room": 4,
        "share": 1.25,
    }


def test_connections_that_a_program_does_not_close_grow_on_its_port(held: Held) -> None:
    port = listener(held)
    telling, clients = Telling(1), [socket.create_connection(("::1", port), timeout=5) for _ in range(60)]
    before = row(look(), LISTENING.name, telling)
    for one in clients:
        one.close()
    until = time.monotonic() + 10
    while look().close_wait[port] < 60:
        assert time.monotonic() < until

    (event,) = [one for one in telling.of(look(), 11.0, 11.0) if one.kind == LISTENING.name]

    assert before == []
    assert (event.fields["port"], event.fields["close_wait"], event.fields["close_wait_rate"]) == (port, 60, 6.0)


def test_who_asks_itself_is_no_client_of_its_own(network: Network, held: Held) -> None:
    assert network
    port = listener(held)
    for address in ("127.0.0.1", "::1", "10.77.1.2"):
        held.enter_context(socket.create_connection((address, port), timeout=5))

    seen = look()

    assert seen.open[port] == 3
    assert [one for one in seen.clients if one[1] == port] == []


def test_half_open_connections_show_on_their_port_and_name_nobody(network: Network) -> None:
    ip("route", "add", "11.0.0.0/8", "via", "10.77.1.1")
    network.attacker.syn_flood("10.77.1.2", 22, 40, 0.0)

    seen = look()
    ip("route", "del", "11.0.0.0/8")

    assert seen.half_open[22] == 40
    assert not [peer for peer, _ in seen.clients if peer.startswith(b"\x0b")]


def test_who_stood_out_is_told_of_once_more_with_what_is_left() -> None:
    telling, many, few = Telling(10), Seen(queues={80: (0, 128)}), Seen(queues={80: (0, 128)})
    peer = socket.inet_aton("203.0.113.7")
    many.clients[peer, 80], few.clients[peer, 80] = 40, 2

    told = [[event.fields["conns"] for event in row(seen, CONNS.name, telling)] for seen in (many, few, few)]

    assert told == [[40], [2], []]


def test_a_hundred_thousand_sources_cost_no_more_than_the_hundred_busiest_events() -> None:
    seen = Seen(queues={80: (0, 128)})
    for number in range(100_000):
        seen.clients[number.to_bytes(4, "big"), 80] = 2 + (number < 150)

    events = row(seen, CONNS.name, Telling(2))

    assert len(events) <= 100
    assert {event.fields["conns"] for event in events} == {3}


def test_a_quiet_host_says_nothing_but_that_it_is_read(start: Start, held: Held) -> None:
    listener(held)

    running = start(Connections(every=timedelta(seconds=0.05)))
    running.next(SENSOR.name)
    time.sleep(0.4)  # a few looks

    assert running.batches.empty()
