"""Fending off SYN floods: what every action promises, and that clients get in while a real flood goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from actions.syn_protect import SynProtect
from agent.action import CannotReach, typed
from agent.schema import Ttl
from agent.systems.firewall import Firewall
from tests.contract import ActionContract, Systems
from tests.network import Network, ip, ruleset, seen

HOUR = Ttl(timedelta(hours=1))
PORT = 22
COUNTERS = Path("/proc/net/netstat")
COOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")


class ProtectContract(ActionContract):
    def world(self, systems: Systems) -> object:
        firewall = systems["firewall"]
        assert isinstance(firewall, Firewall)
        return seen(firewall)


class TestProtectTwoPorts(ProtectContract):
    action = SynProtect(ports=(443, 80), ttl=HOUR)


class TestProtectForEver(ProtectContract):
    action = SynProtect(ports=(25,), ttl=Ttl(None), rps=1_000_000)


class TestProtectBesideAnotherRate(ProtectContract):
    action = SynProtect(ports=(443,), ttl=HOUR, rps=50)

    @pytest.fixture
    def systems(self, firewall: Firewall) -> Systems:
        apply(firewall, SynProtect(ports=(443,), ttl=HOUR, rps=500))
        return {"firewall": firewall}


def apply(firewall: Firewall, action: SynProtect) -> None:
    answers = firewall.perform([change.apply for change in action.plan(firewall)])
    assert [one.error for one in answers] == [None]


@contextmanager
def flood(network: Network, sources: int = 6000, seconds: float = 2.0) -> Iterator[None]:
    """SYNs from addresses that nobody has, over these seconds."""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(network.attacker.syn_flood, "10.77.1.2", PORT, sources, seconds)
        time.sleep(0.3)  # until it has begun
        yield
        assert sent.result(timeout=30) == sources


@pytest.fixture
def routed(network: Network) -> Iterator[Network]:
    """Answers to the forged sources go somewhere, as on the internet; else the kernel answers none of them."""
    ip("route", "add", "11.0.0.0/8", "via", "10.77.1.1")
    before = COOKIES.read_text()
    yield network
    COOKIES.write_text(before)
    subprocess.run(["ip", "route", "del", "11.0.0.0/8"], check=False, timeout=10)


def counted(name: str) -> int:
    """A counter of TcpExt."""
    names, values = [line.split() for line in COUNTERS.read_text().splitlines() if line.startswith("TcpExt:")][:2]
    return int(values[names.index(name)])


# What packets see ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cookies", ["0", "1"])
def test_during_a_flood_every_client_gets_in_and_open_connections_go_on(
    routed: Network, firewall: Firewall, cookies: str
) -> None:
    COOKIES.write_text(cookies)
    bystander = routed.bystander
    held = bystander.hold("10.77.2.2", PORT)
    apply(firewall, SynProtect(ports=(PORT,), ttl=HOUR, rps=50))

    with flood(routed):
        opened = [bystander.hold("10.77.2.2", PORT), bystander.hold("fd77:2::2", PORT)]
        talk = [bystander.talks(one) for one in (held, *opened)]

    assert talk == [True, True, True]
    assert firewall.held()[0].packets > 5000


def test_the_flood_reaches_neither_the_queue_of_half_open_connections_nor_the_cookies(
    routed: Network, firewall: Firewall
) -> None:
    COOKIES.write_text("1")
    apply(firewall, SynProtect(ports=(PORT,), ttl=HOUR, rps=50))
    before = counted("TCPReqQFullDoCookies"), counted("ListenDrops")

    with flood(routed, sources=4000, seconds=1.0):
        pass

    assert (counted("TCPReqQFullDoCookies"), counted("ListenDrops")) == before


def test_what_was_opened_during_a_flood_lives_on_when_the_protection_ends(routed: Network, firewall: Firewall) -> None:
    (change,) = SynProtect(ports=(PORT,), ttl=HOUR, rps=50).plan(firewall)
    firewall.perform([change.apply])
    with flood(routed, sources=3000, seconds=1.6):
        opened = routed.bystander.hold("10.77.2.2", PORT)
    assert change.undo is not None

    firewall.perform([change.undo])

    assert routed.bystander.talks(opened)
    assert routed.bystander.connects("10.77.2.2", PORT)
    assert "again_" not in ruleset("inet", "containment")


def test_without_a_flood_nobody_waits(network: Network, firewall: Firewall) -> None:
    apply(firewall, SynProtect(ports=(PORT,), ttl=HOUR, rps=100))

    assert network.bystander.syns("10.77.2.2", PORT, 60) == 60


def test_a_life_line_does_not_wait_in_a_flood_either_nor_does_another_port_or_udp(routed: Network, firewall: Firewall) -> None:
    firewall.protect([ip_network("10.77.2.0/24")])
    apply(firewall, SynProtect(ports=(PORT, 7000), ttl=HOUR, rps=50))

    with flood(routed, sources=3000, seconds=1.6):
        answered = routed.bystander.syns("10.77.2.2", PORT, 20)
        udp = [routed.bystander.udp("fd77:2::2", 7000) for _ in range(3)]
        published = routed.bystander.connects("10.77.2.2", 8080)

    assert (answered, udp, published) == (20, [True] * 3, True)


def test_udp_to_the_same_port_is_no_flood_of_syns(network: Network, firewall: Firewall) -> None:
    apply(firewall, SynProtect(ports=(7000,), ttl=HOUR, rps=100))

    network.attacker.udp_flood("10.77.1.2", 7000, 1000, 0.3)

    assert network.bystander.syns("10.77.2.2", 7000, 20) == 20


def test_the_kernel_ends_it_by_itself(network: Network, firewall: Firewall) -> None:
    apply(firewall, SynProtect(ports=(PORT,), ttl=Ttl(timedelta(seconds=1)), rps=1))
    assert network.bystander.syns("10.77.2.2", PORT, 20) < 5

    wait_until(lambda: firewall.held() == [])

    assert network.bystander.syns("10.77.2.2", PORT, 20) == 20


def test_a_container_behind_a_published_port_is_protected_by_the_port_that_is_dialled(
    network: Network, firewall: Firewall
) -> None:
    apply(firewall, SynProtect(ports=(8080,), ttl=HOUR, rps=1))

    assert network.bystander.syns("10.77.2.2", 8080, 20) < 5
    assert network.bystander.hold("10.77.2.2", 8080) >= 0  # asks again after a second


@pytest.mark.parametrize(("name", "value"), [("ports", "70000"), ("rps", "0"), ("rps", "1000001")])
def test_what_cannot_be_is_refused_when_the_policy_is_read(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"greater|less|at least|port"):
        typed(SynProtect, name, value)


def test_no_port_is_not_every_port(firewall: Firewall) -> None:
    with pytest.raises(CannotReach, match="name an address, ports, or both"):
        SynProtect(ports=(), ttl=HOUR).plan(firewall)


def wait_until(so: Callable[[], bool], within: float = 10.0) -> None:
    """The kernel announces no timeout, so it is asked until it is over."""
    end = time.monotonic() + within
    while not so():
        assert time.monotonic() < end, f"not within {within} s"
        time.sleep(0.02)
