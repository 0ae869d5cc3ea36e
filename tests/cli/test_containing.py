"""The commands around what is more than a block: what is destructive, what waits for a yes, and what must be granted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.ends import Exit
from tests.cli.command import contain

NOBODY = "--config=/nonexistent/agent.yaml"


@pytest.mark.parametrize(("system", "first"), [("postgres", "--"), ("vault", "#")])
def test_what_must_be_granted_is_printed_ready_to_run(system: str, first: str) -> None:
    done = contain("grants", system, NOBODY)

    assert done.code == Exit.DONE
    assert done.out.startswith(first)


def test_a_dry_run_names_targets_evidence_calls_undo_end_impact_and_verdict(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("version: 1\nnever_touch: [198.51.100.7]\nssh_ports: [22022]\n")

    done = contain("do", "isolate_host", "ttl=1h", "--dry-run", f"--config={config}")

    assert done.code == Exit.DONE, done.err
    for part in ("touches host", "capture nft", "apply   nft", "verify  nft", "undo    nft", "impact\tdestructive\thost"):
        assert part in done.out, part
    assert "unless somebody says `contain confirm host`" in done.out
    assert "guard\tok" in done.out


def test_a_dry_run_as_json_holds_every_call_in_the_systems_own_words() -> None:
    done = contain("do", "snapshot", "--dry-run", "--json")

    (plan,) = json.loads(done.out)["items"]
    (change,) = plan["changes"]
    assert plan["impact"] == "mild"
    assert plan["ends"] == "when it is done: nothing stays in force"
    assert change["undo"] is None
    assert "ruleset" in " ".join(one["native"] for one in change["capture"])


def test_what_is_destructive_is_not_done_without_a_yes(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("version: 1\nnever_touch: [198.51.100.7]\nssh_ports: [22022]\n")

    done = contain("do", "isolate_host", "ttl=1h", "--why", "a drill", "--no-input", f"--config={config}")

    assert done.code == Exit.WAITS
    assert "close this host" in done.out
    assert "Add --yes" in done.err


def test_what_agent_yaml_protects_is_refused_in_the_dry_run_too(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("version: 1\nnever_touch: [198.51.100.7]\nssh_ports: [22022]\nprotected: [host]\n")

    done = contain("do", "isolate_host", "ttl=1h", "--dry-run", f"--config={config}")

    assert done.code == Exit.REFUSED
    assert "host is protected in agent.yaml (`host`)" in done.out


def test_the_help_of_one_action_says_all_about_it() -> None:
    done = contain("do", "stop_writes", "--help")

    assert done.code == Exit.DONE
    assert "survives a crash and a failover" in done.out
    assert "(soft, hard or fence; soft where nothing is said)" in done.out
