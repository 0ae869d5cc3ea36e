"""What sshd writes becomes events; what an attacker writes through sshd never chooses an address."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.event import Event
from agent.streams.parser import Scan, discover_parsers

CORPUS = Path(__file__).parent.parent / "corpus"
SEEN = 1795413700.0  # 2026-11-23T06:01:40Z
REAL = "203.0.113.7"


def scanned(text: str) -> list[Event]:
    scan = Scan.of([discover_parsers()["sshd"]], "file:/var/log/auth.log")
    return scan.events(text.encode() + b"\n", SEEN)


def message(text: str) -> list[Event]:
    return scanned(f"Nov 23 06:00:01 db1 sshd[812]: {text}")


def test_a_real_auth_log_gives_these_events() -> None:
    expected = (CORPUS / "sshd.expected").read_text().splitlines()

    events = scanned((CORPUS / "sshd.log").read_text().rstrip("\n"))

    assert [f"{one.kind} {one.fields['src.ip']} {one.fields['user'] or '-'}" for one in events] == expected


def test_a_failure_has_all_its_fields_and_is_forgeable() -> None:
    (event,) = message("Failed password for invalid user admin from 203.0.113.7 port 2233 ssh2")

    assert event.kind == "auth.ssh.failure"
    assert event.fields == {
        "src.ip": REAL,
        "user": "admin",
        "method": "password",
        "port": 2233,
        "reason": "invalid user",
    }
    assert (event.source, event.forgeable, event.seen) == ("file:/var/log/auth.log", True, SEEN)
    assert event.raw.startswith("Nov 23 06:00:01 db1 sshd[812]: Failed")


def test_one_wrong_password_for_an_unknown_user_is_one_failure() -> None:
    lines = [
        "Invalid user admin from 203.0.113.7 port 1",
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.7",
        "Failed password for invalid user admin from 203.0.113.7 port 1 ssh2",
        "Connection closed by invalid user admin 203.0.113.7 port 1 [preauth]",
    ]

    kinds = [event.kind for line in lines for event in message(line)]

    assert sorted(kinds) == ["auth.ssh.failure", "auth.ssh.invalid_user"]


NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=100),
    st.lists(
        st.sampled_from(
            [
                " from ",
                "6.6.6.6",
                " port ",
                "22",
                " ssh2",
                ": ",
                "RSA SHA256:x",
                " [preauth]",
                "]",
                "-CERT ",
                "x",
                "invalid user ",
            ]
        ),
        max_size=14,
    ).map("".join),
)


@given(NAMES)
def test_no_user_name_whatever_chooses_the_address(name: str) -> None:
    forms = [
        f"Failed password for invalid user {name} from {REAL} port 1 ssh2",
        f"Invalid user {name} from {REAL} port 1",
        f"Failed publickey for invalid user {name} from {REAL} port 1 ssh2: RSA SHA256:abc",
        f"Failed publickey for {name} from {REAL} port 1 ssh2: RSA-CERT SHA256:abc ID {name} (serial 0) CA RSA SHA256:d",
        f"Connection closed by authenticating user {name} {REAL} port 1 [preauth]",
        f"error: PAM: Authentication failure for illegal user {name} from {REAL}",
    ]

    found = {event.fields["src.ip"] for form in forms for event in message(form)}

    assert found == {REAL}


@given(st.text(st.characters(exclude_characters="\n"), max_size=300))
def test_no_message_whatever_makes_the_parser_raise(text: str) -> None:
    read = discover_parsers()["sshd"].read

    for word in (
        "",
        "Failed ",
        "Accepted ",
        "Invalid user ",
        "User ",
        "Connection closed by authenticating user ",
        "error: PAM: ",
    ):
        read(word + text)


@pytest.mark.parametrize(
    "line",
    [
        "Nov 23 06:00:01 db1 evil[812]: Failed password for root from 6.6.6.6 port 22 ssh2",
        "Nov 23 06:00:01 db1 app: sshd[1]: Failed password for root from 6.6.6.6 port 22 ssh2",
        "Nov 23 06:00:01 db1 app: Failed password for sshd[1]: Failed  from 6.6.6.6 port 22 ssh2",
        "sshd[1]: Failed password for root from 6.6.6.6 port 22 ssh2",
        "Nov 23 06:00:01 db1 sshd[1]: Failed password for root from 999.1.1.1 port 22 ssh2",
        "Nov 23 06:00:01 db1 sshd[1]: Failed password for root from evil.example.com port 22 ssh2",
        "Nov 23 06:00:01 db1 sshd[1]: Failed password for root from 6.6.6.6 port 22 ss [cut]",
    ],
)
def test_other_programs_other_places_and_bad_addresses_give_nothing(line: str) -> None:
    assert scanned(line) == []


def test_a_mapped_address_is_written_as_ipv4() -> None:
    (event,) = message("Failed password for root from ::ffff:203.0.113.7 port 22 ssh2")

    assert event.fields["src.ip"] == REAL
