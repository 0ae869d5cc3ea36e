"""Policies that can never fire here are told, with what would bring their events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import contain

POLICY = """
policy: guessing
title: As the jail sshd of fail2ban
severity: P2
owner: security
when:
  event: fail2ban.failure
  match: {filter: "sshd[mode=normal]"}
  by: src.ip
  count: ">= 5 in 10m"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "guessing.yaml").write_text(POLICY)
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "filter.d" / "sshd.conf").write_text("[Definition]\nfailregex = ^refused <HOST>$\nmode = normal\n")
    (tmp_path / "auth.log").touch()
    return tmp_path


def checked(place: Path, *filters: str) -> str:
    names = ", ".join(f'"{one}"' for one in filters)
    sensor = f"{{logfile: {{path: {place}/auth.log, filters: [{names}], filters_dir: {place}/filter.d}}}}"
    (place / "agent.yaml").write_text(f"version: 1\nstate: state\npolicies: [policies]\nsensors: {{auth: {sensor}}}\n")
    return contain("policy", "check", "--config", place / "agent.yaml").err


def test_a_policy_on_a_filter_that_no_sensor_has_is_told(place: Path) -> None:
    said = checked(place, "sshd")

    assert "guessing (fail2ban.failure of the filter sshd[mode=normal])" in said


def test_a_policy_on_the_filter_as_a_sensor_names_it_is_heard(place: Path) -> None:
    said = checked(place, "sshd", "sshd[mode=normal]")

    assert "wait for events" not in said


def test_an_example_may_say_where_its_event_comes_from(tmp_path: Path) -> None:
    event = "{at: 0s, event: fail2ban.failure, filter: sshd, source: %s}"
    examples = f"examples:\n- {{title: from there, events: [{event}], expect: [finding]}}\n"
    policy = "policy: one\ntitle: one\nseverity: P2\nowner: me\nwhen: {event: fail2ban.failure, match: {source: 'file:/a'}}\n"
    (tmp_path / "one.yaml").write_text(policy + examples % "'file:/a'")
    (tmp_path / "other.yaml").write_text(policy.replace("policy: one", "policy: two") + examples % "'file:/b'")

    said = contain("policy", "test", tmp_path)

    assert said.err.startswith("2 tests, 1 failed")
    assert "other.yaml" in next(line for line in said.out.splitlines() if line.startswith("FAIL"))
