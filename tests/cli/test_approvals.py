"""`contain approvals`, `approve`, `deny`, against the real agent and the real kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.ends import Exit
from tests.needs import need_root
from tests.network import nft, ruleset
from tests.running import Running, sshd_lines, wait_for

POLICY = """
policy: guessing
severity: P2
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 1m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
    approve: required
guard: {max: 20 per 10m}
"""
YAML = """
mode: enforce
ssh_ports: [22022]
approvals: {wait: 10m}
sensors:
  auth: {logfile: {path: %s, parsers: [sshd], from_start: true}}
"""


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Running]:
    """An agent whose policy waits for a yes to a block."""
    need_root()
    log = tmp_path / "auth.log"
    log.write_text("".join(sshd_lines("203.0.113.7", 3)))
    with Running(tmp_path, YAML % log, POLICY) as agent:
        wait_for(lambda: waiting(agent))
        yield agent
    if "containment" in ruleset():
        nft("delete table inet containment")


def waiting(agent: Running) -> list[dict[str, Any]]:
    return [one for one in agent.ask("approvals")["items"] if not one["over"]]


def test_what_waits_is_listed_with_its_end_and_shown_in_the_status(asked: Running) -> None:
    listed, status = asked.contain("approvals"), asked.contain("status")

    assert "A-1" in listed.stdout
    assert "203.0.113.7" in listed.stdout
    assert "approval\tA-1\tblock_ip\t203.0.113.7" in status.stdout
    assert "203.0.113.7" not in ruleset()


def test_a_yes_to_the_plan_that_was_shown_has_it_done_in_ones_own_name(asked: Running) -> None:
    (plan,) = (one["plan"] for one in waiting(asked))

    said = asked.contain("approve", "A-1", "--plan", plan, "--why", "I saw the dump")

    assert said.returncode == Exit.DONE, said.stderr
    assert "203.0.113.7" in ruleset("inet", "containment")
    assert not waiting(asked)
    told = asked.contain("evidence", "show", "--db", str(asked.place / "state" / "journal.db"))
    assert "root (uid 0) said yes: I saw the dump" in told.stdout


def test_nobody_says_yes_by_mistake(asked: Running) -> None:
    unseen, other = asked.contain("approve", "A-1"), asked.contain("approve", "A-1", "--plan", "0123456789abcdef")

    assert unseen.returncode == Exit.WAITS
    assert "would drop every packet from and to 203.0.113.7" in unseen.stdout
    assert other.returncode == Exit.REFUSED
    assert waiting(asked)


def test_a_no_is_told_and_nothing_is_done(asked: Running) -> None:
    said = asked.contain("deny", "A-1", "--why", "that is our scanner", "--json")

    assert json.loads(said.stdout)["items"][0]["result"] == "denied"
    assert "said no: that is our scanner" in asked.contain("approvals", "list", "--all").stdout


def test_what_waits_survives_kill_nine(asked: Running) -> None:
    asked.kill()
    asked.start()

    (one,) = waiting(asked)
    said = asked.contain("approve", "A-1", "--plan", one["plan"])

    assert said.returncode == Exit.DONE, said.stderr
    assert "203.0.113.7" in ruleset("inet", "containment")
