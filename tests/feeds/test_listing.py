"""What counts of a list: never what must not be on it, and nothing that is hardly half of the one before."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.feeds.listing import Bounds, counting, difference, digest, page, shrunk
from agent.feeds.reading import Layout, NotUsed, read
from agent.guard import Lifeline, Lifelines
from agent.schema import address
from agent.watching.networks import Networks, code, sharing

USUAL = Bounds()
LINES = Lifelines(
    [Lifeline(address("198.51.100.7"), "an ssh login"), Lifeline(address("203.0.113.0/28"), "never_touch in agent.yaml")]
)


def kept(*texts: str, bounds: Bounds = USUAL, lines: Lifelines = LINES) -> tuple[list[str], str]:
    networks, said = counting(read([one.encode() for one in texts], Layout(), 1000), bounds, lines)
    return [str(one) for one in networks], said


def networks(*texts: str) -> Networks:
    return Networks(address(one) for one in texts)


@pytest.mark.parametrize("text", ["198.51.100.7", "198.51.100.0/24", "203.0.113.9", "203.0.113.0/28", "203.0.112.0/20"])
def test_a_network_that_meets_a_life_line_is_left_out_as_a_whole_and_named(text: str) -> None:
    found, said = kept(text, "192.0.2.1")

    assert found == ["192.0.2.1/32"]
    assert said == f"left out: 1 that meet life-lines ({text})"


def test_what_lies_in_a_network_that_is_left_out_still_counts_by_itself() -> None:
    found, _ = kept("198.51.0.0/16", "198.51.100.8", "198.51.100.7")

    assert found == ["198.51.100.8/32"]


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "192.168.7.1", "172.16.0.0/12", "100.64.0.1", "fd00::7", "127.0.0.1", "239.0.0.0/8"]
)
def test_nobody_elses_list_may_name_private_or_reserved_networks(text: str) -> None:
    assert kept(text) == ([], "left out: 1 private or reserved")


def test_our_own_list_may_name_private_networks_and_still_not_the_loopback() -> None:
    found, said = kept("10.0.0.7", "127.0.0.1", bounds=Bounds(private=True))

    assert (found, said) == (["10.0.0.7/32"], "left out: 1 private or reserved")


@pytest.mark.parametrize("text", ["0.0.0.0/0", "4.0.0.0/7", "::/0", "2000::/18"])
def test_what_is_wider_than_may_be_is_left_out(text: str) -> None:
    found, said = kept(text, "5.0.0.0/8", "2a00::/19", lines=Lifelines())

    assert found == ["5.0.0.0/8", "2a00::/19"]
    assert "1 wider than may be" in said


@pytest.mark.parametrize(("before", "after"), [(10, 5), (0, 0), (3, 2), (0, 9)])
def test_half_of_the_list_before_may_take_its_place(before: int, after: int) -> None:
    shrunk(many(before), many(after))


@pytest.mark.parametrize(("before", "after"), [(10, 4), (1, 0), (3, 1)])
def test_less_than_half_of_the_list_before_needs_a_person(before: int, after: int) -> None:
    with pytest.raises(NotUsed) as raised:
        shrunk(many(before), many(after))

    assert str(raised.value) == f"it has {after} networks, and had {before}"


def many(count: int) -> Networks:
    return networks(*(f"198.51.100.{at}" for at in range(count)))


def test_the_digest_is_that_of_the_networks_a_line_each_in_order() -> None:
    import hashlib

    made = networks("203.0.113.0/24", "198.51.100.7", "2001:db8::/32")

    assert digest(made) == hashlib.sha256(b"198.51.100.7\n203.0.113.0/24\n2001:db8::/32\n").hexdigest()


def test_a_difference_counts_what_is_new_and_what_has_gone() -> None:
    assert difference(networks("1.1.1.1", "2.2.2.2"), networks("2.2.2.2", "3.3.3.3", "2001:db8::/32")) == (2, 1)


@pytest.mark.parametrize(
    ("first", "most", "expected"), [(0, 2, ["1.1.1.1", "2.2.2.2"]), (1, 9, ["2.2.2.2", "2001:db8::1"]), (3, 9, [])]
)
def test_a_page_goes_on_from_ipv4_to_ipv6(first: int, most: int, expected: list[str]) -> None:
    assert page(networks("2001:db8::1", "2.2.2.2", "1.1.1.1"), first, most) == expected


def _net(number: int, length: int) -> IPv4Network:
    return IPv4Network((number >> (32 - length) << (32 - length), length))


NETS = st.builds(_net, st.integers(0, 0xFFFF).map(lambda one: one << 16 | one), st.integers(8, 32))


@given(st.lists(NETS, max_size=30), NETS)
def test_what_shares_an_address_is_found_as_by_going_through_all(rows: list[Any], asked: Any) -> None:
    codes = {4: sorted({code(one) for one in rows}), 6: []}
    expected = {code(one) for one in rows if one.overlaps(asked)}

    assert sharing(codes, asked) == expected
    touched = Networks(rows).touched(asked)
    assert bool(touched) == bool(expected)
    assert touched is None or ip_network(touched).overlaps(asked)
