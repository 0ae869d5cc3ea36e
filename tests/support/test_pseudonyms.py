"""The same name has the same word wherever it stands, and nothing that is no name is touched."""

from __future__ import annotations

import pytest

from agent.support.pseudonyms import Pseudonyms


@pytest.fixture
def names() -> Pseudonyms:
    made = Pseudonyms()
    made.host("db1.example.com")
    made.users(["alice", "root", "bob (uid 1001)"])
    return made


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("from 203.0.113.7 port 22", "from ip4-1 port 22"),
        ("203.0.113.7:22, 203.0.113.7.", "ip4-1:22, ip4-1."),
        ("10.1.0.0-10.1.0.9", "ip4-1-ip4-2"),
        ("ip=203.0.113.7/32", "ip=ip4-1/32"),
        ("net 203.0.113.0/24", "net ip4-net-1/24"),
        ("from:2001:db8::7, [2001:db8:0::7]:22", "from:ip6-1, [ip6-1]:22"),
        ("2001:db8::7: refused; 2001:db8::/32", "ip6-1: refused; ip6-net-1/32"),
        ("::ffff:203.0.113.7", "ip6-1"),
        ("block_203.0.113.7_", "block_ip4-1_"),
        ("02:42:ac:11:00:02", "mac-1"),
        ("db1 sshd, db1.example.com", "host-2 sshd, host-1"),
        ("alice (uid 1000) and bob; alice@db1", "user-1 (uid 1000) and user-2; user-1@host-2"),
    ],
)
def test_a_name_becomes_a_word(names: Pseudonyms, text: str, other: str) -> None:
    assert names.text(text) == other


@pytest.mark.parametrize(
    "text",
    [
        "at 12:03:04",
        "127.0.0.1 and ::1",
        "0.0.0.0/0",
        "version 1.2.3",
        "root",
        "malice",
        "alice-like",
        "a::b::c",
        "1.2.3.4.5",
        "::",
    ],
)
def test_what_is_no_name_stays(names: Pseudonyms, text: str) -> None:
    assert names.text(text) == text


def test_users_are_learnt_from_documents(names: Pseudonyms) -> None:
    names.find({"items": [{"event": {"auth.user": "oracle", "src.ip": "203.0.113.7"}, "actor": "carol (uid 3)", "why": "dave"}]})

    assert names.text("oracle carol dave") == "user-3 user-4 dave"


def test_the_words_can_be_looked_up_by_those_who_know_the_host(names: Pseudonyms) -> None:
    names.text("203.0.113.7")

    assert names.known["203.0.113.7"] == "ip4-1"
    assert names.known["alice"] == "user-1"
