"""A record's bytes: a change is written field by field, and is what every journal before has held."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest
from pydantic_core import from_json, to_json

from agent.action import Call, Change, read_change, write_change
from agent.evidence.leaf import write_record
from agent.record import Record
from agent.systems.firewall import Firewall

ONE, NET, SIX = ip_network("203.0.113.7"), ip_network("198.51.100.0/24"), ip_network("2001:db8::/64")
BLOCK = Change(
    "drop every packet from and to 203.0.113.7 for 1h",
    Call("firewall", "block", {"ip": ONE, "ttl": timedelta(hours=1), "ports": (80, 443)}),
    Call("firewall", "unblock", {"ip": ONE, "ports": (80, 443)}),
    Call("firewall", "is_blocked", {"ip": ONE, "ports": (80, 443)}),
)
ONCE = Change(
    "end what „somebody“ began",
    Call("units", "restart", {"unit": "web.service", "within": timedelta(seconds=1.5), "nets": (NET, SIX), "other": None}),
    None,
    Call("units", "is_new", {"net": SIX}),
    (Call("units", "look", {}),),
    ("unit web.service",),
)


@pytest.mark.parametrize("change", [BLOCK, ONCE])
def test_a_change_is_written_as_json_itself_would_have_written_it(change: Change) -> None:
    by_json = to_json(change, timedelta_mode="float")

    by_hand = to_json(write_change(change), timedelta_mode="float")

    assert by_hand == by_json
    assert b'"change":' + by_json in write_record(Record("intent", {"policy": "x", "change": change}, "INC-1", "M-1"))


def test_a_written_change_is_read_back_as_it_was() -> None:
    leaf = write_record(Record("intent", {"change": BLOCK}, "INC-1", "M-1"))

    assert read_change(from_json(leaf)["body"]["change"], {"firewall": Firewall}) == BLOCK
