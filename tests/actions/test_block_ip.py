"""Blocking an address or network: what every action promises, and what the plan says."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from actions.block_ip import BlockIp
from agent.schema import Ttl
from agent.systems.firewall import Firewall
from tests.contract import ActionContract, Systems
from tests.network import seen

HOUR = timedelta(hours=1)


class FirewallContract(ActionContract):
    def world(self, systems: Systems) -> object:
        firewall = systems["firewall"]
        assert isinstance(firewall, Firewall)
        return seen(firewall)


class TestBlockAnAddress(FirewallContract):
    action = BlockIp(ip=ip_network("203.0.113.9"), ttl=Ttl(HOUR))


class TestBlockAnIPv6Address(FirewallContract):
    action = BlockIp(ip=ip_network("2001:db8::9"), ttl=Ttl(HOUR))


class TestBlockAnIPv6Customer(FirewallContract):
    action = BlockIp(ip=ip_network("2001:db8:7:8::/64"), ttl=Ttl(None))


class TestBlockPortsOfANetwork(FirewallContract):
    action = BlockIp(ip=ip_network("2001:db8:7::/48"), ttl=Ttl(HOUR), ports=(443, 80))


class TestBlockANetworkBesideOthersItOverlaps(FirewallContract):
    action = BlockIp(ip=ip_network("10.1.0.0/16"), ttl=Ttl(HOUR))

    @pytest.fixture
    def systems(self, firewall: Firewall) -> Systems:
        firewall.perform(
            [
                firewall.block(ip=ip_network("10.0.0.0/8"), ttl=timedelta(minutes=30)),
                firewall.block(ip=ip_network("10.1.2.0/24"), ttl=timedelta(hours=2)),
                firewall.block(ip=ip_network("10.1.2.3"), ttl=timedelta(hours=3)),
            ]
        )
        return {"firewall": firewall}


class TestBlockPortsOfAnAddressThroughNft(FirewallContract):
    """The same where elements are written by the nft command, as on a kernel that refuses our netlink messages."""

    action = BlockIp(ip=ip_network("203.0.113.9"), ttl=Ttl(HOUR), ports=(22,))

    @pytest.fixture
    def systems(self, firewall: Firewall) -> Systems:
        made = Firewall(through="nft")
        made.prepare()
        return {"firewall": made}


def test_the_plan_says_what_will_be_dropped_and_for_how_long(firewall: Firewall) -> None:
    whole = BlockIp(ip=ip_network("203.0.113.9"), ttl=Ttl(HOUR))
    ports = BlockIp(ip=ip_network("10.1.0.0/16"), ttl=Ttl(None), ports=(443, 80))

    said = [change.describe for one in (whole, ports) for change in one.plan(firewall)]

    assert said == [
        "drop every packet from and to 203.0.113.9 for 1h",
        "drop what comes to port 80, 443 from 10.1.0.0/16 until it is lifted",
    ]


def test_a_longer_ttl_is_planned_and_a_shorter_one_is_not(firewall: Firewall) -> None:
    address = ip_network("203.0.113.9")
    firewall.perform([firewall.block(ip=address, ttl=HOUR)])

    planned = {span: len(BlockIp(ip=address, ttl=Ttl(span)).plan(firewall)) for span in (HOUR / 2, HOUR, HOUR * 2, None)}

    assert planned == {HOUR / 2: 0, HOUR: 0, HOUR * 2: 1, None: 1}


def test_what_the_kernel_counts_is_found_again_by_the_undo_of_the_plan(firewall: Firewall) -> None:
    for text, ports in (("203.0.113.9", ()), ("10.1.0.0/16", (443, 80)), ("2001:db8::/64", ()), ("2001:db8::9", (22,))):
        (change,) = BlockIp(ip=ip_network(text), ttl=Ttl(HOUR), ports=ports).plan(firewall)
        firewall.perform([change.apply])

        (held,) = firewall.held()

        assert str(held.undo) == str(change.undo)
        firewall.perform([held.undo])


def test_the_dry_run_is_the_nft_command_and_needs_no_rights() -> None:
    firewall = Firewall()

    said = [
        firewall.native(firewall.block(ip=ip_network("203.0.113.7"), ttl=HOUR)),
        firewall.native(firewall.block(ip=ip_network("2001:db8::/48"), ttl=None, ports=(80, 443))),
        firewall.native(firewall.unblock(ip=ip_network("2001:db8::/64"))),
        firewall.native(firewall.is_blocked(ip=ip_network("203.0.113.7"))),
    ]

    assert said == [
        "nft add element inet containment hosts4 { 203.0.113.7 timeout 1h }",
        "nft add element inet containment portnets6 { 2001:db8::/48 . 80, 2001:db8::/48 . 443 }",
        "nft delete element inet containment slash64 { 2001:db8:: }",
        "nft get element inet containment hosts4 { 203.0.113.7 }",
    ]
