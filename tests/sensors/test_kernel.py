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
from agent.sensors.kernel import SYN, Kernel, counters, rates
from tests.conftest import WHY_NO_NETWORK
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
    assert set(event.fields) == {"cookies_rate", "drops_rate", "passive_rate"}
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
    known = Path("/proc/net/netstat").read_text() + Path("/proc/net/snmp").read_text()

    assert all(name in known for name in ("TCPReqQFullDoCookies", "ListenDrops", "PassiveOpens"))
    assert set(counters()) == set(SYN.fields)


def test_counters_that_went_back_are_no_rate() -> None:
    before = {"cookies_rate": 900, "drops_rate": 0, "passive_rate": 5}

    assert rates((0.0, before), (2.0, {**before, "passive_rate": 15})) == {"cookies_rate": 0, "drops_rate": 0, "passive_rate": 5}
    assert rates((0.0, before), (2.0, {**before, "cookies_rate": 3})) == {}
