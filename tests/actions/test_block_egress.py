"""Blocking what this host sends: what every action promises, and what the plan says."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from actions.block_egress import BlockEgress
from agent.guard import Lifeline, Lifelines, touches
from agent.schema import Ttl
from agent.systems.firewall import Firewall
from tests.actions.test_block_ip import FirewallContract
from tests.contract import Systems

HOUR = timedelta(hours=1)


class TestBlockEgressToAnAddress(FirewallContract):
    action = BlockEgress(ip=ip_network("203.0.113.9"), ttl=Ttl(HOUR))


class TestBlockEgressToAnIPv6Address(FirewallContract):
    action = BlockEgress(ip=ip_network("2001:db8::9"), ttl=Ttl(None))


class TestBlockEgressToPortsOfAnAddress(FirewallContract):
    action = BlockEgress(ip=ip_network("203.0.113.9"), ttl=Ttl(HOUR), ports=(443, 80))


class TestBlockEgressToPortsOfANetwork(FirewallContract):
    action = BlockEgress(ip=ip_network("2001:db8:7:8::/64"), ttl=Ttl(HOUR), ports=(443, 4444))


class TestBlockEgressToANetworkBesideBlocksOfTheSame(FirewallContract):
    action = BlockEgress(ip=ip_network("10.1.0.0/16"), ttl=Ttl(HOUR))

    @pytest.fixture
    def systems(self, firewall: Firewall) -> Systems:
        network, inside = ip_network("10.1.0.0/16"), ip_network("10.1.2.0/24")
        firewall.perform(
            [
                firewall.block(ip=network, ttl=HOUR * 2),
                firewall.block_egress(ip=inside, ttl=HOUR * 3),
                firewall.block_egress(ip=network, ttl=HOUR * 3, ports=(443,)),
            ]
        )
        return {"firewall": firewall}


class TestBlockEgressThroughNft(FirewallContract):
    """The same where elements are written by the nft command, as on a kernel that refuses our netlink messages."""

    action = BlockEgress(ip=ip_network("203.0.113.0/24"), ttl=Ttl(HOUR))

    @pytest.fixture
    def systems(self, firewall: Firewall) -> Systems:
        made = Firewall(through="nft")
        made.prepare()
        return {"firewall": made}


def test_the_plan_says_what_will_be_dropped_and_for_how_long(firewall: Firewall) -> None:
    whole = BlockEgress(ip=ip_network("203.0.113.9"), ttl=Ttl(HOUR))
    ports = BlockEgress(ip=ip_network("10.1.0.0/16"), ttl=Ttl(None), ports=(443, 80))

    said = [change.describe for one in (whole, ports) for change in one.plan(firewall)]

    assert said == [
        "drop every packet that this host or a container sends to 203.0.113.9 for 1h",
        "drop every packet that this host or a container sends to port 80, 443 of 10.1.0.0/16 until it is lifted",
    ]


def test_what_is_blocked_whole_leaves_egress_to_be_blocked_and_the_other_way_round(firewall: Firewall) -> None:
    """Two actions over one address end each at its own time."""
    address = ip_network("203.0.113.9")
    firewall.perform([firewall.block(ip=address, ttl=HOUR * 5)])

    (change,) = BlockEgress(ip=address, ttl=Ttl(HOUR)).plan(firewall)
    firewall.perform([change.apply])

    assert BlockEgress(ip=address, ttl=Ttl(HOUR)).plan(firewall) == []
    assert len(BlockEgress(ip=address, ttl=Ttl(HOUR * 2)).plan(firewall)) == 1


def test_the_guard_sees_the_address_that_would_be_cut_off(firewall: Firewall) -> None:
    lifelines = Lifelines([Lifeline(ip_network("203.0.113.53"), "a name server of this host")])

    verdict = touches(BlockEgress(ip=ip_network("203.0.113.0/24"), ttl=Ttl(HOUR)).plan(firewall), lifelines, {})

    assert verdict.because == "203.0.113.0/24 contains 203.0.113.53, never touched: a name server of this host"


def test_the_dry_run_is_the_nft_command_and_needs_no_rights() -> None:
    firewall = Firewall()

    said = [
        firewall.native(firewall.block_egress(ip=ip_network("203.0.113.7"), ttl=HOUR)),
        firewall.native(firewall.block_egress(ip=ip_network("2001:db8::/48"), ttl=None, ports=(80, 443))),
        firewall.native(firewall.unblock_egress(ip=ip_network("2001:db8::/64"))),
        firewall.native(firewall.is_blocked_egress(ip=ip_network("203.0.113.7"), ports=(443,))),
    ]

    assert said == [
        "nft add element inet containment hosts_out4 { 203.0.113.7 timeout 1h }",
        "nft add element inet containment portnets_out6 { 2001:db8::/48 . 80, 2001:db8::/48 . 443 }",
        "nft delete element inet containment nets_out6 { 2001:db8::/64 }",
        "nft get element inet containment ports_out4 { 203.0.113.7 . 443 }",
    ]
