"""The examples in the help of every command run as they stand there."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.cli.ends import Exit
from tests.cli.command import environment
from tests.cli.conftest import Agent, running
from tests.cli.test_commands import ALL
from tests.senders import scans

EXAMPLES = [one for command in ALL.values() for one in getattr(command, "examples", ())]
ENDLESS = {"contain status --watch", "contain events tail", "contain events tail --json --kind http"}
_VERBS = ("resolve", "close", "reopen", "merge", "false-positive", "publish", "regime", "notified")
_ENDS = tuple(f"contain incidents {verb} " for verb in _VERBS)
_AT_WORK = ("contain doctor", "contain approve ", "contain deny ", *_ENDS, "contain notify ", "contain web", "contain report ")
AT_WORK = {one for one in EXAMPLES if one.startswith(_AT_WORK)}
"""Exit codes that depend on the machine, or on what waits for a person just now."""
SIGMA = """title: Somebody became another by a number
logsource: {product: linux, service: sudo}
detection:
  selection: {USER: ['#-*', '#*4294967295']}
  condition: selection
"""


@pytest.fixture(scope="module")
def lived_in() -> Iterator[Agent]:
    """An agent that has an incident, a mitigation, checkpoints kept elsewhere, and a `contain` on its PATH."""
    with running() as agent:
        command = agent.home / "bin" / "contain"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m agent "$@"\n')
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        (agent.home / "var").mkdir()
        assert agent("init", "--output", "var/agent.yaml", "--state", "var", "--policies", "policies").code == Exit.DONE
        agent("block", "203.0.113.9", "--for", "1h")
        agent.guess_passwords("203.0.113.99")
        agent.wait_for("kind=would")
        for what in ("the shop is slow", "nobody can pay"):
            assert agent("report", what).code == Exit.DONE
        (agent.home / "from-the-log-server.txt").write_text(_checkpoint(agent))
        reports = {"trivy.json": scans.trivy(), "grype.json": scans.grype(), "gitleaks.sarif": scans.gitleaks()}
        for name, report in reports.items():
            (agent.home / name).write_text(json.dumps(report))
        (agent.home / "rule.yml").write_text(SIGMA)
        yield agent


def _checkpoint(agent: Agent) -> str:
    from agent.evidence.journal_read import read_only

    with read_only(agent.home / "state" / "journal.db") as reader:
        return reader.checkpoints()[-1].note


def shell(agent: Agent, line: str) -> subprocess.CompletedProcess[str]:
    path = f"{agent.home / 'bin'}:{os.environ['PATH']}"
    env = environment(**agent.env, PATH=path)
    return subprocess.run(["bash", "-c", line], env=env, cwd=agent.home, text=True, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("line", [one for one in EXAMPLES if one not in ENDLESS and " run --config" not in one])
def test_an_example_runs(lived_in: Agent, line: str) -> None:
    done = shell(lived_in, line)

    right = (Exit.DONE, Exit.FAILED, Exit.REFUSED) if line in AT_WORK else (Exit.DONE, Exit.FOUND)
    assert done.returncode in right, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", sorted(ENDLESS - {"contain status --watch"}))  # that one needs a terminal: test_run.py
def test_an_endless_example_ends_when_interrupted(lived_in: Agent, line: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", *line.split()[1:]], env=environment(**lived_in.env), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout

    if "--json" not in line:
        lived_in.guess_passwords("203.0.113.98", times=3)
        assert select.select([process.stdout], [], [], 20)[0], "nothing came in 20 s"
        assert "203.0.113.98" in process.stdout.readline()
    else:
        shell(lived_in, "contain status")  # as long as a command takes to start
    process.send_signal(signal.SIGINT)
    process.stdout.close()

    assert process.wait(10) == Exit.INTERRUPTED
