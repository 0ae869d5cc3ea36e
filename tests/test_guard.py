from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.action import Call, Change
from agent.guard import Lifeline, Lifelines, Network, Tally, touches, within
from agent.policy import Limits, Rate
from agent.schema import address

networks = st.builds(
    lambda base, length: ipaddress.ip_network((base, length), strict=False),
    st.one_of(st.ip_addresses(v=4).map(int).map(ipaddress.IPv4Address), st.just(ipaddress.IPv4Address("203.0.113.9"))),
    st.integers(16, 32),
)
networks6 = st.builds(
    lambda base, length: ipaddress.ip_network((base, length), strict=False), st.ip_addresses(v=6), st.integers(32, 128)
)


def block(network: Network) -> Change:
    call = Call("firewall", "block", {"ip": network, "ttl": timedelta(hours=1)})
    return Change("block", call, call, call)


@given(st.lists(networks | networks6, max_size=8), networks | networks6)
def test_the_index_finds_a_life_line_exactly_when_one_overlaps(lines: list[Network], asked: Network) -> None:
    index = Lifelines(Lifeline(one, "mine") for one in lines)

    found = index.touched(asked)

    by_hand = any(one.network.version == asked.version and one.network.overlaps(asked) for one in index.lines)
    assert (found is not None) == by_hand


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "neighbours"),
        ("224.0.0.1", "multicast"),
        ("10.0.0.0/8", "wider than /16"),
        ("2001::/16", "wider than /32"),
        ("198.51.100.4", "is a life-line, never touched: my gateway"),
        ("198.51.100.0/24", "contains 198.51.100.4, never touched: my gateway"),
        ("192.0.2.77", "lies in 192.0.2.0/24, never touched: the office"),
    ],
)
def test_what_must_not_be_touched_is_refused_with_its_reason(target: str, why: str) -> None:
    lines = Lifelines([Lifeline(address("198.51.100.4"), "my gateway"), Lifeline(address("192.0.2.0/24"), "the office")])

    verdict = touches([block(address(target))], lines, {})

    assert not verdict.allowed
    assert why in verdict.because


def test_an_address_anywhere_among_the_arguments_is_seen() -> None:
    lines = Lifelines([Lifeline(address("198.51.100.4"), "my gateway")])
    call = Call("firewall", "limit", {"rps": 5, "sources": (address("192.0.2.1"), address("198.51.100.4"))})

    verdict = touches([Change("limit", call, call, call)], lines, {})

    assert not verdict.allowed


def test_a_list_that_the_policy_never_touches_is_named() -> None:
    verdict = touches([block(address("192.0.2.9"))], Lifelines(), {"partners": [address("192.0.2.0/28")]})

    assert verdict.because == "192.0.2.9 is on the list `partners` (192.0.2.0/28), which this policy never touches"


@given(st.lists(st.floats(0, 1000), max_size=50), st.integers(1, 20))
def test_a_rate_never_lets_more_through_than_it_says(times: list[float], most: int) -> None:
    done, now = sorted(times), 1000.0
    limits = Limits(max=Rate(most, timedelta(seconds=100)))

    verdict = within(limits, Tally(0, done), now, "this policy")

    recent = sum(1 for at in done if at > now - 100)
    assert verdict.allowed == (recent < most)


def test_too_many_active_mitigations_are_refused_with_the_numbers() -> None:
    verdict = within(Limits(max_active=2), Tally(2, []), 0.0, "agent.yaml")

    assert verdict.because == "2 mitigations are in force, and 2 are the most agent.yaml allows"
