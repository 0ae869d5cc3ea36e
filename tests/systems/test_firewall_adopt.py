"""What the kernel holds can be taken up without any memory of it: every kind of block and limit, with its undo and its end."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from actions.block_egress import BlockEgress
from actions.block_ip import BlockIp
from actions.rate_limit import RateLimit
from actions.syn_protect import SynProtect
from agent.action import spelled
from agent.schema import Ttl, address
from agent.systems.firewall import Firewall
from agent.turn import aim
from tests.network import Network

HOUR = Ttl.read("1h")
ACTIONS = [
    BlockIp(address("203.0.113.7"), HOUR),
    BlockIp(address("203.0.113.0/24"), HOUR),
    BlockIp(address("203.0.113.7"), HOUR, (80, 443)),
    BlockIp(address("2001:db8::/64"), HOUR),
    BlockIp(address("2001:db8::/48"), Ttl.read("forever")),
    BlockEgress(address("203.0.113.9"), HOUR),
    BlockEgress(address("203.0.113.0/24"), HOUR, (443,)),
    RateLimit(5, HOUR, ip=address("203.0.113.7")),
    RateLimit(5, HOUR, ports=(8080, 22022)),
    RateLimit(5, HOUR, ports=(8080,), per="all"),
    SynProtect((443, 8080), HOUR),
]


@pytest.mark.parametrize("action", ACTIONS, ids=[spelled(one) for one in ACTIONS])
def test_what_an_action_made_is_adopted_as_that_action_planned_it_and_undone_by_it(
    network: Network, firewall: Firewall, action: Any
) -> None:
    assert network
    (planned,) = action.plan(firewall)
    (made,) = firewall.perform([planned.apply])
    assert made.error is None

    (found,) = Firewall().adopt()

    assert (found.action, found.target) == (action.name, aim(action))
    assert str(found.change.undo) == str(planned.undo)
    assert found.left is None if action.ttl.first is None else 3590 < (found.left or 0) <= 3600
    again = Firewall()
    assert [one.value for one in again.perform([found.change.verify])] == [True]
    assert found.change.undo
    assert [one.error for one in again.perform([found.change.undo])] == [None]
    assert [one.value for one in again.perform([found.change.verify])] == [False]
    assert again.adopt() == []


def test_putting_back_what_was_adopted_makes_the_same_again(network: Network, firewall: Firewall) -> None:
    assert network
    firewall.perform([firewall.block(ip=ip_network("203.0.113.7"), ttl=timedelta(hours=1), ports=())])
    (found,) = firewall.adopt()
    assert found.change.undo
    firewall.perform([found.change.undo])

    firewall.perform([found.change.apply])

    (same,) = firewall.adopt()
    assert str(same.change.undo) == str(found.change.undo)


def test_without_a_table_there_is_nothing_to_adopt(network: Network) -> None:
    assert network

    assert Firewall().adopt() == []
