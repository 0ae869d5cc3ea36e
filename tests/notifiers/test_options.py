"""Channels as agent.yaml writes them: what is right is read, and what is wrong is said where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.grammar import located
from agent.grammar.located import Problem
from agent.grammar.typed import record
from agent.notifying.notifier import discover_notifiers

GOOD = {
    "email": """
server: smtp.example.com:587
from: containment@example.com
to: [sre@example.com, oncall@example.com]
user: containment
password_file: /etc/containment-agent/smtp
ca_file: /etc/ssl/our-ca.pem
""",
    "pagerduty": """
routing_key_file: /etc/containment-agent/pagerduty
base_url: https://events.eu.pagerduty.com
""",
    "statuspage": """
page: gytm4qzbx9t6
key_file: /etc/containment-agent/statuspage
component_ids: [3xdk5n3lzs1p]
by_policy: {slow-queries: [9w0bnnxn7cqm]}
from_severity: P0
texts: {resolved: "It works again."}
notify: false
""",
}


def read(name: str, text: str) -> tuple[Any, list[Problem]]:
    found: list[Problem] = []
    (node,) = located.read(text, "agent.yaml")
    return record(node, discover_notifiers()[name], found), found


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_read(name: str) -> None:
    made, found = read(name, GOOD[name])

    assert found == []
    assert made.whom()
    assert made.hosts()[0].endswith((".example.com", ".pagerduty.com", ".statuspage.io"))


def test_values_are_of_their_types() -> None:
    mail, _ = read("email", GOOD["email"])
    page, _ = read("statuspage", GOOD["statuspage"])

    assert (mail.from_, mail.to, mail.password_file) == (
        "containment@example.com",
        ("sre@example.com", "oncall@example.com"),
        Path("/etc/containment-agent/smtp"),
    )
    assert (page.by_policy, page.from_severity, page.notify) == ({"slow-queries": ("9w0bnnxn7cqm",)}, "P0", False)


@pytest.mark.parametrize(
    ("name", "right", "wrong", "says"),
    [
        ("email", "from: containment@example.com", "from: containment", "is no mail address"),
        ("email", "smtp.example.com:587", "smtp.example.com", "is no mail server"),
        ("email", "user: containment\n", "tls: none\nuser: containment\n", "in the clear"),
        ("pagerduty", "https://events.eu", "http://events.eu", "https"),
        ("statuspage", "resolved:", "solved:", "is none of investigating, identified, monitoring, resolved"),
        ("statuspage", "[3xdk5n3lzs1p]", "[a/b]", "is no id at Statuspage"),
    ],
)
def test_what_is_wrong_is_said(name: str, right: str, wrong: str, says: str) -> None:
    assert right in GOOD[name]

    made, found = read(name, GOOD[name].replace(right, wrong))

    assert made is None
    assert len(found) == 1
    assert says in f"{found[0].text} {found[0].hint}"
