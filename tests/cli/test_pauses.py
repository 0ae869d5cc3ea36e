"""`contain pause`, `resume` and `silence` against a running agent: what it does not do, what it says, and what a kill leaves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.cli.ends import Exit
from tests.cli.command import at_terminal, contain
from tests.cli.conftest import Agent
from tests.needs import need, need_root
from tests.running import Running, sshd_lines, wait_for

POLICY = """
policy: guessing
severity: P2
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard: {max: 20 per 10m}
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Running]:
    """An agent that would block whoever guesses passwords, and a log for them."""
    need_root()
    need("nft", "nftables")
    (tmp_path / "auth.log").touch()
    sensors = f"sensors: {{auth: {{logfile: {{path: {tmp_path}/auth.log, parsers: [sshd], from_start: true}}}}}}\n"
    with Running(tmp_path, f"mode: enforce\ncanary: off\n{sensors}", POLICY) as made:
        yield made


def guess(agent: Running, address: str) -> None:
    with (agent.place / "auth.log").open("a") as log:
        log.writelines(sshd_lines(address, 3))


def not_done(agent: Running, count: int) -> None:
    """Wait until the pause has kept so many actions from being done."""
    wait_for(lambda: sum(one["missed"] for one in agent.ask("pauses")["items"] if one["stage"] == "on") >= count)


def test_a_pause_shows_at_its_end_what_was_not_done_and_then_it_is_done(guarded: Running) -> None:
    begun = guarded.contain("pause", "--for", "30m", "--why", "deploying")
    guess(guarded, "203.0.113.7")
    not_done(guarded, 1)
    guarded.kill()
    guarded.start()
    still = guarded.contain("status")
    ended = guarded.contain("resume")
    after = guarded.contain("status")
    guess(guarded, "203.0.113.7")
    wait_for(guarded.in_force)

    assert begun.stdout.startswith("No policy acts any more; that ends 2")
    assert "\nWhat they would do is recorded and told then;" in begun.stdout
    assert "pause\ton\tP-1\tall\t" in still.stdout
    assert " is over: 1 action was not done:\n" in ended.stdout
    assert "block_ip\t203.0.113.7\tguessing\tINC-1\n" in ended.stdout
    assert ended.stdout.endswith("\nPolicies act again.\n")
    assert "pause\tover\tP-1\tall\t" in after.stdout
    guarded.contain("undo", "all")


def test_a_window_of_agent_yaml_pauses_and_a_reload_without_it_resumes(guarded: Running) -> None:
    now = datetime.now()  # noqa: DTZ005 - windows go by the host's own clock
    hours = [f"{one:%H:%M}" for one in (now - timedelta(minutes=2), now + timedelta(hours=1))]
    plain = guarded.config.read_text()
    window = f"maintenance: {{deploy: {{from: {hours[0]}, to: {hours[1]}, policies: [guessing], why: the weekly deploy}}}}\n"
    guarded.config.write_text(plain + window)
    reloaded = guarded.contain("reload")
    (one, coming) = wait_for(lambda: found if len(found := guarded.ask("pauses")["items"]) == 2 else None)
    guess(guarded, "203.0.113.8")
    not_done(guarded, 1)

    guarded.config.write_text(plain + window.replace("guessing", "gessing"))
    wrong = guarded.contain("reload")
    guarded.config.write_text(plain)
    guarded.contain("reload")
    (over,) = wait_for(lambda: [one for one in guarded.ask("pauses")["items"] if one["stage"] == "over"])

    assert reloaded.returncode == Exit.DONE
    assert (one["stage"], one["id"], one["actor"], one["policies"]) == ("on", "P-1", "maintenance deploy", ["guessing"])
    assert (coming["stage"], coming["id"]) == ("window", "deploy")
    assert one["until"] - one["since"] == 62 * 60
    assert "no policy is called `gessing`" in wrong.stderr
    assert (over["id"], over["missed"]) == ("P-1", 1)
    assert not guarded.in_force()


def test_a_silenced_incident_counts_for_no_exit_code_and_for_no_warning(guarded: Running) -> None:
    guess(guarded, "203.0.113.9")
    wait_for(guarded.in_force)
    loud = guarded.contain("status", "--exit-code")
    silenced = guarded.contain("silence", "--target", "203.0.113.9", "--for", "2h", "--why", "our scanner")
    guarded.kill()
    guarded.start()
    quiet = guarded.contain("status", "--exit-code")
    listed = json.loads(guarded.contain("silence", "list", "--json").stdout)["items"]
    guarded.contain("undo", "203.0.113.9")
    guarded.contain("silence", "end", "S-1")

    assert (loud.returncode, quiet.returncode) == (Exit.FOUND, Exit.DONE)
    assert "\tsilenced S-1\n" in quiet.stdout
    assert silenced.stdout.startswith("Nobody is told of target 203.0.113.9, P2 and less severe; that ends 2")
    assert "Now silent: INC-1. Actions go on." in silenced.stdout
    assert [(one["id"], one["target"], one["worst"]) for one in listed] == [("S-1", "203.0.113.9", "P2")]
    said = guarded.log.read_text().splitlines()
    assert any("kind=lifted" in line and " info " in line for line in said)
    assert "S-1: nobody is told of target 203.0.113.9 until" in guarded.log.read_text()


# On a terminal, and with the agent of all commands ------------------------------------------------------------------------------


def test_a_status_on_a_terminal_says_who_has_paused_and_silenced_what(agent: Agent) -> None:
    agent("pause", "--policy", "ssh-brute-force", "--for", "30m", "--why", "the pentest")
    agent("pause", "--for", "1h", "--from", "00:00", "--why", "later")
    agent.guess_passwords("203.0.113.97")
    line = agent.wait_for("kind=would")
    name = next(word.partition("=")[2] for word in line.split() if word.startswith("incident="))
    agent("silence", "--incident", name, "--for", "1h", "--why", "known")

    said = at_terminal("status", env=agent.env).out
    agent("silence", "end", "all")
    ended = at_terminal("resume", "all", env=agent.env).out

    assert "ssh-brute-force does not act; ends in 30 min (P-" in said
    assert "no policy acts; begins in " in said
    assert "silenced by root (uid 0): known; ends in " in said
    assert "contain resume P-" in said
    assert "the pause of " in ended
    assert "is called off" in ended
    assert "Policies act again." in ended


def test_a_later_beginning_is_read_as_local_time(agent: Agent) -> None:
    later = datetime.fromtimestamp(int(time.time()) + 7200)  # noqa: DTZ006 - what a person types is local

    clock = agent("pause", "--for", "1h", "--from", f"{later:%H:%M}", "--why", "x", "--json")
    full = agent("pause", "--for", "1h", "--from", f"{later.astimezone().isoformat()}", "--why", "x", "--json")
    past = agent("pause", "--for", "1h", "--from", "2020-01-01T00:00", "--why", "x")
    agent("resume", "all")

    (first,), (second,) = (json.loads(one.out)["items"] for one in (clock, full))
    assert datetime.fromisoformat(first["since"]).timestamp() == later.replace(second=0).timestamp()
    assert datetime.fromisoformat(second["since"]).timestamp() == later.timestamp()
    assert (first["result"], past.code) == ("planned", Exit.FAILED)
    assert "it would begin in the past" in past.err


def test_what_cannot_be_paused_or_silenced_says_why(agent: Agent) -> None:
    typo = agent("pause", "--policy", "ssh-brute-farce", "--for", "1h", "--why", "x")
    longer = agent("pause", "--for", "8d", "--why", "x")
    everything = agent("silence", "--for", "1h", "--why", "x")
    nothing = agent("resume", "P-999")

    assert (typo.code, everything.code, nothing.code) == (Exit.FAILED, Exit.USAGE, Exit.DONE)
    assert "no policy is called ssh-brute-farce; known: " in typo.err
    assert "7d are the most" in longer.err
    assert "Name a policy (--policy)" in everything.err
    assert nothing.out == "Nothing was paused by the name of P-999.\n"


@pytest.mark.parametrize(
    ("line", "wanted"), [("contain pause --p", "--policy"), ("contain silence l", "list"), ("contain silence --ta", "--target")]
)
def test_a_shell_completes_options_and_commands_of_what_is_called_without_one(line: str, wanted: str) -> None:
    count = len(line.split()) - 1
    words = {"COMP_WORDS": line, "COMP_CWORD": str(count), "_CONTAIN_COMPLETE": "bash_complete"}

    assert wanted in contain(env={**os.environ, **words}).out


def test_a_shell_completes_the_names_of_policies_and_pauses(agent: Agent) -> None:
    agent("pause", "--for", "1m", "--why", "x")
    said = {}
    for line in ("contain pause --policy ssh", "contain resume P"):
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1), "_CONTAIN_COMPLETE": "bash_complete"}
        said[line] = contain(env={**agent.env, **words}).out
    agent("resume", "all")

    assert "plain,ssh-brute-force" in said["contain pause --policy ssh"]
    assert "plain,P-" in said["contain resume P"]
