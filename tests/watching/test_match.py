"""Field maps: what each operator of the grammar takes and leaves."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.event import Event, Value
from agent.policy import Operator
from agent.policy import Test as Line
from agent.schema import address
from agent.watching.match import holds, index_lists, matcher, why
from agent.watching.networks import Networks

LISTS = index_lists({"office": [address("198.51.100.0/24")], "empty": [], "v6": [address("2001:db8::/32")]})


def line(operator: Operator, operand: Any, field: str = "x") -> Line:
    return Line(field, operator, operand, str(operand))


def nets(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(address(one) for one in texts)


@pytest.mark.parametrize(
    ("test", "value"),
    [
        (line("is", "root"), "root"),
        (line("is", False), False),
        (line("in", frozenset({"root", "admin"})), "admin"),
        (line("not", "host"), "3ad7"),
        (line("not", frozenset({"host", ""})), "3ad7"),
        (line("gt", 100), 100.5),
        (line("gte", 100), 100),
        (line("lt", 0.2), 0.1),
        (line("lte", 0), 0),
        (line("re", re.compile(r"^/wp-")), "/wp-login.php"),
        (line("glob", re.compile(r"(?s:debug\-.*)\Z")), "debug-1"),
        (line("has", "../"), "/a/../etc/passwd"),
        (line("exists", True), ""),
        (line("exists", False), None),
        (line("cidr", nets("10.0.0.0/8", "192.0.2.1")), "10.255.0.1"),
        (line("list", frozenset({"office", "empty"})), "198.51.100.77"),
    ],
)
def test_an_operator_takes_what_it_says(test: Line, value: Value) -> None:
    assert holds(test, LISTS)(value)


@pytest.mark.parametrize(
    ("test", "value"),
    [
        (line("is", "root"), "Root"),
        (line("in", frozenset({"root", "admin"})), "bob"),
        (line("not", frozenset({"host", ""})), ""),
        (line("gt", 100), 100),
        (line("lt", 100), "20"),
        (line("re", re.compile(r"^/wp-")), "/a/wp-login.php"),
        (line("re", re.compile(r"1")), 1),
        (line("glob", re.compile(r"(?s:debug\-.*)\Z")), "my-debug-1"),
        (line("has", "../"), "/etc/passwd"),
        (line("cidr", nets("10.0.0.0/8")), "11.0.0.1"),
        (line("cidr", nets("10.0.0.0/8")), "10.0.0.1; drop"),
        (line("list", frozenset({"empty"})), "198.51.100.77"),
    ],
)
def test_an_operator_leaves_what_it_does_not_say(test: Line, value: Value) -> None:
    assert not holds(test, LISTS)(value)


@pytest.mark.parametrize("operator", ["is", "in", "not", "gt", "gte", "lt", "lte", "re", "has", "glob", "cidr", "list"])
def test_an_absent_field_makes_every_test_false_but_exists(operator: Operator) -> None:
    operands: dict[str, Any] = {
        "is": False,
        "in": frozenset({"a"}),
        "not": True,
        "re": re.compile(""),
        "glob": re.compile(""),
        "has": "",
        "cidr": nets("0.0.0.0/0"),
        "list": frozenset({"office"}),
    }

    told = holds(line(operator, operands.get(operator, 0)), LISTS)

    assert told(None) is False


def test_an_unknown_answer_of_a_check_matches_neither_ok_false_nor_ok_not_true() -> None:
    unknown = Event("check", 0.0, {"name": "db", "state": "unknown"})

    told = [matcher([line("is", False, "ok")], {})(unknown), matcher([line("not", True, "ok")], {})(unknown)]

    assert told == [False, False]


def test_every_line_of_a_map_must_hold_and_no_line_always_does() -> None:
    event = Event("k", 0.0, {"a": 1, "b": "x"}, source="files")

    assert matcher([line("is", 1, "a"), line("is", "x", "b")], {})(event)
    assert not matcher([line("is", 1, "a"), line("is", "y", "b")], {})(event)
    assert matcher([line("is", 1, "a"), line("is", "files", "source")], {})(event)
    assert not matcher([line("is", "journal", "source")], {})(event)
    assert matcher([], {})(event)


def test_a_pattern_looks_no_further_than_4096_characters() -> None:
    told = holds(line("re", re.compile("needle")), {})

    assert told("x" * 4000 + "needle")
    assert not told("x" * 4096 + "needle")


def test_a_network_is_found_and_named_by_the_listed_one_that_holds_it() -> None:
    networks = Networks(nets("10.0.0.0/8", "203.0.113.7", "2001:db8::/32", "0.0.0.0/32"))

    found = [networks.find(one) for one in ("10.9.8.7", "203.0.113.7", "2001:db8::1", "10.9.0.0/16", "0.0.0.0")]

    assert found == ["10.0.0.0/8", "203.0.113.7", "2001:db8::/32", "10.0.0.0/8", "0.0.0.0"]


@pytest.mark.parametrize(
    "text", ["10.0.0.0/7", "203.0.113.8", "::ffff:203.0.113.8", "example.com", "", "1.2.3", 7, None, "fe80::1%eth0"]
)
def test_what_is_not_wholly_inside_is_not_found(text: Value) -> None:
    networks = Networks(nets("10.0.0.0/8", "203.0.113.7"))

    assert networks.find(text) == ""


def test_ipv4_written_as_ipv6_is_ipv4() -> None:
    assert Networks(nets("203.0.113.0/24")).find("::ffff:203.0.113.7") == "203.0.113.0/24"


def network(one: IPv4Address | IPv6Address, length: int) -> IPv4Network | IPv6Network:
    return ip_network(f"{one}/{min(length, one.max_prefixlen)}", strict=False)


@given(st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=20), st.ip_addresses())
def test_the_index_answers_as_going_through_all_networks_does(rows: list[tuple[Any, int]], asked: Any) -> None:
    networks = [network(one, length) for one, length in rows]
    mapped = getattr(asked, "ipv4_mapped", None)
    address = mapped or asked

    expected = any(address in one for one in networks)

    assert bool(Networks(networks).find(str(asked))) == expected


def test_the_reason_names_the_value_and_the_list_and_hides_nothing() -> None:
    on_list = why(line("list", frozenset({"office"}), "src.ip"), "198.51.100.4", LISTS)
    hostile = why(line("is", "root", "user"), "ro\x1b[2Kot\u202e", LISTS)
    absent = why(line("is", "root", "user"), None, LISTS)

    assert on_list == "src.ip = 198.51.100.4, which is on the list office (198.51.100.0/24)"
    assert hostile == "user = ro\\x1b[2Kot\\u202e"
    assert absent == "user is absent"
