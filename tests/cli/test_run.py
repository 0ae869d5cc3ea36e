"""`contain run` and `status --watch` on a terminal, and a fresh host's first minutes: init, doctor, run."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from agent.cli.ends import Exit
from agent.draft_config import Places, draft
from agent.look import Listening, Looked
from agent.systems.host import Lifeline
from agent.wiring import read_config_file
from tests.cli.command import CONTAIN, ROOT, Terminal, contain, environment
from tests.cli.conftest import LINE, Agent
from tests.needs import need_root

PLACES = Places(Path("state"), Path("agent.sock"), Path("policies"))


def lifeline(address: str, why: str) -> Lifeline:
    return Lifeline(ip_network(address), why)


RICH = Looked(
    host='shop"1',
    units=("nginx.service", "postgresql@15-main.service"),
    listening=(
        Listening("0.0.0.0", 22, "sshd", "ssh"),
        Listening("::", 80, "nginx", "http"),
        Listening("127.0.0.1", 2024, "", ""),
    ),
    postgres=(5432, 5433),
    docker=True,
    journald=True,
    auth_log=Path("/var/log/auth.log"),
    access_logs=(Path("/var/log/nginx/access.log"), Path("/var/log/nginx/shop access.log")),
    ssh_ports=(22, 2222),
    safe=(lifeline("198.51.100.4", "logged in over ssh, on port 22"),),
    you="198.51.100.5",
    missed=("units: systemctl does not say",),
)


# init -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [RICH, Looked(host="bare")], ids=["rich", "bare"])
def test_what_is_written_for_a_host_can_be_read(tmp_path: Path, found: Looked) -> None:
    file = tmp_path / "agent.yaml"

    file.write_text(draft(found, PLACES, "2026-11-23"))

    config = read_config_file(file)
    assert config.host == found.host
    assert config.mode == "dry_run"
    assert config.state == tmp_path / "state"


def test_what_was_found_is_watched_asked_and_protected(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(draft(RICH, PLACES, "2026-11-23"))

    config = read_config_file(file)

    assert [one.name for one in config.sensors.values()] == ["journald", "logfile", "logfile", "files", "kernel", "connections"]
    assert {"sshd-22", "nginx-80", "units", "main-reachable", "pg5433-locks"} <= set(config.checks)
    assert "port-2024" not in config.checks
    assert sorted(map(str, config.never_touch)) == ["198.51.100.4/32", "198.51.100.5/32"]
    assert config.ssh_ports == (22, 2222)
    assert set(config.postgres) == {"main", "pg5433"}


def test_whoever_is_perhaps_guessing_passwords_right_now_is_not_protected() -> None:
    guesser = lifeline("203.0.113.66", "connected to ssh port 22, and this host keeps no list")

    text = draft(Looked(host="h", safe=(guesser,)), PLACES, "2026-11-23")

    assert "never_touch: []" in text
    assert '\n# - "203.0.113.66"' in text


def test_init_writes_a_file_that_loads_and_says_what_comes_next(tmp_path: Path) -> None:
    said = contain("init", "--output", "var/agent.yaml", "--state", "var", "--policies", ROOT / "policies", cwd=tmp_path)
    checked = contain("policy", "check", cwd=tmp_path, env={"CONTAIN_CONFIG": "var/agent.yaml"})

    assert said.code == checked.code == Exit.DONE
    assert "var/agent.yaml is written, everything in dry run." in said.out
    assert "contain run --config var/agent.yaml" in said.err
    assert 'state: "."' in (tmp_path / "var" / "agent.yaml").read_text()


def test_init_does_not_overwrite(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("mine\n")

    said = contain("init", "--output", file)
    forced = contain("init", "--output", file, "--force")

    assert said.code == Exit.USAGE
    assert "Add --force to replace it" in said.err
    assert forced.code == Exit.DONE
    assert file.read_text() != "mine\n"


def test_init_where_nobody_may_write_says_where_one_may(tmp_path: Path) -> None:
    said = contain("init", "--output", "/proc/agent.yaml")

    assert said.code == Exit.FAILED
    assert "cannot write /proc/agent.yaml" in said.err
    assert "Traceback" not in said.err


# doctor ---------------------------------------------------------------------------------------------------------------


def test_the_doctor_works_for_anybody_and_says_what_root_is_needed_for(tmp_path: Path) -> None:
    need_root()
    tmp_path.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--", *CONTAIN, "doctor"]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=30, check=False, cwd="/")
    if "Permission denied" in done.stderr:
        pytest.skip("another user may not read this checkout")

    assert done.returncode == Exit.FAILED
    assert re.search(r"^bad\trights\tCAP_NET_ADMIN is missing.*\trun this as root", done.stdout, re.MULTILINE)
    assert re.search(r"^bad\tconfig\t.* does not exist\t.*contain init", done.stdout, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_the_doctor_on_a_terminal_shows_the_mend_below(agent: Agent) -> None:
    said = Terminal("doctor", env={"CONTAIN_CONFIG": "/nowhere/agent.yaml"}).end()

    assert "→ have one written for this host: contain init" in said.out


def test_a_broken_config_is_told_by_the_doctor_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("version: 1\nmoed: dry_run\n")

    said = contain("doctor", "--config", file)

    assert f"{file}:2:1: error: unknown key `moed`" in said.out


# run ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory whose name is short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="contain-"))
    yield made
    shutil.rmtree(made)


def test_a_terminal_shows_what_is_seen_and_would_be_done_until_interrupted(home: Path) -> None:
    need_root()
    log, config = home / "auth.log", home / "agent.yaml"
    contain("init", "--output", config, "--state", home, "--policies", ROOT / "policies")
    sensor = f"test: {{logfile: {{path: {log}, parsers: [sshd], from_start: true}}}}"
    config.write_text(config.read_text().replace("  kernel: ", f"  {sensor}\n  kernel: "))
    log.touch()

    terminal = Terminal("run", "--config", config, "--dry-run")
    terminal.until("watching")
    with log.open("a") as lines:
        lines.writelines(LINE.format(time="Nov 23 06:00:01", address="203.0.113.7") for _ in range(8))
    terminal.until("would drop every packet")
    terminal.until("/s")
    ordered = contain("block", "203.0.113.8", "--for", "1h", env={"CONTAIN_CONFIG": str(config)})
    terminal.process.send_signal(signal.SIGINT)
    said = terminal.end()

    assert said.code == ordered.code == Exit.DONE
    assert re.search(r"found.*P2 INC-1 ssh-brute-force: 8 × auth\.ssh\.failure from 203\.0\.113\.7", said.out)
    assert "Dry run: the agent recorded it, and did nothing." in ordered.out
    assert "what is in force stays in force" in said.out
    assert said.out.endswith("\r\x1b[2K"), "the status line is taken away at the end"


def test_a_second_agent_at_the_same_state_is_refused(agent: Agent) -> None:
    said = agent("run")

    assert said.code == Exit.FAILED
    assert "cannot " in said.err
    assert "Traceback" not in said.err


def test_watching_the_status_redraws_it_until_interrupted(agent: Agent) -> None:
    terminal = Terminal("status", "--watch", env=agent.env)

    terminal.until("\x1b[H\x1b[2J")
    terminal.until("policies")
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.end().code == Exit.INTERRUPTED
