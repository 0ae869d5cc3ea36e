"""What packets see of a block: attacker, bystander and container in namespaces of their own, this process is the host."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network

import pytest

from agent.action import Call
from agent.systems.firewall import Firewall
from tests.network import Network, nft, ruleset

HOUR = timedelta(hours=1)
FAMILIES = {
    "10.77.1.1": ("10.77.1.2", "10.77.2.2", "10.77.1.1", "10.77.2.1"),
    "fd77:1::1": ("fd77:1::2", "fd77:2::2", "fd77:1::1", "fd77:2::1"),
    "10.77.1.0/24": ("10.77.1.2", "10.77.2.2", "10.77.1.1", "10.77.2.1"),
    "fd77:1::/64": ("fd77:1::2", "fd77:2::2", "fd77:1::1", "fd77:2::1"),
    "fd77:1::/48": ("fd77:1::2", "fd77:2::2", "fd77:1::1", "fd77:2::1"),
}
"""What is blocked: the host as attacker and as bystander know it, and their own addresses."""


def done(firewall: Firewall, *calls: Call) -> list[object]:
    """Perform, and see that nothing was refused."""
    answers = firewall.perform(calls)
    assert [str(one.error) for one in answers if one.error] == []
    return [one.value for one in answers]


@pytest.mark.parametrize("blocked", FAMILIES)
def test_a_block_cuts_new_and_open_connections_both_ways_and_spares_the_bystander(
    network: Network, firewall: Firewall, blocked: str
) -> None:
    host, hosts_other, attacker, bystander = FAMILIES[blocked]
    inward, published = network.attacker.hold(host, 22), network.attacker.hold(host, 8080)
    outward, forwarded = network.host.hold(attacker, 9000), network.container.hold(attacker, 9000)
    spared = network.bystander.hold(hosts_other, 8080)
    before = (network.host.heard(7000), network.container.heard(80), network.attacker.heard(9000))

    done(firewall, firewall.block(ip=ip_network(blocked), ttl=HOUR))

    published_udp = ("udp", host, 8080)
    ways_in = (("connects", host, 22), ("connects", host, 8080), ("udp", host, 7000), published_udp)
    assert network.attacker.reach(*ways_in, ("talks", inward), ("talks", published)) == [False] * 6
    assert network.host.reach(("talks", outward), ("connects", attacker, 9000), ("udp", attacker, 9000)) == [False] * 3
    assert network.container.reach(("talks", forwarded), ("udp", attacker, 9000)) == [False] * 2
    after = (network.host.heard(7000), network.container.heard(80), network.attacker.heard(9000))
    assert after == before  # no packet came through or left, not even one without an answer
    assert network.bystander.reach(("talks", spared), ("connects", hosts_other, 22), ("udp", hosts_other, 8080)) == [True] * 3
    assert network.container.connects(bystander, 9000)


def test_lifting_a_block_lets_everything_through_again(network: Network, firewall: Firewall) -> None:
    held = network.attacker.hold("10.77.1.2", 8080)
    done(firewall, firewall.block(ip=ip_network("10.77.1.1"), ttl=HOUR))
    assert not network.attacker.connects("10.77.1.2", 8080)

    done(firewall, firewall.unblock(ip=ip_network("10.77.1.1")))

    assert network.attacker.connects("10.77.1.2", 8080)
    wait_until(lambda: network.attacker.talks(held))


@pytest.mark.parametrize("blocked", FAMILIES)
def test_a_block_of_ports_cuts_those_and_leaves_the_others(network: Network, firewall: Firewall, blocked: str) -> None:
    host, hosts_other, attacker, _ = FAMILIES[blocked]
    inward, heard = network.attacker.hold(host, 8080), network.attacker.heard(9000)

    done(firewall, firewall.block(ip=ip_network(blocked), ttl=HOUR, ports=(7000, 7777, 8080)))

    assert network.attacker.reach(("connects", host, 8080), ("udp", host, 7000), ("talks", inward)) == [False] * 3
    assert network.host.reach(("udp", attacker, 9000, 7777)) == [False]
    assert network.attacker.heard(9000) == heard  # what such a port sends is dropped too
    assert network.attacker.connects(host, 22)
    assert network.host.udp(attacker, 9000)
    assert network.bystander.connects(hosts_other, 8080)


def test_the_kernel_ends_a_block_by_itself(network: Network, firewall: Firewall) -> None:
    seconds = timedelta(seconds=1)
    nets = [ip_network(text) for text in ("10.77.1.1", "10.77.1.0/24", "fd77:1::1", "fd77:1::/64", "fd77:1::/48")]
    done(firewall, *(firewall.block(ip=one, ttl=seconds) for one in nets))
    both = (("connects", "10.77.1.2", 22), ("connects", "fd77:1::2", 22))
    assert network.attacker.reach(*both) == [False, False]

    wait_until(lambda: firewall.held() == [])

    assert network.attacker.reach(*both) == [True, True]
    assert done(firewall, *(firewall.is_blocked(ip=one) for one in nets)) == [False] * 5


def test_the_kernel_counts_what_a_block_dropped_and_a_longer_ttl_goes_on_counting(network: Network, firewall: Firewall) -> None:
    for text, probes in (("10.77.1.1", 3), ("10.77.1.0/24", 4)):
        done(firewall, firewall.block(ip=ip_network(text), ttl=HOUR))
        network.attacker.reach(*[("udp", "10.77.1.2", 7000)] * probes)
        done(firewall, firewall.block(ip=ip_network(text), ttl=HOUR * 2))

        (held,) = firewall.held()

        assert held.packets >= probes
        assert held.bytes >= 28 * probes
        assert held.expires_in == pytest.approx(7200, abs=5)
        done(firewall, held.undo)


def test_what_is_protected_passes_even_inside_a_blocked_network(network: Network, firewall: Firewall) -> None:
    firewall.protect([ip_network("10.77.2.0/24"), ip_network("10.77.2.1"), ip_network("fd77:2::/64")])

    done(firewall, firewall.block(ip=ip_network("10.0.0.0/8"), ttl=HOUR), firewall.block(ip=ip_network("fd77::/19"), ttl=HOUR))

    assert network.bystander.connects("10.77.2.2", 22)
    assert network.bystander.connects("fd77:2::2", 22)
    assert network.host.udp("10.77.2.1", 9000)
    assert network.attacker.reach(("connects", "10.77.1.2", 22), ("connects", "fd77:1::2", 22)) == [False, False]


# Egress ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocked", FAMILIES)
def test_a_block_of_egress_cuts_what_this_host_and_its_containers_send_also_on_open_connections(
    network: Network, firewall: Firewall, blocked: str
) -> None:
    _, _, attacker, bystander = FAMILIES[blocked]
    ours, containers = network.host.hold(attacker, 9000), network.container.hold(attacker, 9000)
    heard = network.attacker.heard(9000)

    done(firewall, firewall.block_egress(ip=ip_network(blocked), ttl=HOUR))

    new = (("connects", attacker, 9000), ("udp", attacker, 9000))
    assert network.host.reach(("talks", ours), *new) == [False] * 3
    assert network.container.reach(("talks", containers), *new) == [False] * 3
    assert network.attacker.heard(9000) == heard
    assert network.host.reach(("connects", bystander, 9000), ("udp", bystander, 9000)) == [True, True]
    assert done(firewall, firewall.is_blocked_egress(ip=ip_network(blocked))) == [True]


@pytest.mark.parametrize("blocked", FAMILIES)
def test_what_a_blocked_egress_sends_to_us_still_arrives(network: Network, firewall: Firewall, blocked: str) -> None:
    host, *_ = FAMILIES[blocked]
    before = (network.host.heard(7000), network.container.heard(80))

    done(firewall, firewall.block_egress(ip=ip_network(blocked), ttl=HOUR))

    assert network.attacker.reach(("udp", host, 7000), ("udp", host, 8080)) == [False, False]  # our answers are dropped
    assert (network.host.heard(7000), network.container.heard(80)) == (before[0] + 1, before[1] + 1)


@pytest.fixture(scope="module")
def listening(network: Network) -> None:
    """The others outside have a second port."""
    network.attacker.listen(9001)
    network.bystander.listen(9001)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("blocked", FAMILIES)
def test_a_block_of_egress_to_ports_leaves_their_other_ports_and_ours(network: Network, firewall: Firewall, blocked: str) -> None:
    host, _, attacker, bystander = FAMILIES[blocked]

    done(firewall, firewall.block_egress(ip=ip_network(blocked), ttl=HOUR, ports=(9001, 9002)))

    assert network.host.reach(("connects", attacker, 9001), ("udp", attacker, 9001)) == [False, False]
    assert network.container.reach(("connects", attacker, 9001), ("udp", attacker, 9001)) == [False, False]
    assert network.host.reach(("connects", attacker, 9000), ("udp", attacker, 9000, 9001)) == [True, True]
    assert network.attacker.reach(("connects", host, 22), ("connects", host, 8080)) == [True, True]
    assert network.host.reach(("connects", bystander, 9001)) == [True]


def test_the_kernel_ends_and_counts_a_block_of_egress_by_itself(network: Network, firewall: Firewall) -> None:
    nets = [ip_network(text) for text in ("10.77.1.1", "10.77.1.0/24", "fd77:1::1", "fd77:1::/64")]
    done(firewall, *(firewall.block_egress(ip=one, ttl=timedelta(seconds=2)) for one in nets))
    tries = (("udp", "10.77.1.1", 9000), ("udp", "fd77:1::1", 9000))
    assert network.host.reach(*tries) == [False, False]

    counted = {str(one.args["ip"]): (one.verb, one.packets) for one in firewall.held()}
    wait_until(lambda: firewall.held() == [])

    assert counted["10.77.1.1/32"] == counted["fd77:1::1/128"] == ("block_egress", 1)
    assert network.host.reach(*tries) == [True, True]


def test_what_is_protected_is_sent_to_even_inside_a_blocked_network(network: Network, firewall: Firewall) -> None:
    firewall.protect([ip_network("10.77.2.0/24")])

    done(firewall, firewall.block_egress(ip=ip_network("10.77.0.0/16"), ttl=HOUR))

    assert network.host.reach(("udp", "10.77.2.1", 9000), ("udp", "10.77.1.1", 9000)) == [True, False]


def test_a_block_and_a_block_of_egress_over_one_address_are_two(network: Network, firewall: Firewall) -> None:
    for text in ("10.77.1.1", "10.77.1.0/24", "fd77:1::/48"):
        net = ip_network(text)
        done(firewall, firewall.block(ip=net, ttl=HOUR), firewall.block_egress(ip=net, ttl=HOUR * 2))

        done(firewall, firewall.unblock(ip=net))

        (left,) = firewall.held()
        assert (left.verb, left.args["ip"], left.undo.verb) == ("block_egress", net, "unblock_egress")
        assert done(firewall, firewall.is_blocked(ip=net), firewall.is_blocked_egress(ip=net)) == [False, True]
        done(firewall, left.undo)
        assert firewall.held() == []


# Networks that overlap -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wide", "narrow"), [("10.77.0.0/16", "10.77.1.0/24"), ("fd77::/31", "fd77:1::/48")])
def test_lifting_one_of_two_overlapping_networks_keeps_the_other(
    network: Network, firewall: Firewall, wide: str, narrow: str
) -> None:
    host = FAMILIES["10.77.1.1" if "." in wide else "fd77:1::1"][0]
    outer, inner = ip_network(wide), ip_network(narrow)
    done(firewall, firewall.block(ip=outer, ttl=HOUR), firewall.block(ip=inner, ttl=HOUR * 2))

    done(firewall, firewall.unblock(ip=outer))
    without_outer = network.attacker.connects(host, 22)
    done(firewall, firewall.block(ip=outer, ttl=HOUR), firewall.unblock(ip=inner))
    without_inner = network.attacker.connects(host, 22)
    done(firewall, firewall.unblock(ip=outer))

    assert (without_outer, without_inner) == (False, False)
    assert network.attacker.connects(host, 22)
    assert firewall.held() == []


@pytest.mark.parametrize(("outer", "inner", "attacker", "bystander"), [(1, 3600, False, True), (3600, 1, False, False)])
def test_overlapping_networks_end_each_at_its_own_time(
    network: Network, firewall: Firewall, outer: int, inner: int, attacker: bool, bystander: bool
) -> None:
    """The attacker is in both networks, the bystander only in the outer one."""
    done(
        firewall,
        firewall.block(ip=ip_network("10.77.1.0/24"), ttl=timedelta(seconds=inner)),
        firewall.block(ip=ip_network("10.77.0.0/16"), ttl=timedelta(seconds=outer)),
    )

    wait_until(lambda: len(firewall.held()) == 1)

    assert network.attacker.connects("10.77.1.2", 22) is attacker
    assert network.bystander.connects("10.77.2.2", 22) is bystander


# Never a gap -----------------------------------------------------------------------------------------------------------


def test_taking_over_the_table_again_and_again_lets_no_packet_of_a_blocked_source_through(
    network: Network, firewall: Firewall
) -> None:
    nft("""
        table inet somebody {
          counter leaked { }
          chain early { type filter hook prerouting priority -150; ip saddr 11.0.0.0/8 counter name leaked; }
        }
    """)
    network.attacker.flood("10.77.1.2", 7001, 10)
    assert "packets 10 " in leaked()
    done(firewall, firewall.block(ip=ip_network("11.0.0.0/8"), ttl=HOUR))
    flood = threading.Thread(target=network.attacker.flood, args=("10.77.1.2", 7001, 40_000))

    flood.start()
    taken_over = 0
    while flood.is_alive():
        Firewall().prepare()
        taken_over += 1
    flood.join()

    assert taken_over >= 5
    assert "packets 10 " in leaked()
    assert [one.packets for one in firewall.held()] == [40_000]


def leaked() -> str:
    return subprocess.run(
        ["nft", "list", "counter", "inet", "somebody", "leaked"], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def test_nobody_elses_rules_are_touched_by_anything_we_do(network: Network, firewall: Firewall) -> None:
    others = [ruleset("inet", name) for name in ("somebody", "docker")]

    done(
        firewall,
        firewall.block(ip=ip_network("192.0.2.0/25"), ttl=HOUR),
        firewall.limit(ip=None, ports=(22,), rps=5, burst=5, ttl=HOUR),
        firewall.unlimit(ip=None, ports=(22,), rps=5, burst=5),
        firewall.unblock(ip=ip_network("192.0.2.0/25")),
    )
    firewall.protect([ip_network("192.0.2.1")])
    Firewall().prepare()

    assert [ruleset("inet", name) for name in ("somebody", "docker")] == others


def wait_until(so: Callable[[], bool], within: float = 5.0) -> None:
    """The kernel announces no timeout, so it is asked until it is over."""
    end = time.monotonic() + within
    while not so():
        assert time.monotonic() < end, f"not within {within} s"
        time.sleep(0.02)
