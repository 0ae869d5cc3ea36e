"""Limiting rates: what every action promises, and what real packets see of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network

import pytest

from actions.rate_limit import RateLimit
from agent.action import CannotReach, typed
from agent.kernel.netlink import Netlink
from agent.schema import Ttl
from agent.systems.firewall import Firewall
from tests.contract import ActionContract, Systems
from tests.network import Network, ruleset, seen

HOUR = Ttl(timedelta(hours=1))
HOST = ("10.77.1.2", "fd77:1::2")
"""The host as the attacker knows it; the bystander's way there is 10.77.2.2."""


class LimitContract(ActionContract):
    def world(self, systems: Systems) -> object:
        firewall = systems["firewall"]
        assert isinstance(firewall, Firewall)
        return seen(firewall)


class TestLimitAnAddress(LimitContract):
    action = RateLimit(rps=20, ttl=HOUR, ip=ip_network("203.0.113.9"))


class TestLimitEverySourceOfTwoPorts(LimitContract):
    action = RateLimit(rps=3, burst=7, ttl=HOUR, ports=(443, 80))


class TestLimitEverybodyInANetworkTogether(LimitContract):
    action = RateLimit(rps=1_000_000, ttl=Ttl(None), ip=ip_network("2001:db8::/32"), service="https", per="all")


class TestLimitAnAddressBesideAnotherWithTheSameRate(LimitContract):
    action = RateLimit(rps=20, ttl=HOUR, ip=ip_network("2001:db8::9"), ports=(443,))

    @pytest.fixture
    def systems(self, firewall: Firewall) -> Systems:
        apply(firewall, RateLimit(rps=20, ttl=HOUR, ip=ip_network("203.0.113.8"), ports=(443,)))
        apply(firewall, RateLimit(rps=5, ttl=HOUR, ports=(443,)))
        return {"firewall": firewall}


def apply(firewall: Firewall, limit: RateLimit) -> None:
    answers = firewall.perform([change.apply for change in limit.plan(firewall)])
    assert [one.error for one in answers] == [None]


# What is planned -------------------------------------------------------------------------------------------------------


def test_a_service_means_its_ports_and_an_unknown_one_is_explained(firewall: Firewall) -> None:
    (change,) = RateLimit(rps=20, ttl=HOUR, service="https").plan(firewall)

    with pytest.raises(CannotReach, match="/etc/services has no such name; write `ports: "):
        RateLimit(rps=20, ttl=HOUR, service="nginx").plan(firewall)

    assert change.apply.args["ports"] == (443,)
    assert change.describe == "let through 20 new connections per second from each source to https 443 for 1h"


def test_a_limit_of_nothing_is_refused(firewall: Firewall) -> None:
    with pytest.raises(CannotReach, match="cannot limit everything: name an address, ports, or both"):
        RateLimit(rps=20, ttl=HOUR).plan(firewall)


@pytest.mark.parametrize(("name", "value"), [("rps", "0"), ("rps", "1000001"), ("burst", "-1"), ("per", "host")])
def test_a_rate_that_cannot_be_is_refused_when_the_policy_is_read(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"greater|less|source"):
        typed(RateLimit, name, value)


def test_a_different_rate_is_another_limit_and_lifting_one_keeps_the_other(firewall: Firewall) -> None:
    slow, fast = (RateLimit(rps=rps, ttl=HOUR, ports=(443,)) for rps in (5, 50))
    undo = fast.plan(firewall)[0].undo
    apply(firewall, slow)
    apply(firewall, fast)
    assert undo is not None

    firewall.perform([undo])

    assert [held.args["rps"] for held in firewall.held()] == [5]
    assert slow.plan(firewall) == []


def test_what_the_kernel_holds_is_found_again_by_the_undo_of_the_plan(firewall: Firewall) -> None:
    limits = [
        RateLimit(rps=20, ttl=HOUR, ip=ip_network("203.0.113.9"), ports=(443, 80)),
        RateLimit(rps=20, ttl=HOUR, ip=ip_network("2001:db8::/48"), per="all"),
        RateLimit(rps=20, ttl=HOUR, ports=(80,)),
    ]
    undos = {str(change.undo) for limit in limits for change in limit.plan(firewall)}
    for limit in limits:
        apply(firewall, limit)

    held = {str(one.undo) for one in firewall.held()}

    assert held == undos


# What packets see ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOST)
def test_each_source_has_its_own_allowance_and_open_connections_go_on(network: Network, firewall: Firewall, host: str) -> None:
    held = network.attacker.hold(host, 22)
    apply(firewall, RateLimit(rps=5, burst=10, ttl=HOUR, ports=(22,)))

    answered = network.attacker.syns(host, 22, 60)
    others = network.bystander.syns(host, 22, 8)

    assert 10 <= answered <= 20
    assert others == 8
    assert network.attacker.talks(held)
    assert [one.packets for one in firewall.held()] == [60 - answered]


def test_one_address_is_throttled_and_others_are_not(network: Network, firewall: Firewall) -> None:
    apply(firewall, RateLimit(rps=5, burst=10, ttl=HOUR, ip=ip_network("10.77.1.1")))

    answered = network.attacker.syns(HOST[0], 22, 60)
    others = network.bystander.syns(HOST[0], 22, 60)

    assert 10 <= answered <= 20
    assert others == 60


def test_a_published_port_of_a_container_is_limited_as_it_is_dialled(network: Network, firewall: Firewall) -> None:
    apply(firewall, RateLimit(rps=5, burst=10, ttl=HOUR, ports=(8080,)))

    answered = network.attacker.syns(HOST[0], 8080, 60)

    assert 10 <= answered <= 20


def test_everybody_together_share_one_allowance(network: Network, firewall: Firewall) -> None:
    apply(firewall, RateLimit(rps=5, burst=10, ttl=HOUR, ports=(22,), per="all"))

    answered = network.attacker.syns(HOST[0], 22, 60)
    others = network.bystander.syns(HOST[0], 22, 60)

    assert 10 <= answered + others <= 20


def test_udp_packets_count_too(network: Network, firewall: Firewall) -> None:
    apply(firewall, RateLimit(rps=1, burst=3, ttl=HOUR, ports=(7000,)))

    answered = [network.attacker.udp(HOST[0], 7000) for _ in range(5)]

    assert answered[:3] == [True, True, True]
    assert answered.count(False) >= 1


def test_what_must_never_be_blocked_is_not_limited_either(network: Network, firewall: Firewall) -> None:
    firewall.protect([ip_network("10.77.2.0/24")])
    apply(firewall, RateLimit(rps=5, burst=10, ttl=HOUR, ports=(22,), per="all"))

    others = network.bystander.syns(HOST[0], 22, 60)

    assert others == 60


def test_the_kernel_ends_a_limit_by_itself_and_prepare_tidies_what_is_left(network: Network, firewall: Firewall) -> None:
    before = ruleset("inet", "containment")
    apply(firewall, RateLimit(rps=1, burst=1, ttl=Ttl(timedelta(seconds=1)), ports=(22,)))
    assert network.attacker.syns(HOST[0], 22, 10) < 10

    wait_until(lambda: firewall.held() == [])

    assert network.attacker.syns(HOST[0], 22, 10) == 10
    assert ruleset("inet", "containment") != before
    firewall.prepare()
    assert ruleset("inet", "containment") == before


def test_a_hundred_thousand_sources_fill_a_table_of_fixed_size(network: Network, firewall: Firewall) -> None:
    apply(firewall, RateLimit(rps=20, ttl=HOUR, ports=(7001,)))

    network.attacker.flood(HOST[0], 7001, 100_000)

    assert 50_000 < len(Netlink("containment").keys("source_20_40_7001_any_4")) <= 65_536
    assert network.bystander.connects(HOST[0], 22)


def wait_until(so: Callable[[], bool], within: float = 5.0) -> None:
    """The kernel announces no timeout, so it is asked until it is over."""
    end = time.monotonic() + within
    while not so():
        assert time.monotonic() < end, f"not within {within} s"
        time.sleep(0.02)
