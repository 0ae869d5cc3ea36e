"""Falco's JSON alerts become events; the corpus follows the published format, since Falco itself cannot be run here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.event import Event
from agent.parsers.falco import ALERT
from agent.streams.parser import Scan, discover_parsers

CORPUS = Path(__file__).parent.parent / "corpus"
SEEN = 1795413700.0


def scanned(text: str) -> list[Event]:
    return Scan.of([discover_parsers()["falco"]], "file:/var/log/falco.json").events(text.encode() + b"\n", SEEN)


def test_a_file_of_falco_gives_an_event_for_each_alert() -> None:
    events = scanned((CORPUS / "falco.log").read_text().rstrip("\n"))

    assert [(one.fields["priority"], one.fields["rule"]) for one in events] == [
        ("Notice", "Terminal shell in container"),
        ("Warning", "Read sensitive file untrusted"),
        ("Critical", "Redirect STDOUT/STDIN to Network Connection in Container"),
        ("Debug", "Falco internal: syscall event drop"),
    ]


def test_a_shell_in_a_container_says_where_and_who() -> None:
    event = scanned((CORPUS / "falco.log").read_text().rstrip("\n"))[0]

    assert event.fields == {
        "rule": "Terminal shell in container",
        "priority": "Notice",
        "tags": "T1059 container mitre_execution shell",
        "container.id": "16514a12c7ad",
        "container.name": "shop",
        "container.image.repository": "registry.example.com/shop",
        "proc.name": "sh",
        "proc.cmdline": "sh -lc id",
        "proc.pname": "containerd-shim",
        "user": "root",
        "hostname": "web1",
        "fingerprint": "e9476725a7e49087",
    }
    assert event.ts == pytest.approx(1795413601.180672)


def test_on_the_host_the_container_is_the_empty_text() -> None:
    events = scanned((CORPUS / "falco.log").read_text().rstrip("\n"))

    assert [one.fields["container.id"] for one in events] == ["16514a12c7ad", "", "28c0c7a20575", ""]


def test_both_ends_of_a_connection_are_addresses_and_what_is_not_known_is_not_there() -> None:
    event = scanned((CORPUS / "falco.log").read_text().rstrip("\n"))[2]

    assert (event.fields["src.ip"], event.fields["dst.ip"]) == ("10.0.3.7", "203.0.113.7")
    assert event.fields["user"] == ""
    assert not {"container.name", "proc.pname"} & set(event.fields)


def test_every_field_is_one_that_the_kind_declares() -> None:
    events = scanned((CORPUS / "falco.log").read_text().rstrip("\n"))

    assert {name for one in events for name in one.fields} <= set(ALERT.fields)


@pytest.mark.parametrize(
    "line",
    [
        "",
        '"output_fields": {',
        '{"output_fields":{}}',
        '{"output_fields":{},"rule":7,"priority":"Error"}',
        '{"output_fields":[],"rule":"x","priority":"Error"}',
        '["output_fields":{}]',
        '{"output_fields":{"a":' + "[" * 30000,
        '{"output_fields":{},"rule":"x","rule":"y","priority":"Error"}',
    ],
)
def test_what_is_no_alert_gives_nothing(line: str) -> None:
    assert scanned(line) == []


def test_tags_that_are_no_texts_are_left_out() -> None:
    line = {"output_fields": {}, "rule": "x", "priority": "Error", "tags": ["a", ["[" * 9], {"b": 1}, None, 7, "c"]}

    (event,) = scanned(json.dumps(line))

    assert event.fields["tags"] == "a c"


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=4))
def test_no_value_whatever_makes_the_parser_raise(value: object) -> None:
    fields = {"container.id": value, "fd.sip": value, "proc.name": value}
    line = {"output_fields": fields, "rule": "x", "priority": "Error", "tags": value, "time": value}

    read = discover_parsers()["falco"].read(json.dumps(line))

    assert read is not None
