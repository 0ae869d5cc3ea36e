"""Commands that ask a running agent: what they answer, how they end, and what they leave in the kernel."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent.cli.ends import Exit
from tests.cli.command import Said, at_terminal, contain
from tests.cli.conftest import Agent


@pytest.fixture
def blocked(agent: Agent) -> Iterator[str]:
    """A mitigation in force, by its id."""
    said = agent("block", "203.0.113.7", "--for", "1h", "--why", "a test", "--json")
    yield items(said)[0]["mitigations"][0]
    agent("undo", "203.0.113.7")


@pytest.fixture(scope="module")
def incident(agent: Agent) -> str:
    """An incident that real log lines made, by its id."""
    agent.guess_passwords("203.0.113.99")
    line = agent.wait_for("kind=would")
    return next(word.partition("=")[2] for word in line.split() if word.startswith("incident="))


def items(said: Said) -> list[dict[str, Any]]:
    document = json.loads(said.out)
    assert document["v"] == 1
    assert isinstance(document["kind"], str)
    found: list[dict[str, Any]] = document["items"]
    return found


# Orders ---------------------------------------------------------------------------------------------------------------


def test_a_block_is_in_force_and_an_undo_takes_it_away(agent: Agent) -> None:
    made = agent("block", "203.0.113.1", "--for", "1h", "--why", "a test")
    held = agent("mitigations")
    lifted = agent("undo", "203.0.113.1")
    after = agent("mitigations")

    assert made.code == lifted.code == Exit.DONE
    assert "in force: drop every packet from and to 203.0.113.1" in made.out
    assert "\tin_force\tblock_ip\t203.0.113.1\t" in held.out
    assert lifted.out.startswith("Lifted M-")
    assert "203.0.113.1" not in after.out


def test_what_is_in_force_already_is_done_and_says_so(agent: Agent, blocked: str) -> None:
    said = agent("block", "203.0.113.7", "--for", "1h")

    assert (said.code, said.out) == (Exit.DONE, "Nothing to do: already in force.\n")


def test_lifting_twice_is_harmless(agent: Agent) -> None:
    said = agent("undo", "203.0.113.250")

    assert said.code == Exit.DONE
    assert "nothing in force matches 203.0.113.250" in said.out


def test_the_guard_refuses_a_life_line_with_its_own_exit_code(agent: Agent) -> None:
    said = agent("block", "198.18.0.77", "--for", "1h")

    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert "198.18.0.77 is a life-line, never touched: never_touch in agent.yaml" in said.err


def test_a_parameter_that_does_not_fit_is_a_mistake_of_the_command_line(agent: Agent) -> None:
    said = agent("block", "203.0.113.7/33", "--for", "1h")

    assert said.code == Exit.USAGE
    assert "neither an address nor a network" in said.err


def test_a_dry_run_beside_a_running_agent_changes_nothing(agent: Agent) -> None:
    said = agent("block", "203.0.113.8", "--for", "1h", "--dry-run")

    assert said.code == Exit.DONE
    assert "203.0.113.8" not in agent("mitigations").out


def test_an_undo_can_be_planned(agent: Agent, blocked: str) -> None:
    said = agent("undo", blocked, "--plan", "--exit-code")

    assert said.code == Exit.FOUND
    assert "firewall.unblock(ip=203.0.113.7/32" in said.out
    assert "in_force" in agent("mitigations").out


def test_many_are_lifted_only_after_a_person_typed_it(agent: Agent) -> None:
    for number in range(12):
        contain("block", f"203.0.113.{100 + number}", "--for", "1h", env=agent.env)

    nobody = agent("undo", "all", "--no-input")
    mistyped = at_terminal("undo", "all", env=agent.env, typed="no\n")
    typed = at_terminal("undo", "all", env=agent.env, typed="all\n")

    assert nobody.code == mistyped.code == Exit.WAITS
    assert "Add --yes if this is meant." in nobody.err
    assert "Type all to go on" in typed.out
    assert typed.code == Exit.DONE
    assert agent("mitigations", "--json").out.count("in_force") == 0


def test_a_pause_ends_with_resume(agent: Agent) -> None:
    paused = agent("pause", "--for", "30m", "--why", "deploying")
    status = agent("status", "--json")
    resumed = agent("resume")

    assert paused.out.startswith("No policy acts any more; that ends 2")
    assert items(status)[0]["pause"]["why"] == "deploying"
    assert resumed.out.endswith(" is over: no policy would have acted\nPolicies act again.\n")
    assert agent("resume").out == "Nothing was paused.\n"


def test_a_policy_changes_its_mode(agent: Agent) -> None:
    said = agent("policy", "mode", "disk-full", "off")
    wrong = agent("policy", "mode", "disc-full", "off")

    assert said.out == "The policy disk-full is now in mode off.\n"
    assert "disk-full\tP2\toff\t" in agent("policy").out
    assert wrong.code == Exit.FAILED
    assert "no such policy" in wrong.err


def test_a_broken_policy_is_not_taken_and_every_command_says_so(agent: Agent) -> None:
    policies, kept = agent.home / "policies", agent.home / "kept"
    policies.rename(kept)
    policies.mkdir()
    (policies / "bad.yaml").write_text("policy: bad\nseverity: P9\n")

    broken = agent("reload")
    status = agent("status", "--exit-code")
    (policies / "bad.yaml").unlink()
    policies.rmdir()
    kept.rename(policies)
    mended = agent("reload")

    assert broken.code == Exit.USAGE
    assert "bad.yaml:2:11: error: `P9`" in broken.err
    assert status.code == Exit.FOUND
    assert "problems\t" in status.out
    assert (mended.code, mended.out) == (Exit.DONE, "The policies were read again and are live.\n")


# Questions ------------------------------------------------------------------------------------------------------------


def test_status_on_a_pipe_begins_each_line_with_what_it_is_about(agent: Agent, blocked: str) -> None:
    said = agent("status")

    rows = [line.split("\t") for line in said.out.splitlines()]
    assert rows[0][:2] == ["agent", "test1"]
    assert ["mitigation", "in_force", blocked, "block_ip", "203.0.113.7"] in [row[:5] for row in rows]
    assert ["sensor", "auth"] in rows


def test_status_on_a_terminal_is_a_screen_with_what_to_do_next(agent: Agent, blocked: str) -> None:
    said = at_terminal("status", env=agent.env)

    assert "\x1b[1mtest1\x1b[0m" in said.out
    assert "mitigation in force" in said.out
    assert "contain undo 203.0.113.7" in said.out


def test_status_as_json_has_rfc_3339_times(agent: Agent, blocked: str) -> None:
    (one,) = items(agent("status", "--json"))

    assert one["up"].endswith("Z")
    assert all(each["since"].endswith("Z") for each in one["mitigations"]["items"])


def test_status_imports_nothing_heavy(agent: Agent) -> None:
    said = contain("status", env={**agent.env, "PYTHONPROFILEIMPORTTIME": "1"}, cwd=agent.home)

    imported = {
        line.rpartition("|")[2].strip().split(".")[0] for line in said.err.splitlines() if line.startswith("import time:")
    }
    assert "click" in imported
    assert not imported & {"pydantic", "yaml", "rich", "http", "psutil", "asyncio", "sqlite3", "cryptography"}


def test_status_is_quick(agent: Agent) -> None:
    def seconds(*args: str) -> float:
        started = time.monotonic()
        agent(*args)
        return time.monotonic() - started

    quickest = min(seconds("status") for _ in range(5))

    assert quickest < 0.3, "the goal is 0.15 s on a machine that does nothing else"


def test_why_tells_all_about_a_target(agent: Agent, blocked: str) -> None:
    said = agent("why", "203.0.113.7")

    assert f"undo: contain undo {blocked}" in said.out
    assert "block_ip 203.0.113.7" in said.out


def test_why_of_an_incident_shows_what_was_seen_of_its_target(agent: Agent, incident: str) -> None:
    said = agent("why", incident)

    assert "\nevent\t" in said.out
    assert "203.0.113.99" in said.out.splitlines()[-1]


def test_why_tells_a_life_line(agent: Agent) -> None:
    assert "never touched: 198.18.0.77: never_touch in agent.yaml" in agent("why", "198.18.0.77").out


def test_why_of_a_stranger_is_an_empty_answer_and_says_so(agent: Agent) -> None:
    said = agent("why", "203.0.113.201")

    assert (said.code, said.out) == (Exit.DONE, "")
    assert "nothing is known about 203.0.113.201" in said.err


def test_a_mitigation_is_shown_with_the_calls_behind_it(agent: Agent, blocked: str) -> None:
    said = agent("mitigations", "show", blocked)

    assert "because\ta test\n" in said.out
    assert "undo\tfirewall.unblock(ip=203.0.113.7/32, ports=())\n" in said.out


@pytest.mark.parametrize("noun", ["mitigations", "incidents"])
def test_what_nobody_knows_cannot_be_shown(agent: Agent, noun: str) -> None:
    said = agent(noun, "show", "X-99")

    assert said.code == Exit.FAILED
    assert f"contain {noun} --all" in said.err


def test_an_incident_of_real_log_lines_is_listed_shown_and_explained(agent: Agent, incident: str) -> None:
    listed = agent("incidents", "list", "--json")
    shown = agent("incidents", "show", incident)
    explained = agent("policy", "explain", incident)

    assert [one["policy"] for one in items(listed) if one["id"] == incident] == ["ssh-brute-force"]
    assert "8 × auth.ssh.failure from 203.0.113.99" in shown.out
    assert "ssh-brute-force   P2   fires" in explained.out


def test_status_can_say_by_its_exit_code_that_something_is_wrong(agent: Agent, incident: str) -> None:
    assert agent("status").code == Exit.DONE
    assert agent("status", "--exit-code").code == Exit.FOUND


def test_events_are_listed_filtered_and_shown_whole(agent: Agent, incident: str) -> None:
    listed = agent("events", "list", "--kind", "auth.ssh", "--limit", 3, "--json")
    none = agent("events", "list", "--kind", "http")
    seen = [one["kind"] for one in items(agent("events", "list", "--json"))]
    shown = agent("events", "show", 1 + seen.index("auth.ssh.failure"))

    assert len(items(listed)) == 3
    assert {one["kind"] for one in items(listed)} == {"auth.ssh.failure"}
    assert none.out == ""
    assert none.err.startswith("no such event was seen; only what some policy waits for is kept")
    assert "forgeable\tyes: a stranger can write this text" in shown.out


def test_an_event_that_was_never_seen_cannot_be_shown(agent: Agent) -> None:
    said = agent("events", "show", 999)

    assert said.code == Exit.FAILED
    assert "cannot show event 999: only " in said.err


def test_names_complete_from_the_running_agent(agent: Agent, blocked: str) -> None:
    env = {**agent.env, "_CONTAIN_COMPLETE": "bash_complete", "COMP_WORDS": "contain undo M", "COMP_CWORD": "2"}

    assert f"plain,{blocked}" in contain(env=env).out.splitlines()


# Evidence -------------------------------------------------------------------------------------------------------------


def test_everything_that_was_done_is_in_the_evidence_with_who_did_it(agent: Agent, blocked: str) -> None:
    records = items(agent("evidence", "show", "--mitigation", blocked, "--json"))

    assert [one["kind"] for one in records] == ["intent", "in_force"]
    assert "(root (uid 0): a test)" in records[0]["say"]


def test_a_single_record_is_shown_as_it_was_hashed(agent: Agent) -> None:
    said = agent("evidence", "show", "0")

    assert json.loads(said.out)["kind"] == "started"
    assert agent("evidence", "show", "99999").code == Exit.FAILED


def test_the_evidence_holds_and_a_bundle_of_it_can_be_taken_away(agent: Agent) -> None:
    verified = agent("evidence", "verify", "--json")
    exported = agent("evidence", "export", "bundle")
    again = agent("evidence", "export", "bundle")

    assert (verified.code, items(verified)[0]["holds"]) == (Exit.DONE, True)
    assert (agent.home / "bundle" / "verify.py").exists()
    assert exported.code == Exit.DONE
    assert again.code == Exit.FAILED
    assert "it exists already" in again.err


def test_the_wrong_key_does_not_verify(agent: Agent) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from agent.evidence.note import PublicKey

    other = PublicKey("test1/containment-agent", Ed25519PrivateKey.generate().public_key().public_bytes_raw())

    said = agent("evidence", "verify", "--vkey", str(other))

    assert said.code == Exit.FAILED
    assert "PROBLEM" in said.out


# Health ---------------------------------------------------------------------------------------------------------------


def test_checks_are_asked_now_without_the_agent(agent: Agent) -> None:
    everything = agent("check", "run", "--exit-code")
    one = agent("check", "run", "disks", "--json")
    wrong = agent("check", "run", "disk")

    assert everything.code == Exit.FOUND
    assert "bad\tnobody\t127.0.0.1:1\t" in everything.out
    assert {each["state"] for each in items(one)} == {"good"}
    assert wrong.code == Exit.USAGE
    assert "It has: disks, nobody" in wrong.err


def test_checks_are_listed_with_their_parameters(agent: Agent) -> None:
    assert "nobody\ttcp\t1m\thost=127.0.0.1 port=1 " in agent("check", "list").out


def test_the_doctor_sees_the_agent_and_what_is_not_protected(agent: Agent) -> None:
    said = contain("doctor", "--json", env={**agent.env, "SSH_CONNECTION": "203.0.113.50 50000 192.0.2.1 22"}, cwd=agent.home)

    found = {one["what"]: one for one in items(said)}
    assert found["agent"]["ok"]
    assert found["firewall"]["ok"]
    assert found["never_touch"]["ok"]
    assert found["sensor auth"]["ok"]
    assert (found["you"]["ok"], found["you"]["mend"]) == (False, "add 203.0.113.50 to never_touch")
    assert said.code == Exit.FAILED
