"""The kernel's counters show a real SYN flood, real connections, and nobody's address."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.event import Event
from agent.sensors.kernel import COUNTERS, SYN, TABLES, UDP, Kernel, Looking, Sample, counters, look, rates
from tests.conftest import WHY_NO_NETWORK
from tests.network import Network
from tests.sensors.conftest import Running, Start

OURS, PEER = "10.98.0.1", "10.98.0.2"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    if WHY_NO_NETWORK:
        pytest.skip(WHY_NO_NETWORK)
    with socket.create_server(("0.0.0.0", 0), backlog=4) as made:
        yield made


@pytest.fixture
def flood(listener: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """A peer namespace on the other end of a cable, ready to send 3,000 SYNs to the listener."""
    Path("/proc/sys/net/ipv4/tcp_syncookies").write_text("1")
    command = [sys.executable, "-m", "tests.sensors.syn_flood", OURS, str(listener.getsockname()[1]), "3000"]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert peer.stdout is not None
    assert peer.stdout.readline() == "ready\n"
    for line in (
        f"ip link add syn0 type veth peer name syn1 netns {peer.pid}",
        f"ip addr add {OURS}/16 dev syn0",
        "ip link set syn0 up",
        "ip route add 10.99.0.0/16 dev syn0",
        f"nsenter -t {peer.pid} -n ip addr add {PEER}/16 dev syn1",
        f"nsenter -t {peer.pid} -n ip link set syn1 up",
    ):
        subprocess.run(line.split(), check=True, timeout=10)
    yield peer
    peer.kill()
    peer.communicate(timeout=10)
    subprocess.run(["ip", "link", "del", "syn0"], check=False, timeout=10, stderr=subprocess.DEVNULL)


def first(running: Running, field: str) -> Event:
    """The first rates in which this one is not zero."""
    while True:
        for event in running.next(SYN.name).events:
            if event.kind == SYN.name and event.fields[field]:
                return event


def test_a_syn_flood_shows_as_cookies_and_names_no_address(start: Start, flood: subprocess.Popen[str]) -> None:
    running = start(Kernel(every=timedelta(seconds=0.3)))
    running.next(SYN.name)

    flood.stdin.write("go\n")  # type: ignore[union-attr]
    flood.stdin.flush()  # type: ignore[union-attr]
    event = first(running, "cookies_rate")

    assert float(str(event.fields["cookies_rate"])) > 50
    assert set(event.fields) == set(SYN.fields)
    assert "address" not in SYN.fields.values()


def test_real_connections_show_as_passive_opens(start: Start, listener: socket.socket) -> None:
    running = start(Kernel(every=timedelta(seconds=0.2)))
    running.next(SYN.name)

    with socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5):
        event = first(running, "passive_rate")

    assert event.fields["cookies_rate"] == 0


def test_a_quiet_kernel_says_zero_again_and_again(start: Start) -> None:
    running = start(Kernel(every=timedelta(seconds=0.05)))

    events = [running.next(SYN.name).events[0] for _ in range(3)]

    assert [event.fields["cookies_rate"] for event in events] == [0, 0, 0]


def test_the_kernel_has_every_counter_we_name() -> None:
    known = "".join(Path("/proc/net", name).read_text() for name in ("netstat", "snmp", "snmp6"))

    assert all(one.rpartition(".")[2] in known for names in COUNTERS.values() for one in names)
    assert set(counters()) == set(COUNTERS)


def test_counters_that_went_back_are_no_rate() -> None:
    before = {"cookies_rate": 900, "drops_rate": 0, "passive_rate": 5}

    assert rates((0.0, before), (2.0, {**before, "passive_rate": 15})) == {"cookies_rate": 0, "drops_rate": 0, "passive_rate": 5}
    assert rates((0.0, before), (2.0, {**before, "cookies_rate": 3})) == {}


# UDP ------------------------------------------------------------------------------------------------------------------


def udp(running: Running, field: str) -> Event:
    """The first UDP rates in which this one is large."""
    while True:
        for event in running.next(UDP.name).events:
            if event.kind == UDP.name and float(str(event.fields[field])) > 100:
                return event


@pytest.mark.parametrize("address", ["10.77.1.2", "fd77:1::2"])
def test_udp_to_a_closed_port_shows_as_packets_that_nobody_wanted(network: Network, start: Start, address: str) -> None:
    running = start(Kernel(every=timedelta(seconds=0.3)))
    running.next(SYN.name)

    network.attacker.udp_flood(address, 5555, 2000, 0.5)
    event = udp(running, "no_port_rate")

    assert event.fields["full_rate"] == 0
    assert "port" not in event.fields
    assert "address" not in UDP.fields.values()


def test_udp_that_a_program_is_too_slow_for_names_its_port(network: Network, start: Start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.bind(("10.77.1.2", 0))
        running = start(Kernel(every=timedelta(seconds=0.3)))
        running.next(SYN.name)

        network.attacker.udp_flood("10.77.1.2", slow.getsockname()[1], 2000, 0.5)
        event = udp(running, "full_rate")

        assert event.fields["port"] == slow.getsockname()[1]


# Without packets --------------------------------------------------------------------------------------------------------

NOTHING = dict.fromkeys(COUNTERS, 0)
EMPTY = {"conntrack": 0, "conntrack_share": 0.0, "tcp_inuse": 0, "tcp_orphans": 0, "tcp_timewait": 0}


def sample(at: float, share: float = 0.0, **counted: int) -> Sample:
    return Sample(at, {**NOTHING, **counted}, {**EMPTY, "conntrack_share": share})


def test_what_is_usual_is_known_after_ten_minutes_and_a_flood_is_many_times_as_much() -> None:
    looking, taken, times = Looking(frozenset({UDP.name})), 0, list[object]()
    for second in range(0, 1200, 5):
        taken += 5 * 200
        times += [event.fields.get("times") for event in looking.at(sample(float(second), udp_in=taken), 0.0)]

    (flood,) = looking.at(sample(1200.0, udp_in=taken + 5 * 3000), 0.0)

    assert times[:100] == [None] * 100
    assert set(times[140:]) == {1.0}
    assert (flood.fields["usual"], flood.fields["times"], flood.fields["pps"]) == (200.0, 15.0, 3000.0)


def test_tables_that_fill_up_are_told_of_and_once_more_when_they_are_not_full_any_longer() -> None:
    looking = Looking(frozenset({TABLES.name}))

    told = [
        [event.fields["conntrack_share"] for event in looking.at(sample(float(at), share), 0.0)]
        for at, share in enumerate((0.1, 0.2, 0.9, 0.3, 0.3))
    ]

    assert told == [[], [], [0.9], [0.3], []]


def test_a_look_at_this_host_has_every_field() -> None:
    now = look()

    assert set(now.counters) == set(COUNTERS)
    assert set(now.tables) == set(TABLES.fields)
